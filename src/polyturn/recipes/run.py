"""From a recipe to a model folder, through any number of kills.

A run's folder holds `recipe.json`, `programs/` and `copies/` (verified programs), one folder a stage (packed rows, log,
checkpoints) and at the end `model/`, a Hugging Face folder. Every part is made once and found again.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import jax
import numpy as np

from polyturn.curriculum.corpus import build, read
from polyturn.curriculum.heldout import TRAIN_SEED, VALIDATION_SEED
from polyturn.data.batches import as_batch
from polyturn.data.packing import Rows, load_rows, pack, save_rows
from polyturn.data.repeats import repeats
from polyturn.hub.folder import write_folder
from polyturn.model.copying import initialise_copying
from polyturn.model.params import Params
from polyturn.synthesis.turns import encode_for_training
from polyturn.tokenizer.bpe import Tokenizer, load
from polyturn.tokenizer.training import SPECIAL
from polyturn.train.config import TrainConfig
from polyturn.train.loop import train
from polyturn.train.step import evaluate
from polyturn.utils.atomic import write_text
from polyturn.utils.errors import UserError
from polyturn.utils.progress import Counter, track

VALIDATION_PROGRAMS = 500


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


def run(
    recipe: Recipe, out: Path, overlap: Path | None = None, stop_after: float = float("inf")
) -> Path | None:
    """Carry a recipe out in the folder `out`, or carry on with it.

    Args:
        overlap: n-gram digests of held-out benchmarks, to keep them out of the corpus.
        stop_after: seconds after which training saves and stops.

    Returns:
        The model folder, or None if `stop_after` came first.

    Raises:
        UserError: the folder holds the run of another recipe; the tokenizer does not fit the model.
    """
    deadline = time.monotonic() + stop_after
    _claim(recipe, out)
    tokenizer = _tokenizer(recipe)
    make = partial(build, overlap_path=overlap, workers=os.cpu_count() or 1)
    make(out / "programs", programs=recipe.programs, seed=TRAIN_SEED)
    make(out / "copies", programs=recipe.copies, seed=TRAIN_SEED, split="copy")
    make(out / "validation", programs=VALIDATION_PROGRAMS, seed=VALIDATION_SEED)
    params = initialise_copying(recipe.stages[0].train.model, jax.random.key(recipe.stages[0].train.seed))
    for number, stage in enumerate(recipe.stages):
        folder = out / f"{number}-{stage.name}"
        rows = _rows(folder / "rows.npz", partial(_documents, out, stage, tokenizer), stage, tokenizer)
        held = partial(_programs, out / "validation", tokenizer, VALIDATION_PROGRAMS)
        validation = _rows(folder / "validation.npz", held, stage, tokenizer)
        params = _train(stage, rows, validation, folder, params, deadline - time.monotonic())
        if params is None:
            return None
    write_folder(out / "model", recipe.stages[-1].train.model, params, tokenizer, dtype="bfloat16")
    print(f"The model is in {out / 'model'}.")
    return out / "model"


def _claim(recipe: Recipe, out: Path) -> None:
    path = out / "recipe.json"
    text = json.dumps(asdict(recipe), indent=2) + "\n"
    if not path.exists():
        write_text(path, text)
    elif path.read_text() != text:
        raise UserError(f"{out} holds the run of another recipe or of other settings; choose another folder.")


def _tokenizer(recipe: Recipe) -> Tokenizer:
    from polyturn.hub.catalogue import resolve

    tokenizer = load(resolve(recipe.tokenizer))
    rows = recipe.stages[0].train.model.vocab
    if tokenizer.size > rows:
        raise UserError(
            f"The tokenizer has {tokenizer.size} ids and the model {rows} rows; give the model more."
        )
    return tokenizer


def _rows(path: Path, documents, stage: Stage, tokenizer: Tokenizer) -> Rows:
    if not path.exists():
        short = (d for d in documents() if len(d[0]) <= stage.data.row)
        save_rows(path, pack(short, stage.data.row, tokenizer.pad_id))
    return load_rows(path)


def _documents(out: Path, stage: Stage, tokenizer: Tokenizer) -> Iterator[tuple[list[int], list[bool]]]:
    """All documents of a stage, in an order drawn from its seed."""
    mix = stage.data
    ids = range(len(SPECIAL), tokenizer.size)
    documents = repeats(stage.train.seed, mix.repeats, ids, tokenizer.eos_id)
    documents += _programs(out / "copies", tokenizer, mix.copies)
    documents += _programs(out / "programs", tokenizer, mix.programs)
    order = np.random.default_rng(stage.train.seed).permutation(len(documents))
    return (documents[i] for i in order)


def _programs(corpus: Path, tokenizer: Tokenizer, count: int) -> list[tuple[list[int], list[bool]]]:
    """The first `count` programs of a corpus, encoded."""
    programs = (item.program for item in islice(read(corpus), count))
    return [encode_for_training(tokenizer, p.turns) for p in track(programs, f"{corpus.name} encoded", count)]


def _train(
    stage: Stage,
    rows: Rows,
    validation: Rows,
    folder: Path,
    initial: Params[jax.Array] | None,
    seconds: float,
) -> Params[jax.Array] | None:
    """Train one stage; None if time ran out first."""
    size = stage.train.rows
    held = [
        as_batch(validation, np.arange(i, i + size))
        for i in range(0, len(validation.tokens) - size + 1, size)
    ]
    with Counter(f"{stage.name}: steps") as counter:

        def report(line: dict[str, float]) -> None:
            note = "  ".join(f"{k} {v:,.4g}" for k, v in line.items() if k != "step")
            counter.show(int(line["step"]), stage.train.steps, note)

        state = train(
            stage.train,
            rows,
            folder,
            initial=initial,
            evaluate=lambda params: {"validation_loss": evaluate(stage.train, params, held)},
            report=report,
            stop_after=seconds,
        )
    return state.params if int(state.step) == stage.train.steps else None
