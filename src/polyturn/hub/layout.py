"""Which tensor of a Hugging Face CodeGen folder holds which of our numbers, and in what order.

The two layouts hold the same numbers. Linear weights in files are `[outputs, inputs]`; ours are `[inputs,
outputs]`, stacked over layers. And CodeGen was trained on several TPU cores, whose parts of the
projection to queries, values and keys still lie one after the other in the file: the query rows of block 0,
its value rows, its key rows (in this order), then block 1's, and so on. A head lies within one block.
`transformers` assumes 4 blocks; the released CodeGen2 1B and 3.7B were cut into 8.

`pairs` states the correspondence once, for both directions: reading assigns from left to right, writing from
right to left, so that what is written and read again is the same to the bit.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from polyturn.model.config import MLP_RATIO, ModelConfig
from polyturn.utils.errors import UserError

if TYPE_CHECKING:
    from polyturn.model.params import Params

QKV_BLOCKS = 4  # what transformers assumes, and the only number of blocks that we write
FILE_ORDER = (0, 2, 1)  # a block holds query, value, key; in `w_in` they are slices 0, 2, 1
_LAYER = re.compile(r"transformer\.h\.(\d+)\.(.+)")
_DERIVED = re.compile(r"transformer\.h\.\d+\.attn\.(causal_mask|bias|masked_bias|embed_positions)")


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in the file, from the embedding to the head."""
    d, v, inner = config.width, config.vocab, MLP_RATIO * config.width
    layer = {
        "ln_1.weight": (d,),
        "ln_1.bias": (d,),
        "attn.qkv_proj.weight": (3 * d, d),
        "attn.out_proj.weight": (d, d),
        "mlp.fc_in.weight": (inner, d),
        "mlp.fc_in.bias": (inner,),
        "mlp.fc_out.weight": (d, inner),
        "mlp.fc_out.bias": (d,),
    }
    return {
        "transformer.wte.weight": (v, d),
        **{f"transformer.h.{n}.{name}": layer[name] for n in range(config.layers) for name in layer},
        "transformer.ln_f.weight": (d,),
        "transformer.ln_f.bias": (d,),
        "lm_head.weight": (v, d),
        "lm_head.bias": (v,),
    }


def is_derived(name: str) -> bool:
    """Whether a tensor repeats what the shape already says: masks and tables that old releases stored."""
    return _DERIVED.fullmatch(name) is not None


def check_blocks(config: ModelConfig, blocks: int) -> None:
    """Raise UserError where the heads cannot be cut into `blocks` equal blocks."""
    if blocks < 1 or config.heads % blocks:
        raise UserError(
            f"A CodeGen folder with {blocks} blocks of queries, keys and values needs a number of heads that "
            f"{blocks} divides, and this model has {config.heads}; change the number of heads or of blocks."
        )


def pairs(
    name: str, file: np.ndarray, params: "Params", config: ModelConfig, blocks: int = QKV_BLOCKS
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Views of equal shape on the same numbers: in the file's tensor, and in our tree.

    Args:
        name: a key of `shapes(config)`.
        file: the tensor of that name, of that shape, contiguous.
        params: numpy arrays where the caller assigns to them, else any arrays.
        config: of the model.
        blocks: into how many blocks the file's queries, values and keys are cut.
    """
    match = _LAYER.fullmatch(name)
    if match is None:
        yield _outside_layers(name, file, params)
        return
    d, w, index = config.width, params.blocks, int(match[1])
    match match[2]:
        case "ln_1.weight":
            yield file, np.asarray(w.norm_scale[index])
        case "ln_1.bias":
            yield file, np.asarray(w.norm_bias[index])
        case "attn.qkv_proj.weight":
            w_in = np.asarray(w.w_in[index])  # [D, 7, D]
            split = file.reshape(blocks, 3, d // blocks, d, copy=False)
            for position, ours in enumerate(FILE_ORDER):
                by_block = w_in[:, ours].reshape(d, blocks, d // blocks, copy=False)
                yield split[:, position], by_block.transpose(1, 2, 0)
        case "attn.out_proj.weight":
            yield file.T, np.asarray(w.w_out[index])[0]
        case "mlp.fc_in.weight":
            w_in = np.asarray(w.w_in[index])
            yield file.reshape(MLP_RATIO, d, d, copy=False), w_in[:, 3:].transpose(1, 2, 0)
        case "mlp.fc_in.bias":
            yield file.reshape(MLP_RATIO, d, copy=False), np.asarray(w.b_in[index])
        case "mlp.fc_out.weight":
            w_out = np.asarray(w.w_out[index])  # [5, D, D]
            yield file.reshape(d, MLP_RATIO, d, copy=False), w_out[1:].transpose(2, 0, 1)
        case "mlp.fc_out.bias":
            yield file, np.asarray(w.b_out[index])
        case _:
            raise KeyError(name)


def _outside_layers(name: str, file: np.ndarray, params: "Params") -> tuple[np.ndarray, np.ndarray]:
    match name:
        case "transformer.wte.weight":
            return file, np.asarray(params.embedding)
        case "transformer.ln_f.weight":
            return file, np.asarray(params.norm_scale)
        case "transformer.ln_f.bias":
            return file, np.asarray(params.norm_bias)
        case "lm_head.weight":
            return file.T, np.asarray(params.head)
        case "lm_head.bias":
            return file, np.asarray(params.head_bias)
        case _:
            raise KeyError(name)
