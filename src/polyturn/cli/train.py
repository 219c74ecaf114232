"""`polyturn train`: a recipe, with overrides; resumes by itself. `polyturn train export`: a model from a checkpoint."""

import re
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import tyro

from polyturn.recipes import RECIPES
from polyturn.utils.errors import UserError


def train(
    recipe: Annotated[str, tyro.conf.Positional],
    out: Path,
    stop_after: str | None = None,
    overlap: Path | None = None,
    set: tuple[str, ...] = (),
    tensorboard: bool = False,
    wandb: str | None = None,
    profile: int = 0,
) -> int:
    """Run a recipe to its end: make its data, train its stages, write the model folder. Run again, it goes on.

    SIGTERM, Ctrl-C and --stop-after save first; the exit code is 0 and the same command goes on.

    Args:
        recipe: Name of the recipe, such as polyturn_micro_mono.
        out: The run's folder; holds all that the run makes.
        stop_after: Save and stop after this long, as in 90s, 9m or 2h.
        overlap: N-gram digests of held-out benchmarks; programs that share a run with them are left out.
        set: Changes to the recipe by dotted path, as in stages.1.train.steps=100.
        tensorboard: Write the log for TensorBoard too, in each stage's folder.
        wandb: Send the log to this project on Weights & Biases too.
        profile: Leave a trace of so many steps of each stage, in its folder.
    """
    from polyturn.recipes.overrides import override

    if recipe not in RECIPES:
        raise UserError(f"There is no recipe {recipe}; there are: {', '.join(RECIPES)}.")
    module, name = RECIPES[recipe].split(":")
    chosen = override(getattr(import_module(module), name)(), set)
    seconds = _seconds(stop_after)

    from polyturn.recipes.run import run  # after the arguments were read: it needs the training extra
    from polyturn.train import watch

    sinks = [watch.tensorboard] * tensorboard + ([watch.weights_and_biases(wandb)] if wandb else [])
    run(chosen, out, overlap=overlap, stop_after=seconds, sinks=sinks, profile=profile)
    return 0


def export(
    run: Annotated[Path, tyro.conf.Positional],
    out: Path,
    step: int | None = None,
    tokenizer: str | None = None,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> int:
    """Write a checkpoint of a run as a Hugging Face model folder; the run may be going on meanwhile.

    Args:
        run: The folder of the run or stage, such as runs/micro/1-writing.
        out: The model folder to write.
        step: Which checkpoint; the newest if not given.
        tokenizer: A folder or a built-in model whose tokenizer goes along; the recipe's own if not given.
        dtype: Float type in the files.
    """
    from polyturn.hub.catalogue import resolve
    from polyturn.tokenizer import bpe
    from polyturn.train.export import export as write

    own = run.absolute().parent / "tokenizer"  # where a recipe keeps it
    chosen = resolve(tokenizer) if tokenizer else own if own.exists() else None
    written = write(run, out, step, bpe.load(chosen) if chosen else None, dtype)
    print(f"The weights of step {written} are in {out}{'' if chosen else ', without a tokenizer'}.")
    return 0


def _seconds(text: str | None) -> float:
    if text is None:
        return float("inf")
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if match is None:
        raise UserError(f"--stop-after takes a time such as 90s, 9m or 2h, not {text}.")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
