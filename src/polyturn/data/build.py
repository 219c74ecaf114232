"""From a config to packed training shards, through any number of kills.

    report = build(load("installed"), Path("corpus"), tokenizer=Path("tokenizer"), runner=open_runner("native", 2))

    DIR/build.json     what is built: the config, the tokenizer's digest
    DIR/work/          the units of the sources, the parts of each stage; gone when the build is done
    DIR/dropped/       every file that was not kept, with the reason
    DIR/report.json    documents and bytes in and out of each stage
    DIR/times.json     seconds that each stage took
    DIR/train/         shards (`shards.py`); DIR/validation/ too, if the config holds documents back

Each part of a stage leaves its files and then, last of all, its numbers; a part that has numbers is done. The bytes of
the shards depend on the sources, the config and the tokenizer alone: not on the runner, the workers, or interruptions.
"""

import fcntl
import json
import os
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polyturn.data import duplicates, encode, shards, sources, stages
from polyturn.data.config import Config
from polyturn.data.runner import Item, Runner, Task
from polyturn.tokenizer import bpe
from polyturn.utils.atomic import replacing, write_text
from polyturn.utils.errors import UserError
from polyturn.utils.progress import Counter as Progress

VERSION = 2  # of everything that decides the bytes of the shards
REPORT = "report.json"


def build(config: Config, folder: Path, tokenizer: Path, runner: Runner) -> dict[str, Any]:
    """Build, or go on with a build, and return the report.

    Args:
        config: what to build.
        folder: a new folder, or one of a build with the same config.
        tokenizer: a folder with its tokenizer.
        runner: does the work.

    Raises:
        UserError: the folder holds another build, another process is at work in it, the disk is full, a source is not
            there or holds nothing, or nothing of it is left after the filters.
    """
    with _alone(folder):
        _claim(config, folder, tokenizer)
        if not (folder / REPORT).exists():
            with _timed(folder / "times.json") as times:
                _build(config, folder, tokenizer, runner, times)
        shutil.rmtree(folder / "work", ignore_errors=True)
        return read_report(folder)


def read_report(folder: Path) -> dict[str, Any]:
    """The report of a finished build. Raises UserError where there is none."""
    try:
        return json.loads((folder / REPORT).read_text())
    except (OSError, ValueError):
        raise UserError(f"{folder} holds no finished build; run `polyturn data build CONFIG --out {folder}`.") from None


def _build(config: Config, folder: Path, tokenizer: Path, runner: Runner, done: Callable[[str], None]) -> None:
    work, dropped = folder / "work", folder / "dropped"
    numbers: list[Item] = [{"part": part} for part in range(_units(config, work))]
    read = _stage(runner, stages.Read(config, work, dropped), numbers, work / "read", "units read")
    done("read")
    if not any(each["documents"] for each in read):
        raise UserError(_nothing(read))
    gone = _once(work / "gone.json", lambda: _find_duplicates(config, work, dropped, runner, read))
    if gone["held_back"] == gone["kept"]:
        raise UserError(
            f"All {gone['kept']} documents are held back for validation and none is left to train on; take more "
            "documents or a smaller validation share in a new folder."
        )
    done("duplicates")
    buckets = stages.bucket_counts(config, sum(sum(each["groups"]) for each in read))
    files = stages.token_files(each["groups"] for each in read)
    encoding = stages.Encode(config, work, tokenizer, buckets)
    encoded = _stage(runner, encoding, files, work / "encode", "files of tokens encoded")
    done("encode")
    packing = stages.Pack(config, work, tokenizer, len(files))
    places: list[Item] = [{"place": place} for place in range(buckets.places)]
    packed = _stage(runner, packing, places, work / "pack", "buckets packed")
    about = _about(config, tokenizer, encoded)
    loaded = bpe.load(tokenizer)
    chosen = {"validation": range(buckets.validation), "train": range(buckets.validation, buckets.places)}
    rows = {name: sum(packed[place]["rows"] for place in places) for name, places in chosen.items()}
    if not rows["train"]:
        raise UserError(
            f"The documents do not fill a row of {config.pack.row} tokens; take more documents, shorter rows, or "
            'how = "best-fit" in a new folder.'
        )
    for name in ("validation", "train"):
        if rows[name]:
            shards.write(
                folder / name,
                stages.read_packed(work, chosen[name]),
                vocab=loaded.size,
                pad_id=loaded.pad_id,
                about=about,
                megabytes=config.shard.megabytes,
            )
    done("pack")
    report = _report(config, read, gone, encoded, packed) | {"validation_rows": rows["validation"]}
    write_text(folder / REPORT, json.dumps(report, indent=1) + "\n")


# ---- stages


def _stage(runner: Runner, task: Task, items: Sequence[Item], folder: Path, title: str) -> list[Item]:
    """The numbers of every item of a stage, those of earlier runs among them."""
    paths = [folder / f"{place:05}.json" for place in range(len(items))]
    missing = [place for place, path in enumerate(paths) if not path.exists()]
    with Progress(title) as progress:
        done = len(items) - len(missing)
        progress.show(done, len(items))
        for place, numbers in runner.map(task, [items[place] for place in missing]):
            write_text(paths[missing[place]], json.dumps(numbers))
            done += 1
            progress.show(done, len(items))
    return [json.loads(path.read_text()) for path in paths]


def _once(path: Path, make: Callable[[], Any]) -> Any:
    """What `make` gives, made once."""
    if not path.exists():
        write_text(path, json.dumps(make()))
    return json.loads(path.read_text())


def _find_duplicates(config: Config, work: Path, dropped: Path, runner: Runner, read: Sequence[Item]) -> dict[str, Any]:
    """Find copies and near copies, and leave them out."""
    documents = [each["documents"] for each in read]
    with Progress("duplicates") as progress:
        progress.show(0, 2)
        equal, similar = duplicates.find(config.dedup, work, runner, documents)
        progress.show(1, 2)
        left = duplicates.leave_out(work, dropped, documents, equal, similar)
        progress.show(2, 2)
    return left._asdict()


# ---- what is said of it


def _about(config: Config, tokenizer: Path, encoded: Sequence[Item]) -> shards.About:
    languages: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    for each in encoded:
        languages.update({language: documents for language, documents, _ in each["counts"]})
        licences.update(each["licences"])
    return shards.About(
        config=config.digest(),
        tokenizer=encode.digest(bpe.load(tokenizer)),
        documents=languages.total(),
        languages=dict(sorted(languages.items())),
        licences=dict(sorted(licences.items())),
    )


def _report(
    config: Config, read: Sequence[Item], gone: Item, encoded: Sequence[Item], packed: Sequence[Item]
) -> dict[str, Any]:
    """Documents and bytes by language and outcome, tokens by language, rows: all that `data show` tells."""
    outcomes: defaultdict[str, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for language, outcome, documents, size in [row for each in [*read, gone] for row in each["counts"]]:
        place = outcomes[language][outcome]
        place[0] += documents
        place[1] += size
        if outcome in ("duplicate", "near-duplicate"):
            outcomes[language]["kept"][0] -= documents
            outcomes[language]["kept"][1] -= size
    tokens: Counter[str] = Counter()
    redacted: Counter[str] = Counter()
    for each in encoded:
        tokens.update({language: count for language, _, count in each["counts"]})
    for each in read:
        redacted.update(each["redacted"])
    return {
        "version": VERSION,
        "name": config.data.name,
        "tokenizer": config.data.tokenizer,
        "config": config.digest(),
        "outcomes": {language: dict(sorted(outcomes[language].items())) for language in sorted(outcomes)},
        "tokens": dict(sorted(tokens.items())),
        "redacted": dict(sorted(redacted.items())),
        "held_back": sum(each["held_back"] for each in encoded),
        "rows": sum(each["rows"] for each in packed),
        "row": config.pack.row,
        "dropped_tokens": sum(each["dropped"] for each in packed),
    }


def _nothing(read: Sequence[Item]) -> str:
    reasons: Counter[str] = Counter()
    for _, outcome, documents, _ in [row for each in read for row in each["counts"]]:
        reasons[outcome] += documents
    if not reasons:
        return "The sources hold no files; check their paths."
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(5))
    return f"Nothing is left after the filters ({told}); change the filters or the languages in the config."


# ---- the folder


def _claim(config: Config, folder: Path, tokenizer: Path) -> None:
    """Make this the folder of the build, or see that it is."""
    mine = {
        "version": VERSION,
        "config": config.resolved(),
        "tokenizer": encode.digest(bpe.load(tokenizer)),
    }
    path = folder / "build.json"
    if path.exists():
        try:
            there = dict(json.loads(path.read_text()))
        except (ValueError, TypeError):
            raise UserError(f"{path} is damaged; remove {folder} and build anew.") from None
        other = [name for name, value in mine.items() if there.get(name) != value]
        if other:
            raise UserError(f"{folder} holds a build with another {' and '.join(other)}; choose another folder.")
        return
    strangers = [file.name for file in folder.iterdir() if file.name != "lock"]
    if strangers:
        raise UserError(f"{folder} holds files but no build, {strangers[0]} for one; choose a new folder.")
    write_text(path, json.dumps(mine) + "\n")


def _units(config: Config, work: Path) -> int:
    """How many units there are; they are listed once, and each has a file of its own: a list of files may be long."""
    folder = stages.unit_path(work, 0).parent
    if not folder.exists():
        with replacing(folder) as temporary:
            temporary.mkdir()
            for part, unit in enumerate(sources.units(config)):
                (temporary / stages.unit_path(work, part).name).write_text(json.dumps(asdict(unit)))
    return sum(1 for _ in os.scandir(folder))


@contextmanager
def _timed(path: Path) -> Iterator[Callable[[str], None]]:
    """Takes down how long stages take; calls mark the end of each. Of what is gone on with, the last part counts."""
    times: dict[str, float] = {}
    begun = time.monotonic()

    def done(stage: str) -> None:
        nonlocal begun
        now = time.monotonic()
        times[stage], begun = round(now - begun, 1), now

    yield done
    write_text(path, json.dumps(times) + "\n")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of the folder; the lock goes with the process, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open(folder / "lock", "w")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UserError(f"Cannot write in {folder}: {error.strerror}; choose another place.") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"Another process is building in {folder}; wait for it, or choose another folder."
            ) from None
        yield
