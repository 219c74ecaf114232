"""From a recipe to a model folder, through any number of kills.

A run's folder holds `recipe.json`, `programs/` and `copies/` (verified programs), one folder a stage (packed rows, log,
checkpoints) and at the end `model/`, a Hugging Face folder. Every part is made once and found again.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np

from polyturn.curriculum.corpus import build, read
from polyturn.curriculum.heldout import TRAIN_SEED, VALIDATION_SEED
from polyturn.data import shards
from polyturn.data.encode import digest
from polyturn.data.packing import best_fit
from polyturn.data.repeats import repeats
from polyturn.data.sampler import InOrder, Mixture
from polyturn.data.shards import About, Shards
from polyturn.hub.catalogue import resolve
from polyturn.hub.folder import check_writable
from polyturn.model.copying import initialise_copying
from polyturn.model.params import Params
from polyturn.recipes.evaluation import evaluation
from polyturn.recipes.progress import progress
from polyturn.recipes.recipe import Recipe, Stage
from polyturn.synthesis.turns import encode_for_training
from polyturn.tokenizer.bpe import Tokenizer, load
from polyturn.tokenizer.training import SPECIAL
from polyturn.train.checkpoints import load_params
from polyturn.train.export import export
from polyturn.train.hosts import check_same, decide, leads
from polyturn.train.loop import Evaluate, train
from polyturn.train.record import fixed
from polyturn.train.step import State
from polyturn.train.watch import Sink
from polyturn.utils.atomic import replacing, write_text
from polyturn.utils.errors import UserError
from polyturn.utils.progress import track

VALIDATION_PROGRAMS = 500

type Document = tuple[list[int], list[bool]]


def run(
    recipe: Recipe,
    out: Path,
    overlap: Path | None = None,
    stop_after: float = float("inf"),
    sinks: Sequence[Sink] = (),
    profile: int = 0,
) -> Path | None:
    """Carry a recipe out in the folder `out`, or carry on with it.

    Args:
        overlap: n-gram digests of held-out benchmarks, to keep them out of the corpus.
        stop_after: seconds after which training saves and stops; making the corpus is not interrupted.
        sinks: more places for the lines of the log, such as `watch.tensorboard`.
        profile: leave a trace of so many steps of each stage.

    Returns:
        The model folder, or None if `stop_after` came first.

    Raises:
        UserError: the folder holds the run of another recipe; the tokenizer does not fit the model.
    """
    deadline = time.monotonic() + stop_after
    first, kept = recipe.stages[0].train, out / "tokenizer"
    tokenizer = load(kept if kept.exists() else resolve(recipe.tokenizer))
    check_writable(first.model, tokenizer)
    evaluate = evaluation(recipe.evaluate, first.model, tokenizer)
    check_same({"recipe": asdict(recipe), "tokenizer": digest(tokenizer)})
    decide(lambda: _make(recipe, out, tokenizer, overlap))
    folders = [out / f"{number}-{stage.name}" for number, stage in enumerate(recipe.stages)]
    initial = partial(initialise_copying, first.model, jax.random.key(first.seed))
    for stage, folder in zip(recipe.stages, folders, strict=True):
        decide(partial(_pack, out, stage, folder, tokenizer))
        rows, validation = shards.open(folder / "rows"), shards.open(folder / "validation")
        seconds = deadline - time.monotonic()
        state = _train(stage, rows, validation, folder, initial, evaluate, seconds, sinks, profile)
        if int(state.step) < stage.train.steps:
            return None
        # of the checkpoint, which is whole on every process, as the state is not
        initial = partial(load_params, folder / "checkpoints" / str(stage.train.steps))
    steps = recipe.stages[-1].train.steps
    decide(lambda: (out / "model").exists() or export(folders[-1], out / "model", steps, tokenizer))
    if leads():
        print(f"The model is in {out / 'model'}.")
    return out / "model"


def _make(recipe: Recipe, out: Path, tokenizer: Tokenizer, overlap: Path | None) -> None:
    """What the stages share: the tokenizer and the corpus, made once."""
    _claim(recipe, out)
    if not (out / "tokenizer").exists():
        _keep(tokenizer, out / "tokenizer")
    make = partial(build, overlap_path=overlap, workers=os.cpu_count() or 1)
    make(out / "programs", programs=recipe.programs, seed=TRAIN_SEED)
    make(out / "copies", programs=recipe.copies, seed=TRAIN_SEED, split="copy")
    make(out / "validation", programs=VALIDATION_PROGRAMS, seed=VALIDATION_SEED)


def _claim(recipe: Recipe, out: Path) -> None:
    path = out / "recipe.json"
    mine = json.loads(json.dumps(asdict(recipe)))
    if path.exists() and fixed(json.loads(path.read_text())) != fixed(mine):
        raise UserError(f"{out} holds the run of another recipe or of other settings; choose another folder.")
    write_text(path, json.dumps(mine, indent=2) + "\n")


def _keep(tokenizer: Tokenizer, folder: Path) -> None:
    """The run's own copy of the tokenizer: the rows are made with it and the model ships with it."""
    with replacing(folder) as temporary:
        temporary.mkdir()
        tokenizer.save(temporary)


def _pack(out: Path, stage: Stage, folder: Path, tokenizer: Tokenizer) -> None:
    """The rows of a stage, to train on and to validate on."""
    _rows(folder / "rows", partial(_documents, out, stage, tokenizer), stage, tokenizer)
    held = partial(_programs, out / "validation", tokenizer, VALIDATION_PROGRAMS)
    _rows(folder / "validation", held, stage, tokenizer)


def _rows(path: Path, documents: Callable[[], Iterable[Document]], stage: Stage, tokenizer: Tokenizer) -> None:
    """Packed rows, made once. Documents longer than a row are left out, and their number is told."""
    if not path.exists():
        every = list(documents())
        short = [d for d in every if len(d[0]) <= stage.data.row]
        if not short:
            raise UserError(f"No document of {stage.name} fits in a row of {stage.data.row} tokens; use longer rows.")
        if len(short) < len(every):
            left_out = len(every) - len(short)
            print(f"{path}: {left_out:,} of {len(every):,} documents are longer than a row and were left out.")
        every_ids, wanted = zip(*short, strict=True)
        packed = best_fit(every_ids, stage.data.row, tokenizer.size, tokenizer.pad_id, wanted)
        about = About(stage.name, digest(tokenizer), len(short), {"Python": len(short)})
        shards.write(path, [packed], vocab=tokenizer.size, pad_id=tokenizer.pad_id, about=about)


def _documents(out: Path, stage: Stage, tokenizer: Tokenizer) -> Iterator[Document]:
    """All documents of a stage, in an order drawn from its seed."""
    mix = stage.data
    ids = range(len(SPECIAL), tokenizer.size)
    documents = repeats(stage.train.seed, mix.repeats, ids, tokenizer.eos_id)
    documents += _programs(out / "copies", tokenizer, mix.copies)
    documents += _programs(out / "programs", tokenizer, mix.programs)
    order = np.random.default_rng(stage.train.seed).permutation(len(documents))
    return (documents[i] for i in order)


def _programs(corpus: Path, tokenizer: Tokenizer, count: int) -> list[Document]:
    """The first `count` programs of a corpus, encoded."""
    programs = (item.program for item in islice(read(corpus), count))
    return [encode_for_training(tokenizer, p.turns) for p in track(programs, f"{corpus.name} encoded", count)]


def _train(
    stage: Stage,
    rows: Shards,
    validation: Shards,
    folder: Path,
    initial: Callable[[], Params[Any]],
    evaluate: Evaluate | None,
    seconds: float,
    sinks: Sequence[Sink],
    profile: int,
) -> State:
    """Train one stage, to its end or until `seconds` have passed."""
    with progress(stage.name, stage.train.steps) as report:
        return train(
            stage.train,
            Mixture([(rows, 1)], stage.train.seed),
            folder,
            initial=initial,
            validation=InOrder(validation),
            evaluate=evaluate,
            report=report,
            sinks=sinks,
            stop_after=seconds,
            profile=profile,
        )
