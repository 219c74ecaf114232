"""Hugging Face CodeGen folders, written here by hand: config.json as transformers writes it, and tensors."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))  # codegen_cases

from codegen_cases import SMALL, Case

from polyturn.tokenizer.bpe import Tokenizer
from polyturn.tokenizer.training import train


def config_of(case: Case) -> dict[str, object]:
    """What transformers 5 writes into config.json, less what is at its default."""
    return {
        "activation_function": "gelu_new",
        "architectures": ["CodeGenForCausalLM"],
        "attn_pdrop": 0.0,
        "dtype": case.dtype,
        "embd_pdrop": 0.0,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "model_type": "codegen",
        "n_inner": None,
        "resid_pdrop": 0.0,
        "tie_word_embeddings": False,
        "transformers_version": "5.23.0",
        "use_cache": True,
        **case.config(),
    }


type Write = Callable[..., Path]


@pytest.fixture
def write_theirs(tmp_path: Path) -> Write:
    """Call with a case, and tensors if others than the case's; returns the folder."""

    def write(case: Case = SMALL, tensors: dict[str, np.ndarray] | None = None) -> Path:
        folder = tmp_path / case.name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config_of(case)))
        tensors = case.tensors() if tensors is None else tensors
        safetensors.numpy.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return write


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A tokenizer of the project's own kind, with the fewest rows."""
    return train(["def add(a, b):\n    return a + b\n"] * 3, rows=340)
