"""Read and write model folders, in exactly the layout that Hugging Face's CodeGen uses.

    folder = read_folder("path/to/model")                     # weights as numpy arrays, float32
    write_folder("path/to/copy", folder.config, folder.params, folder.tokenizer)

`transformers.AutoModelForCausalLM` and `AutoTokenizer` load what is written here, and what they save is
read here. Reading looks at all headers before any weights, then takes one tensor at a time, so that memory
holds the model once.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from polyturn.hub import layout, weights
from polyturn.hub.config_json import config_json, read_config, special_ids
from polyturn.hub.names import CONFIG, GENERATION, INDEX, SHARD, SINGLE, TOKENIZER, TOKENIZER_GPT2
from polyturn.model.config import ModelConfig
from polyturn.tokenizer import bpe
from polyturn.utils.atomic import check_replaceable, replacing
from polyturn.utils.errors import UserError

if TYPE_CHECKING:
    import jax
    from numpy.typing import DTypeLike

    from polyturn.model.params import Params


@dataclass(frozen=True)
class Folder:
    """A model as read from a folder."""

    path: Path
    config: ModelConfig
    params: "Params[np.ndarray]"
    tokenizer: bpe.Tokenizer | None  # None where the folder has none
    digest: str  # SHA-256 of shape, weights as stored and tokenizer, in hex; sharding does not change it


def read_folder(path: str | Path, qkv_blocks: int = layout.QKV_BLOCKS, dtype: "DTypeLike" = np.float32) -> Folder:
    """Read a CodeGen folder.

    Args:
        path: a folder with `config.json` and safetensors, and a tokenizer if it has one.
        qkv_blocks: into how many blocks the fused projection is cut: 4, or 8 for CodeGen2 1B and 3.7B. The
            files do not tell; a wrong number yields a model that writes nonsense, not an error.
        dtype: float type of the arrays returned, whatever type is stored.

    Raises:
        UserError: anything about the folder that keeps it from being read, with the remedy.
    """
    import jax

    from polyturn.model.params import describe, is_info

    path = Path(path)
    config = read_config(path)
    layout.check_blocks(config, qkv_blocks)
    tokenizer = read_tokenizer(path, config)
    located = _located(path, config)

    params = jax.tree.map(lambda info: np.empty(info.shape, dtype), describe(config), is_leaf=is_info)

    def take(name: str, tensor: np.ndarray) -> None:
        for theirs, ours in layout.pairs(name, tensor, params, config, qkv_blocks):
            ours[...] = theirs

    return Folder(path, config, params, tokenizer, _digest(path, config, qkv_blocks, located, take))


def folder_digest(path: str | Path) -> str:
    """The `digest` that `read_folder` would give, with one tensor in memory at a time. Raises UserError like it."""
    path = Path(path)
    config = read_config(path)
    return _digest(path, config, layout.QKV_BLOCKS, _located(path, config), lambda name, tensor: None)


def _located(path: Path, config: ModelConfig) -> dict[str, Path]:
    """In which file each tensor lies; reads headers alone."""
    return weights.locate(weights.files_of(path), layout.shapes(config), layout.is_derived)


def _digest(
    path: Path,
    config: ModelConfig,
    qkv_blocks: int,
    located: Mapping[str, Path],
    take: Callable[[str, np.ndarray], None],
) -> str:
    """Read all of a folder once; `take` gets each tensor as stored."""
    digest = hashlib.sha256(json.dumps([asdict(config), qkv_blocks], sort_keys=True).encode())
    for name, tensor in weights.read(located):
        digest.update(f"{name} {tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).view(np.uint8))
        take(name, tensor)
    for name in (TOKENIZER[0], *TOKENIZER_GPT2) if bpe.has_tokenizer(path) else ():
        if (path / name).exists():
            digest.update(name.encode() + (path / name).read_bytes())
    return digest.hexdigest()


def read_tokenizer(path: Path, config: ModelConfig) -> bpe.Tokenizer | None:
    """The tokenizer of a folder whose model has this shape, None where there is none; errors as of `read_folder`."""
    if not bpe.has_tokenizer(path):
        return None
    tokenizer = bpe.load(path)
    _check_size(tokenizer, config)
    return tokenizer


def _check_size(tokenizer: bpe.Tokenizer, config: ModelConfig) -> None:
    if tokenizer.size > config.vocab:
        raise UserError(
            f"The tokenizer has {tokenizer.size} tokens and the model's vocabulary only {config.vocab} rows; "
            "use the tokenizer that the model was trained with."
        )


def check_writable(config: ModelConfig, tokenizer: bpe.Tokenizer | None) -> None:
    """Raise UserError where no CodeGen folder can hold a model of this shape with this tokenizer."""
    layout.check_blocks(config, layout.QKV_BLOCKS)
    if tokenizer:
        _check_size(tokenizer, config)


def write_folder(
    path: str | Path,
    config: ModelConfig,
    params: "Params[np.ndarray] | Params[jax.Array]",
    tokenizer: bpe.Tokenizer | None = None,
    dtype: Literal["float32", "bfloat16"] = "bfloat16",
    extra: Mapping[str, str] | None = None,
    shard_bytes: int = weights.SHARD_BYTES,
) -> None:
    """Write a CodeGen folder, whole or not at all. The same arguments give the same bytes.

    Args:
        path: the new folder. An older model there is replaced; a folder with anything else in it is refused.
        config: the model's shape.
        params: its weights, of any float type.
        tokenizer: goes along if given.
        dtype: float type in the files.
        extra: more text files, content by name: `README.md` as the model card, for one.
        shard_bytes: weights that take more than this are cut into files of at most this size.

    Raises:
        UserError: the heads cannot be cut into 4 blocks, the tokenizer is larger than the vocabulary, the
            folder holds other files, the disk is full or the place cannot be written.
    """
    path, extra = Path(path), dict(extra or {})
    check_writable(config, tokenizer)
    shards = {file.name for file in path.glob("*") if SHARD.fullmatch(file.name)}
    names = {CONFIG, GENERATION, SINGLE, INDEX, *shards, *(TOKENIZER if tokenizer else ()), *extra}
    check_replaceable(path, names)
    texts = {
        CONFIG: json.dumps(config_json(config, tokenizer, dtype), indent=2) + "\n",
        GENERATION: json.dumps(special_ids(tokenizer), indent=2) + "\n",
        **extra,
    }

    def fill(name: str, tensor: np.ndarray) -> None:
        for theirs, ours in layout.pairs(name, tensor, params, config):
            theirs[...] = ours

    with replacing(path) as folder:
        folder.mkdir()
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        if tokenizer:
            with weights.disk_errors():
                tokenizer.save(folder, config.context)
        weights.write(folder, layout.shapes(config), fill, dtype, shard_bytes)
