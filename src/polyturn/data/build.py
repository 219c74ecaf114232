"""From a config to packed training shards, through any number of kills.

    report = build(load("installed"), Path("corpus"), tokenizer=Path("tokenizer"), runner=open_runner("native", 2))

    DIR/build.json     what is built: the config, the tokenizer's digest, the units of the sources
    DIR/work/          parts of each stage; gone when the build is done
    DIR/dropped/       every file that was not kept, with the reason
    DIR/report.json    documents and bytes in and out of each stage
    DIR/times.json     seconds that each stage took
    DIR/train/         shards (`shards.py`); DIR/validation/ too, if the config holds documents back

Each part of a stage leaves its files and then, last of all, its numbers; a part that has numbers is done. The bytes of
the shards depend on the sources, the config and the tokenizer alone: not on the runner, the workers, or interruptions.
"""

import json
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polyturn.data import encode, shards, sources, stages
from polyturn.data.config import Config
from polyturn.data.runner import Item, Runner, Task
from polyturn.data.sources import Dropped, Unit
from polyturn.tokenizer import bpe
from polyturn.utils.atomic import write_text
from polyturn.utils.errors import UserError
from polyturn.utils.lock import hold
from polyturn.utils.progress import Counter as Progress

VERSION = 1  # of everything that decides the bytes of the shards
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
    _check_ours(folder)
    with hold(folder, f"Another process is building in {folder}; wait for it, or choose another folder."):
        units = _claim(config, folder, tokenizer)
        if not (folder / REPORT).exists():
            with _timed(folder / "times.json") as times:
                _build(config, folder, tokenizer, runner, units, times)
        shutil.rmtree(folder / "work", ignore_errors=True)
        return read_report(folder)


def read_report(folder: Path) -> dict[str, Any]:
    """The report of a finished build. Raises UserError where there is none."""
    try:
        return json.loads((folder / REPORT).read_text())
    except (OSError, ValueError):
        raise UserError(f"{folder} holds no finished build; run `polyturn data build CONFIG --out {folder}`.") from None


def _build(
    config: Config, folder: Path, tokenizer: Path, runner: Runner, units: Sequence[Unit], done: Callable[[str], None]
) -> None:
    work = folder / "work"
    parts: list[Item] = [{"part": part, "unit": asdict(unit)} for part, unit in enumerate(units)]
    read = _stage(runner, stages.Read(config, work, folder / "dropped"), parts, work / "read", "units read")
    done("read")
    documents = sum(each["documents"] for each in read)
    if not documents:
        raise UserError(_nothing(read))
    gone = _once(work / "gone.json", lambda: _find_duplicates(config, folder, runner, len(parts), documents))
    done("duplicates")
    buckets = max(1, sum(each["text"] for each in read) // stages.BUCKETS_BYTES)
    encoding = stages.Encode(config, work, tokenizer, buckets)
    numbers: list[Item] = [{"part": part} for part in range(len(parts))]
    encoded = _stage(runner, encoding, numbers, work / "encode", "units encoded")
    done("encode")
    held_back = sum(each["held_back"] for each in encoded)
    packing = stages.Pack(config, work, tokenizer, len(parts))
    places = [*([stages.VALIDATION] if held_back else []), *range(buckets)]
    packed = _stage(runner, packing, [{"bucket": place} for place in places], work / "pack", "buckets packed")
    about = _about(config, tokenizer, encoded)
    loaded = bpe.load(tokenizer)
    for name, chosen in (("validation", [p for p in places if p < 0]), ("train", [p for p in places if p >= 0])):
        if chosen:
            rows = stages.read_packed(work, chosen)
            megabytes = config.shard.megabytes
            shards.write(folder / name, rows, vocab=loaded.size, pad_id=loaded.pad_id, about=about, megabytes=megabytes)
    done("pack")
    report = _report(config, read, gone, encoded, packed)
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


def _find_duplicates(config: Config, folder: Path, runner: Runner, parts: int, documents: int) -> dict[str, Any]:
    """Find copies and near copies, leave the ids of each part in `gone/`, and count them by language."""
    import pyarrow.parquet as pq

    files = [folder / "work" / "documents" / f"{part:05}.parquet" for part in range(parts)]
    with Progress("duplicates") as progress:
        progress.show(0, 2)
        exact = stages.duplicates(runner, files, documents)
        progress.show(1, 2)
        near = stages.near_duplicates(runner, files, documents, exact, config) if config.dedup.near else {}
        progress.show(2, 2)
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for file in files:
        names = []
        dropped = []
        for row in pq.read_table(file, columns=["id", "language", "size"]).to_pylist():
            reason = "duplicate" if row["id"] in exact else "near-duplicate" if row["id"] in near else ""
            if reason:
                names.append(row["id"])
                first = exact.get(row["id"]) or near[row["id"]]
                dropped.append(Dropped(row["id"], row["size"], row["language"], f"{reason} of {first}"))
                counts[row["language"], reason] += 1
                sizes[row["language"], reason] += row["size"]
        stages.write_ids(folder / "work" / "gone" / file.name, names)
        stages.write_dropped(folder / "dropped" / f"duplicates-{file.name}", dropped)
    return {"counts": [[*key, counts[key], sizes[key]] for key in sorted(counts)]}


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


def _check_ours(folder: Path) -> None:
    """Raise UserError where a folder holds something else than a build. Hidden files are what a killed write left."""
    if not folder.is_dir() or (folder / "build.json").exists():
        return
    strangers = sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))
    if strangers:
        raise UserError(f"{folder} holds files but no build, {strangers[0]} for one; choose a new folder.")


def _claim(config: Config, folder: Path, tokenizer: Path) -> list[Unit]:
    """The units of the build: of this folder's, if it holds one, and else of the sources as they are now."""
    mine = {
        "version": VERSION,
        "config": config.resolved(),
        "tokenizer": encode.digest(bpe.load(tokenizer)),
    }
    path = folder / "build.json"
    if path.exists():
        try:
            there = json.loads(path.read_text())
            units = [Unit(**unit) for unit in there.pop("units")]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path} is damaged; remove {folder} and build anew.") from None
        other = [name for name, value in mine.items() if there.get(name) != value]
        if other:
            raise UserError(f"{folder} holds a build with another {' and '.join(other)}; choose another folder.")
        return units
    units = sources.units(config)
    write_text(path, json.dumps({**mine, "units": [asdict(unit) for unit in units]}) + "\n")
    return units


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
