"""A recipe of your own, run without the command line: a small model, and a measure of it beside the loss.

    polyturn data build small.toml --out corpus/small       # small.toml: docs/training.md
    python examples/own_recipe.py corpus/small runs/own

Run again, it goes on where it stood, as `polyturn train` does. What is not set here has the defaults of
`polyturn.train.config`.
"""

import sys
from pathlib import Path

from polyturn.api import Model
from polyturn.model.compute import Compute
from polyturn.model.config import ModelConfig
from polyturn.parallel import start
from polyturn.parallel.mesh import MeshShape
from polyturn.recipes import pretraining
from polyturn.train.config import OptimizerConfig, TrainConfig

TEXT = "def read(path):\n    with open(path) as file:\n        return file.read()\n"


def own() -> pretraining.Pretraining:
    """1.2 million parameters, 200 steps of 32 rows of 512 tokens, along data on all devices."""
    model = ModelConfig(layers=2, width=64, heads=4, rotary=16, vocab=8192)  # 8,192: the default tokenizer's
    train = TrainConfig(
        model,
        OptimizerConfig(peak_rate=2e-3, end_rate=2e-4, warmup=20, beta2=0.98),
        steps=200,
        rows=32,
        log_every=10,
        save_every=100,
        compute=Compute(attention="auto"),
        mesh=MeshShape(data=-1),
    )
    return pretraining.Pretraining("own", train, row=512, evaluate="own_recipe:perplexity")


def perplexity(model: Model) -> dict[str, float]:
    """How unexpected a text is that you care for. Called whenever validation is due; training waits for it."""
    return {"perplexity": model.perplexity(TEXT)}


if __name__ == "__main__":
    corpus, out = sys.argv[1:]
    start.prepare_gpus()  # before JAX looks for devices: how much of their memory it takes
    pretraining.run(own(), Path(out), data=[corpus])
