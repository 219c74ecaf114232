"""What a recipe measures while it trains, beside the loss: a function of the model, named by where it lives.

    polyturn train ... --set evaluate=polyturn.recipes.evaluation:held_out_programs
    polyturn train ... --set evaluate=my_module:my_function     # my_function(model: polyturn.api.Model) -> dict

It is called whenever validation is due; training waits for it, and what it returns goes into the log.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from polyturn.api import Model
from polyturn.hub.folder import Folder
from polyturn.model.config import ModelConfig
from polyturn.model.params import Params
from polyturn.tokenizer.bpe import Tokenizer
from polyturn.train.hosts import leads
from polyturn.train.loop import Evaluate
from polyturn.utils.errors import UserError

PROGRAMS = 50

type Measure = Callable[[Model], dict[str, float]]


def evaluation(place: str, config: ModelConfig, tokenizer: Tokenizer) -> Evaluate | None:
    """The function at `place`, `module:name`, for weights as they are trained; None where `place` is empty.

    The leading process alone calls it; the others wait at the next step.

    Raises:
        UserError: there is no such function.
    """
    if not place:
        return None
    measure = _function(place)

    def evaluate(params: Params[jax.Array]) -> dict[str, float]:
        whole = multihost_utils.process_allgather(params, tiled=True) if jax.process_count() > 1 else params
        if not leads():
            return {}
        folder = Folder(Path(), config, jax.tree.map(np.asarray, whole), tokenizer, digest="")
        return measure(Model(folder, name="the model in training", dtype=None, strict=False))

    return evaluate


def _function(place: str) -> Measure:
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"evaluate names no function ({error}); write module:function, not {place!r}.") from error


def held_out_programs(model: Model) -> dict[str, float]:
    """`pass_rate`: the share of 50 programs of the curriculum, of seeds held out, that print the right value.

    Every turn is the model's own, greedily, and every program runs in the sandbox: `polyturn.bench.curriculum`.
    """
    from polyturn.bench.curriculum import score

    return {"pass_rate": score(model, "test", PROGRAMS).pass_rate}
