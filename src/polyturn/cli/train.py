"""`polyturn train`: a recipe, with overrides; resumes by itself. `polyturn train export`: a model from a checkpoint."""

import os
import re
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from polyturn.recipes import RECIPES
from polyturn.utils.errors import UserError


def train(
    recipe: Annotated[str, tyro.conf.Positional],
    out: Path,
    stop_after: str | None = None,
    overlap: Path | None = None,
    data: tuple[str, ...] = (),
    validation: Path | None = None,
    start: str | None = None,
    tokenizer: str | None = None,
    set: tuple[str, ...] = (),
    tensorboard: bool = False,
    wandb: str | None = None,
    profile: int = 0,
    deterministic: bool = False,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
) -> int:
    """Run a recipe to its end and write the model folder. Run again, it goes on.

    polyturn_micro_mono makes its own data; the other recipes read shards (`polyturn data build`).

    SIGTERM, Ctrl-C and --stop-after save first; the exit code is 0 and the same command goes on.

    Args:
        recipe: Name of the recipe, such as polyturn_micro_mono.
        out: The run's folder; holds all that the run makes.
        stop_after: Save and stop after this long, as in 90s, 9m or 2h.
        overlap: N-gram digests of held-out benchmarks; programs that share a run with them are left out.
        data: Folders of shards, or builds that hold them, each DIR or DIR=WEIGHT.
        validation: Shards held out; by default the validation set of the first build that has one.
        start: Model to take the weights of: a folder, a built-in name, a Hub id, or a run's folder.
        tokenizer: Folder or name; by default that of --start, or the project's own.
        set: Changes to the recipe by dotted path, as in stages.1.train.steps=100.
        tensorboard: Write the log for TensorBoard too, in each stage's folder.
        wandb: Send the log to this project on Weights & Biases too.
        profile: Leave a trace of so many steps of each stage, in its folder.
        deterministic: On GPUs, the same bits in every run, at some cost in speed; CPUs and TPUs give them anyhow.
        coordinator: Join a job of several processes: HOST:PORT of the first, or auto (Slurm, Kubernetes, TPU pods).
        processes: How many processes there are; auto knows.
        process: Which of them this one is, from 0; auto knows.
    """
    from polyturn.recipes.overrides import override
    from polyturn.recipes.recipe import Recipe

    chosen: Any = override(_recipe(recipe, start), set)
    seconds = _seconds(stop_after)
    curriculum = isinstance(chosen, Recipe)
    reads_shards = {"--data": data, "--validation": validation, "--start": start, "--tokenizer": tokenizer}
    given = [name for name, value in reads_shards.items() if value]
    if curriculum and given:
        raise UserError(f"{recipe} makes its own data and takes no {given[0]}; other recipes do.")
    if not curriculum and not data:
        raise UserError(f"{recipe} reads shards; name them with --data DIR, as `polyturn data build` makes them.")
    if not curriculum and overlap:
        raise UserError("--overlap is for recipes that make their own data; `polyturn data build` has its own filter.")

    if coordinator is None and (processes, process) != (None, None):
        raise UserError("--processes and --process are for a job of several processes; say where with --coordinator.")

    from polyturn.parallel import start as devices

    devices.prepare_gpus(deterministic)
    with ExitStack() as job:
        if coordinator is not None:
            job.enter_context(devices.processes(coordinator, processes, process))
        from polyturn.train import watch  # after the arguments were read: it needs the training extra

        sinks = [watch.tensorboard] * tensorboard + ([watch.weights_and_biases(wandb)] if wandb else [])
        if curriculum:
            from polyturn.recipes.run import run

            run(chosen, out, overlap=overlap, stop_after=seconds, sinks=sinks, profile=profile)
        else:
            from polyturn.recipes import pretraining

            pretraining.run(chosen, out, data, validation, start, tokenizer, seconds, sinks, profile)
    return 0


def _recipe(name: str, start: str | None) -> Any:
    """The recipe of this name; that for any model takes its shape from `start`."""
    if name not in RECIPES:
        raise UserError(f"There is no recipe {name}; there are: {', '.join(RECIPES)}.")
    module, function = RECIPES[name].split(":")
    make = getattr(import_module(module), function)
    if name != "finetune":
        return make()
    if start is None:
        raise UserError("finetune trains a model further; name it with --start.")
    from polyturn.hub.config_json import read_config
    from polyturn.recipes.pretraining import start_folder

    return make(read_config(start_folder(start)))


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
        tokenizer: A folder or a built-in model whose tokenizer goes along; that of the run if not given.
        dtype: Float type in the files.
    """
    os.environ["JAX_PLATFORMS"] = "cpu"  # the run may be holding the accelerator

    from polyturn.hub.catalogue import resolve
    from polyturn.recipes.pretraining import tokenizer_of
    from polyturn.tokenizer import bpe
    from polyturn.train.export import export as write

    chosen = resolve(tokenizer) if tokenizer else tokenizer_of(run)
    written = write(run, out, step, bpe.load(chosen) if chosen else None, dtype)
    print(
        f"The weights of step {written} are in {out}{'' if chosen else ', without a tokenizer; --tokenizer names one'}."
    )
    return 0


def _seconds(text: str | None) -> float:
    if text is None:
        return float("inf")
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if match is None:
        raise UserError(f"--stop-after takes a time such as 90s, 9m or 2h, not {text}.")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
