"""Training on shards, from fresh weights or from those of another model: what such a recipe says, and carrying it out.

    run(codegen_350m_multi(), Path("runs/multi"), data=["corpus/multi"], start="runs/nl")

A run's folder holds `recipe.json`, one run of `train` (`run.json`, log, checkpoints) and at the end `model/`, a Hugging
Face folder. The same call goes on where it stood.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from polyturn.train.config import TrainConfig
from polyturn.utils.errors import UserError

if TYPE_CHECKING:
    from polyturn.data.shards import Shards
    from polyturn.tokenizer.bpe import Tokenizer
    from polyturn.train.watch import Sink

DEFAULT_TOKENIZER = "polyturn-micro-mono"


@dataclass(frozen=True)
class Pretraining:
    """One stage of training on shards of tokens."""

    name: str
    train: TrainConfig
    row: int = 2048  # tokens
    start_from: str | None = None  # the recipe whose last weights this one begins with
    separate: bool = True  # documents of a row do not see each other; the paper lets them
    evaluate: str = ""  # what to measure besides the loss, as module:function (`evaluation.py`)


def run(
    recipe: Pretraining,
    out: str | Path,
    data: Sequence[str],
    validation: Path | None = None,
    start: str | None = None,
    tokenizer: str | None = None,
    stop_after: float = float("inf"),
    sinks: "Sequence[Sink]" = (),
    profile: int = 0,
) -> Path | None:
    """Carry a recipe out in the folder `out`, or carry on with it.

    Args:
        data: folders of shards, or of builds that hold them in `train/`, each `DIR` or `DIR=WEIGHT`.
        validation: a folder of shards held out; by default the `validation/` of the first build that has one.
        start: a model to take the weights of: a model folder, a built-in name, a Hub id, or the folder of a run.
        tokenizer: a folder or a name; by default that of `start`, else the project's own.
        stop_after: seconds after which training saves and stops.
        sinks: more places for the lines of the log.
        profile: leave a trace of so many steps.

    Returns:
        The model folder, or None if the run was stopped before its last step.

    Raises:
        UserError: the folder holds another run; shards, tokenizer, start and recipe do not fit each other.
    """
    from polyturn.data.encode import digest
    from polyturn.data.sampler import InOrder, Mixture
    from polyturn.hub.folder import check_writable, folder_digest, read_folder
    from polyturn.recipes.evaluation import evaluation
    from polyturn.recipes.progress import progress
    from polyturn.train.export import export
    from polyturn.train.hosts import check_same, decide, leads
    from polyturn.train.loop import train

    out = Path(out)
    deadline = time.monotonic() + stop_after
    given = _start(recipe, start)
    parts = [(_shards(Path(folder), "train"), weight) for folder, weight in map(_weighted, data)]
    held = _held(validation, [Path(folder) for folder, _ in map(_weighted, data)])
    source, chosen = _tokenizer(tokenizer, given, start)
    for shards in [part for part, _ in parts] + ([held] if held else []):
        _check(recipe, shards, chosen)
    config = recipe.train
    check_writable(config.model, chosen)
    evaluate = evaluation(recipe.evaluate, config.model, chosen)
    begins = folder_digest(given) if given else None
    check_same({"recipe": asdict(recipe), "--start": begins, "tokenizer": digest(chosen)})
    with progress(recipe.name, config.steps) as report:
        state = train(
            config,
            Mixture(parts, config.seed, separate=recipe.separate),
            out,
            initial=(lambda: read_folder(given).params) if given else None,
            start=begins,
            recipe={"recipe": asdict(recipe), "start": start, "tokenizer": str(source)},
            validation=InOrder(held, recipe.separate) if held else None,
            evaluate=evaluate,
            report=report,
            sinks=sinks,
            stop_after=deadline - time.monotonic(),
            profile=profile,
        )
    if int(state.step) < config.steps:
        return None
    decide(lambda: (out / "model").exists() or export(out, out / "model", config.steps, chosen))
    if leads():
        print(f"The model is in {out / 'model'}.")
    return out / "model"


def _weighted(text: str) -> tuple[str, float]:
    """`DIR` or `DIR=WEIGHT`."""
    folder, equals, weight = text.rpartition("=")
    if not equals:
        return text, 1
    try:
        return folder, float(weight)
    except ValueError:
        raise UserError(f"--data takes DIR or DIR=WEIGHT, as in corpus/mono=0.8, not {text!r}.") from None


def _shards(folder: Path, name: str) -> "Shards":
    """The shards in a folder, or those of this name in a folder of `data build`."""
    from polyturn.data import shards

    return shards.open(folder / name if (folder / name).is_dir() else folder)


def _held(validation: Path | None, data: Sequence[Path]) -> "Shards | None":
    if validation is not None:
        return _shards(validation, "validation")
    return next((_shards(folder, "validation") for folder in data if (folder / "validation").is_dir()), None)


def _start(recipe: Pretraining, start: str | None) -> Path | None:
    """The folder of the model to begin with, of the shape that the recipe trains."""
    if start is None:
        if recipe.start_from:
            raise UserError(f"{recipe.name} begins with the weights of {recipe.start_from}; give them with --start.")
        return None
    from polyturn.hub.config_json import read_config

    found = start_folder(start)
    shape = read_config(found)
    # The context is how long a row may be, not a shape of any array.
    if replace(shape, context=recipe.train.model.context) != recipe.train.model:
        raise UserError(
            f"{start} is a model of another shape ({shape}) than {recipe.name} trains ({recipe.train.model}); "
            "take the recipe of its size, or finetune."
        )
    return found


def start_folder(start: str) -> Path:
    """The folder of a model: itself, a built-in model's, a Hub id's, or that of a run's last model.

    Raises:
        UserError: it is none of these, or a run that has not come to its end.
    """
    from polyturn.hub.catalogue import resolve

    folder = Path(start)
    if (folder / "recipe.json").exists():
        if not (folder / "model").is_dir():
            raise UserError(f"The run in {start} is not finished; finish it, or use `polyturn train export`.")
        folder = folder / "model"
    return folder if folder.is_dir() else resolve(start)


def _tokenizer(name: str | None, given: Path | None, start: str | None) -> "tuple[str | Path, Tokenizer]":
    """The name or folder of the tokenizer, and the tokenizer."""
    from polyturn.hub.catalogue import resolve
    from polyturn.hub.config_json import read_config
    from polyturn.hub.folder import read_tokenizer
    from polyturn.tokenizer.bpe import load

    if name is not None:
        return Path(name).absolute() if Path(name).is_dir() else name, load(resolve(name))
    if given is None:
        return DEFAULT_TOKENIZER, load(resolve(DEFAULT_TOKENIZER))
    own = read_tokenizer(given, read_config(given))
    if own is None:
        raise UserError(f"{start} has no tokenizer; say which with --tokenizer.")
    return given.absolute(), own


def tokenizer_of(run: Path) -> Path | None:
    """The folder of the tokenizer that a run's recipe made, or took; None for a run that is of no recipe.

    Raises:
        UserError: it is not there any more.
    """
    from polyturn.hub.catalogue import resolve

    above = run.absolute().parent
    if (above / "recipe.json").exists() and (above / "tokenizer").exists():  # of a recipe whose stage the run is
        return above / "tokenizer"
    try:
        name = json.loads((run / "recipe.json").read_text())["tokenizer"]
    except (FileNotFoundError, ValueError, KeyError):
        return None
    try:
        return resolve(name)
    except UserError as error:
        raise UserError(f"The run's tokenizer cannot be had ({error}); name one with --tokenizer.") from None


def _check(recipe: Pretraining, shards: "Shards", tokenizer: "Tokenizer") -> None:
    """Refuse shards that the recipe cannot read, before anything is begun."""
    from polyturn.data.encode import digest

    index, model = shards.index, recipe.train.model
    if index.row != recipe.row:
        raise UserError(
            f"{shards.folder} has rows of {index.row} tokens and {recipe.name} reads {recipe.row}; build it with "
            f"row = {recipe.row} in [pack], or train with --set row={index.row}."
        )
    if index.row > model.context:
        raise UserError(f"Rows of {index.row} tokens are longer than the model's context of {model.context}.")
    if index.vocab > model.vocab:
        raise UserError(
            f"{shards.folder} was made with a vocabulary of {index.vocab} tokens and the model has rows for "
            f"{model.vocab}; build it with the model's tokenizer."
        )
    if shards.manifest["tokenizer"] != digest(tokenizer):
        raise UserError(f"{shards.folder} was made with another tokenizer; give it with --tokenizer, or build it anew.")
