"""Training on one device from shards of tokens: small sizes for CPUs, and CodeGen's two smaller ones on one H100.

The sizes for CPUs are meant for trying things out, from an hour to a week on two cores. They see about 20 tokens a
parameter, in rows of 512, with the project's own tokenizer of 8,192 tokens in mind.

Those for one H100 are the shapes and the mathematics of the paper at 0.5M tokens a step. Micro-batch and remat are what
`polyturn plan` finds to fit in 79 GiB, with little work done twice and rows enough for large products; they have not
been tried on hardware yet.
"""

from dataclasses import replace

from polyturn.model.compute import Compute
from polyturn.model.config import ModelConfig
from polyturn.parallel.mesh import MeshShape
from polyturn.recipes.codegen import codegen_2b_nl, codegen_350m_nl
from polyturn.recipes.pretraining import Pretraining
from polyturn.train.config import OptimizerConfig, TrainConfig


def _cpu(name: str, model: ModelConfig, peak: float, steps: int) -> Pretraining:
    rate = OptimizerConfig(peak, peak / 10, warmup=steps // 50, beta2=0.98)
    compute = Compute(attention="auto")
    return Pretraining(name, TrainConfig(model, rate, steps=steps, rows=32, z_loss=1e-4, compute=compute), 512)


def polyturn_3m() -> Pretraining:
    """2.9 million parameters, 66 million tokens."""
    return _cpu("polyturn_3m", ModelConfig(4, 128, 4, 16, 8192), 2e-3, 4_000)


def polyturn_12m() -> Pretraining:
    """12.6 million parameters, 246 million tokens."""
    return _cpu("polyturn_12m", ModelConfig(6, 320, 4, 32, 8192), 1.5e-3, 15_000)


def polyturn_42m() -> Pretraining:
    """42 million parameters, 819 million tokens; its vocabulary has room for 16,384."""
    return _cpu("polyturn_42m", ModelConfig(8, 512, 8, 32, 16384), 1e-3, 50_000)


def _h100(name: str, paper: Pretraining, accumulate: int, remat: str) -> Pretraining:
    compute = Compute(attention="auto", remat=remat)
    train = replace(paper.train, rows=256, compute=compute, mesh=MeshShape(), accumulate=accumulate)
    return replace(paper, name=name, train=train)


def polyturn_350m_h100() -> Pretraining:
    """CodeGen 350M, first stage, on one H100: 16 micro-batches of 16 rows a step, nothing computed twice. Untested."""
    return _h100("polyturn_350m_h100", codegen_350m_nl(), accumulate=16, remat="none")


def polyturn_2b_h100() -> Pretraining:
    """CodeGen 2.7B, first stage, on one H100: 64 micro-batches of 4 rows a step, half the paper's batch. Untested."""
    return _h100("polyturn_2b_h100", codegen_2b_nl(), accumulate=64, remat="products")
