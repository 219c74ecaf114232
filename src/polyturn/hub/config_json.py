"""`config.json` of a Hugging Face CodeGen folder, to and from our ModelConfig. Imports no JAX."""

import json
from pathlib import Path

from polyturn.hub.names import CONFIG
from polyturn.model.config import MLP_RATIO, ModelConfig
from polyturn.tokenizer.bpe import Tokenizer
from polyturn.utils.errors import UserError

GELU = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")  # names of one function, the only one that we compute


def read_config(folder: Path) -> ModelConfig:
    """The shape of the model in `folder`.

    Raises:
        UserError: no such folder, no or a damaged `config.json`, or a model that is not a CodeGen decoder.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; give the path of a model folder.")
    path = folder / CONFIG
    raw = read_json(path)
    found = raw.get("model_type")
    if found != "codegen":
        raise UserError(f"{path} describes a model of type {found!r}; give a folder of type 'codegen'.")
    width = _integer(raw, "n_embd", path)
    inner = raw.get("n_inner")
    if inner is not None and inner != MLP_RATIO * width:
        wanted = f"null or {MLP_RATIO} times n_embd, {MLP_RATIO * width}"
        raise UserError(f"{path} sets n_inner to {inner!r}; only a model with {wanted}, can be read.")
    activation = raw.get("activation_function", GELU[0])
    if activation not in GELU:
        raise UserError(f"{path} sets activation_function to {activation!r}; only a model with {GELU[0]} can be read.")
    if raw.get("tie_word_embeddings"):
        raise UserError(f"{path} ties the head to the embedding; save the model with both, untied.")
    epsilon = raw.get("layer_norm_epsilon", 1e-5)
    if not isinstance(epsilon, int | float) or not 0 < epsilon < 1:
        raise UserError(f"{path} sets layer_norm_epsilon to {epsilon!r}; it must be between 0 and 1.")
    return ModelConfig(
        layers=_integer(raw, "n_layer", path),
        width=width,
        heads=_integer(raw, "n_head", path),
        rotary=_integer(raw, "rotary_dim", path),
        vocab=_integer(raw, "vocab_size", path),
        context=_integer(raw, "n_positions", path) if "n_positions" in raw else 2048,
        norm_epsilon=float(epsilon),
    )


def config_json(config: ModelConfig, tokenizer: Tokenizer | None, dtype: str) -> dict[str, object]:
    """What `config.json` says about a model whose weights are stored as `dtype`.

    Of the two keys for the type, every version of transformers reads `torch_dtype`.
    """
    return {
        "architectures": ["CodeGenForCausalLM"],
        "model_type": "codegen",
        "activation_function": GELU[0],
        "layer_norm_epsilon": config.norm_epsilon,
        "n_ctx": config.context,
        "n_embd": config.width,
        "n_head": config.heads,
        "n_inner": None,
        "n_layer": config.layers,
        "n_positions": config.context,
        "rotary_dim": config.rotary,
        "vocab_size": config.vocab,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "tie_word_embeddings": False,
        "tokenizer_class": "PreTrainedTokenizerFast" if tokenizer else None,
        "torch_dtype": dtype,
        "use_cache": True,
        **special_ids(tokenizer),
    }


def special_ids(tokenizer: Tokenizer | None) -> dict[str, object]:
    """The ids that begin, end and pad a text, null without a tokenizer; all of `generation_config.json`."""
    eos, pad = (tokenizer.eos_id, tokenizer.pad_id) if tokenizer else (None, None)
    return {"bos_token_id": eos, "eos_token_id": eos, "pad_token_id": pad}


def read_json(path: Path) -> dict[str, object]:
    """The object in a JSON file. Raises UserError where there is no such file, or no object in it."""
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"There is no {path.name} in {path.parent}; give a folder that holds a model.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); see to its permissions.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); fetch or copy it again.") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path} does not hold a JSON object; fetch or copy it again.")
    return raw


def _integer(raw: dict[str, object], key: str, path: Path) -> int:
    value = raw.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    said = f"sets {key} to {value!r}" if key in raw else f"does not set {key}"
    raise UserError(f"{path} {said}; it must be a positive whole number.")
