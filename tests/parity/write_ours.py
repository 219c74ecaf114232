"""Model folders written by us, for transformers to load: the first of three steps, see make_reference.py.

    .venv/bin/python tests/parity/write_ours.py --out build/parity

Writes to `ours/` below `--out` a small random model in float32, in bfloat16 and in several files, each with a
tokenizer.
"""

import argparse
from pathlib import Path

import jax
import numpy as np
from codegen_cases import PROMPTS, TEXTS

from polyturn.hub.folder import write_folder
from polyturn.model.config import ModelConfig
from polyturn.model.params import Params, initialise
from polyturn.tokenizer.training import train

CONFIG = ModelConfig(layers=2, width=512, heads=8, rotary=32, vocab=640, context=256)


def random_params() -> Params[np.ndarray]:
    """Weights large enough that every one of them matters, norms and biases included."""
    draw = np.random.RandomState(7)
    fresh = jax.tree.map(np.asarray, initialise(CONFIG, jax.random.key(7)))
    return jax.tree.map(lambda a: (a + 0.02 * draw.standard_normal(a.shape)).astype(np.float32), fresh)


def main() -> None:
    """Read the command line, write the folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out / "ours"
    params, tokenizer = random_params(), train(TEXTS + PROMPTS, rows=600)
    card = {"README.md": "A random model.\n"}
    write_folder(out / "float32", CONFIG, params, tokenizer, "float32", card)
    write_folder(out / "bfloat16", CONFIG, params, tokenizer, "bfloat16", card)
    write_folder(out / "sharded", CONFIG, params, tokenizer, "float32", card, shard_bytes=2**20)


if __name__ == "__main__":
    main()
