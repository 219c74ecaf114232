"""What a recipe measures while it trains, beside the loss: a function of the model, named by where it lives.

    polyturn train ... --set evaluate=polyturn.recipes.evaluation:held_out_programs
    polyturn train ... --set evaluate=my_module:my_function     # my_function(model: polyturn.api.Model) -> dict

It is called whenever validation is due; training waits for it, and what it returns goes into the log.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from polyturn.api import Model
from polyturn.hub.folder import Folder
from polyturn.model.config import ModelConfig
from polyturn.model.params import Params
from polyturn.sandbox import SandboxError
from polyturn.tokenizer.bpe import Tokenizer
from polyturn.train.hosts import decide, leads
from polyturn.train.loop import Evaluate
from polyturn.utils.errors import UserError

PROGRAMS = 50
OTHERS = ("step", "loss", "event")  # what lines of the log are told apart by
NO_MESH = Mesh(np.empty((), object), ())

type Measure = Callable[[Model], dict[str, float]]


def evaluation(place: str, config: ModelConfig, tokenizer: Tokenizer) -> Evaluate | None:
    """The function at `place`, `module:name`, for weights as they are trained; None where `place` is empty.

    The leading process alone calls it, on a device of its own, while the others wait; all get what it returns.

    Raises:
        UserError: there is no such function.
    """
    if not place:
        return None
    measure = _function(place)

    def evaluate(params: Params[jax.Array]) -> dict[str, float]:
        folder = Folder(Path(), config, jax.tree.map(_gathered, params), tokenizer, digest="")

        def score() -> dict[str, float]:
            try:
                with jax.set_mesh(NO_MESH):
                    measured = measure(Model(folder, name="the model in training", dtype=None, strict=False))
            except SandboxError as error:  # told in one sentence by all processes
                raise UserError(str(error)) from error
            if not _is_numbers(measured):
                raise UserError(f"{place} must return numbers by name, as in {{'pass_rate': 0.5}}, not {measured!r}.")
            return measured

        return decide(score)

    return evaluate


def _is_numbers(measured: object) -> bool:
    """Whether it can be a line of the log, beside those of steps and events."""
    return isinstance(measured, dict) and all(
        isinstance(name, str) and name not in OTHERS and isinstance(value, int | float)
        for name, value in measured.items()
    )


def _gathered(array: jax.Array) -> np.ndarray:
    """The whole of an array in this host's memory, on the leading process; elsewhere nothing that counts.

    Where hosts hold parts of it they come together a layer at a time: the devices have no room for more.
    """
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    layered = array.ndim == 3  # [L, ...]
    whole = np.empty(array.shape if leads() else 0, array.dtype)
    for n in range(array.shape[0] if layered else 1):
        part = np.asarray(_layer(array, n) if layered else _replicated(array))
        if leads():
            whole[n if layered else ...] = part
    return whole


@partial(jax.jit, out_shardings=PartitionSpec())
def _layer(array: jax.Array, n: int) -> jax.Array:
    return jax.lax.dynamic_index_in_dim(array, n, keepdims=False)


@partial(jax.jit, out_shardings=PartitionSpec())
def _replicated(array: jax.Array) -> jax.Array:
    return array


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
