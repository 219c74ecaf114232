"""Train any model further, on shards of your own: all weights, a low rate, a cosine down to a tenth.

    polyturn data build my.toml --tokenizer MODEL --out corpus/mine
    polyturn train finetune --start MODEL --data corpus/mine --out runs/mine --set train.steps=500

Where the shards say which tokens are to be learned (a source with a `prompt` column), the rest is only read.
"""

from polyturn.model.compute import Compute
from polyturn.model.config import ModelConfig
from polyturn.recipes.pretraining import Pretraining
from polyturn.train.config import OptimizerConfig, TrainConfig


def finetune(model: ModelConfig) -> Pretraining:
    """A recipe for a model of this shape: 1,000 steps of 16 rows, rate 2e-5 to 2e-6."""
    rate = OptimizerConfig(2e-5, 2e-6, warmup=50, beta2=0.98)
    compute = Compute(attention="auto")
    train = TrainConfig(model, rate, steps=1_000, rows=16, log_every=10, save_every=200, compute=compute)
    return Pretraining("finetune", train, row=model.context)
