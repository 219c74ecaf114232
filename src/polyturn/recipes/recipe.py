"""What a recipe says. Imports no JAX, so that mistakes in one are told at once.

`run.py` carries a recipe out.
"""

from dataclasses import dataclass

from polyturn.train.config import TrainConfig
from polyturn.utils.errors import UserError


@dataclass(frozen=True)
class Mixture:
    """What a stage reads, in documents, and the length of its rows in tokens."""

    row: int
    repeats: int  # random tokens, twice
    copies: int  # programs of nothing but literal values, names and prints, at most
    programs: int  # programs of the curriculum, at most


@dataclass(frozen=True)
class Stage:
    """One stage of training. It starts from the weights of the stage before, with a fresh optimiser."""

    name: str
    data: Mixture
    train: TrainConfig


@dataclass(frozen=True)
class Recipe:
    """A model trained on the curriculum."""

    name: str
    tokenizer: str  # a folder, or a built-in model whose tokenizer is taken
    programs: int  # composed for the corpus; most of them pass verification
    copies: int  # of which nothing but literal values, names and prints, composed besides
    stages: tuple[Stage, ...]
    evaluate: str = ""  # what to measure besides the loss, as module:function (`evaluation.py`)

    def __post_init__(self) -> None:
        if not self.stages or any(s.train.model != self.stages[0].train.model for s in self.stages):
            raise UserError("A recipe needs at least one stage, and all its stages the same model.")
