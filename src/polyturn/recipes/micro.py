"""The built-in model: 5.8 million parameters, trained on two CPU cores in an afternoon.

    polyturn train polyturn_micro_mono --out runs/micro

Two stages. The first teaches copying: random tokens that repeat, and programs of nothing but names and literal
values. The second is the curriculum, with a little of the first kept in.
"""

from dataclasses import replace

from polyturn.model.compute import Compute
from polyturn.model.config import ModelConfig
from polyturn.recipes.recipe import Mixture, Recipe, Stage
from polyturn.train.config import OptimizerConfig, TrainConfig

MODEL = ModelConfig(layers=6, width=192, heads=4, rotary=32, vocab=8192, context=2048)


def polyturn_micro_mono() -> Recipe:
    """The default built-in model, `polyturn-micro-mono`."""
    rate = OptimizerConfig(peak_rate=1.5e-3, end_rate=1e-4, warmup=50, decay=0.1, beta2=0.98)
    fast = Compute(attention="auto")
    copying = TrainConfig(MODEL, rate, steps=100, rows=40, seed=1, log_every=10, save_every=50, compute=fast)
    writing = replace(copying, steps=7_000, rows=16, seed=2, save_every=250)
    return Recipe(
        name="polyturn-micro-mono",
        tokenizer="polyturn-micro-mono",
        programs=400_000,
        copies=40_000,
        stages=(
            Stage("copying", Mixture(row=128, repeats=12_000, copies=0, programs=0), copying),
            Stage("writing", Mixture(row=320, repeats=4_000, copies=40_000, programs=400_000), writing),
        ),
    )
