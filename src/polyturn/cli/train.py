"""`polyturn train`: a recipe, with overrides; resumes by itself."""

import re
from importlib import import_module
from pathlib import Path
from typing import Annotated

import tyro

from polyturn.recipes import RECIPES
from polyturn.utils.errors import UserError


def train(
    recipe: Annotated[str, tyro.conf.Positional],
    out: Path,
    stop_after: str | None = None,
    overlap: Path | None = None,
    set: tuple[str, ...] = (),
) -> int:
    """Run a recipe to its end: make its data, train its stages, write the model folder. Run again, it goes on.

    Args:
        recipe: Name of the recipe, such as polyturn_micro_mono.
        out: The run's folder; holds all that the run makes.
        stop_after: Save and stop after this long, as in 90s, 9m or 2h.
        overlap: N-gram digests of held-out benchmarks; programs that share a run with them are left out.
        set: Changes to the recipe by dotted path, as in stages.1.train.steps=100.
    """
    from polyturn.recipes.overrides import override

    if recipe not in RECIPES:
        raise UserError(f"There is no recipe {recipe}; there are: {', '.join(RECIPES)}.")
    module, name = RECIPES[recipe].split(":")
    chosen = override(getattr(import_module(module), name)(), set)
    seconds = _seconds(stop_after)

    from polyturn.recipes.run import run  # after the arguments were read: it needs the training extra

    run(chosen, out, overlap=overlap, stop_after=seconds)
    return 0


def _seconds(text: str | None) -> float:
    if text is None:
        return float("inf")
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if match is None:
        raise UserError(f"--stop-after takes a time such as 90s, 9m or 2h, not {text}.")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
