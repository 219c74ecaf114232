"""From a config to packed training shards, through any number of kills.

    report = build(load("installed"), Path("corpus"), tokenizer=Path("tokenizer"), runner=open_runner("native", 2))

    DIR/build.json     what is built: the config, the tokenizer's digest, the version of Python where that counts
    DIR/units/         the units of the sources, with sizes and times of their files
    DIR/work/          the parts of each stage; gone when the build is done
    DIR/dropped/       every file that was not kept, with the reason
    DIR/report.json    documents and bytes in and out of each stage
    DIR/times.json     seconds that each stage took
    DIR/train/         shards (`shards.py`); DIR/validation/ too, if the config holds documents back

Each part of a stage leaves its files and then, last of all, its numbers; a part that has numbers is done. The bytes of
the shards depend on the sources, the config, the tokenizer and, where Python is parsed, the version of Python alone,
not on the runner, the workers, or interruptions. Sources that change before a build is finished, or after, are noticed
at the next call.
"""

import json
import os
import platform
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polyturn.data import duplicates, encode, shards, sources, stages
from polyturn.data.config import URL, Config
from polyturn.data.overlap import Overlap
from polyturn.data.runner import Item, Runner, Task
from polyturn.data.sources import installed, tables
from polyturn.data.sources.folder import BUILD
from polyturn.data.sources.stamps import changed, stamped
from polyturn.tokenizer import bpe
from polyturn.utils.atomic import remove_leftovers, replacing, write_text
from polyturn.utils.differing import differing
from polyturn.utils.errors import UserError
from polyturn.utils.lock import LOCK, hold
from polyturn.utils.progress import Counter as Progress

VERSION = 5  # of everything that decides the bytes of the shards
REPORT, TIMES, UNITS = "report.json", "times.json", "units"
SETS = ("train", "validation")


def build(config: Config, folder: Path, tokenizer: Path, runner: Runner) -> dict[str, Any]:
    """Build, or go on with a build, and return the report.

    Args:
        config: what to build.
        folder: a new folder, or one of a build with the same config.
        tokenizer: a folder with its tokenizer.
        runner: does the work.

    Raises:
        UserError: the folder holds another build, another process is at work in it, the disk is full, a source is not
            there, holds nothing or has changed since the build began, or nothing of it is left after the filters.
    """
    if URL.match(str(folder)):
        raise UserError(
            f"A build is written to a file system of this machine, and {folder} is not on one; give a folder."
        )
    _check_ours(folder)
    new = not folder.exists()
    with hold(folder, f"Another process is building in {folder}; wait for it, or choose another folder."):
        remove_leftovers(folder, BUILD, REPORT, TIMES, UNITS, *SETS)
        for part in (folder / "work").glob("*"):
            remove_leftovers(part)
        try:
            _claim(config, folder, tokenizer)
            units = _units(config, folder)
        except UserError:
            if new:
                _leave(folder)
            raise
        if _is_whole(folder):
            print(f"{folder} is already built, and its sources are as they were.", file=sys.stderr)
        else:
            with _timed(folder / TIMES) as times:
                _build(config, folder, tokenizer, runner, units, times)
        shutil.rmtree(folder / "work", ignore_errors=True)
        remove_leftovers(folder / "dropped")  # of workers that Ray replaced, too
        return read_report(folder)


def read_report(folder: Path) -> dict[str, Any]:
    """The report of a finished build. Raises UserError where there is none."""
    try:
        report = json.loads((folder / REPORT).read_text())
        if not isinstance(report["sets"], dict):
            raise TypeError
    except FileNotFoundError:
        raise UserError(f"{folder} holds no finished build; run `polyturn data build CONFIG --out {folder}`.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder / REPORT} is damaged; remove it, and build again in the same folder.") from None
    return report


def _is_whole(folder: Path) -> bool:
    """Whether a build is finished and its shards are there; one whose shards are gone is begun anew."""
    if not (folder / REPORT).exists():
        return False
    for name in read_report(folder)["sets"]:
        try:
            shards.open(folder / name)
        except UserError:
            print(f"{folder / name} is missing or damaged: building it again.", file=sys.stderr)
            (folder / REPORT).unlink()
            shutil.rmtree(folder / "work", ignore_errors=True)  # a kill may have left a part of it
            return False
    return True


def _build(
    config: Config, folder: Path, tokenizer: Path, runner: Runner, units: int, done: Callable[[str], None]
) -> None:
    work, dropped = folder / "work", folder / "dropped"
    held_out = Overlap.from_files(config.decontaminate.files)  # mistakes in it are told before anything is read
    numbers: list[Item] = [{"part": part} for part in range(units)]
    read = _stage(runner, stages.Read(config, folder / UNITS, work, dropped), numbers, work / "read", "parts read")
    done("read")
    if not any(each["documents"] for each in read):
        raise UserError(_nothing(config, read))
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
    encoded = _stage(runner, encoding, files, work / "encode", "parts encoded")
    done("encode")
    packing = stages.Pack(config, work, tokenizer, len(files))
    places: list[Item] = [{"place": place} for place in range(buckets.places)]
    packed = _stage(runner, packing, places, work / "pack", "buckets packed")
    loaded = bpe.load(tokenizer)
    report = _report(config, read, gone, encoded, packed, held_out)
    chosen = {"train": range(buckets.validation, buckets.places), "validation": range(buckets.validation)}
    rows = {name: sum(packed[place]["rows"] for place in places) for name, places in chosen.items()}
    report["held_back"] = sum(sum(each["languages"][1].values()) for each in encoded)
    report["validation_rows"] = rows["validation"]
    if not rows["train"]:
        raise UserError(
            f"The documents do not fill a row of {config.pack.row} tokens; take more documents, shorter rows, or "
            'how = "best-fit" in a new folder.'
        )
    for number, name in enumerate(SETS):
        if rows[name]:
            shards.write(
                folder / name,
                stages.read_packed(work, chosen[name]),
                vocab=loaded.size,
                pad_id=loaded.pad_id,
                about=_about(config, tokenizer, encoded, number),
                megabytes=config.shard.megabytes,
            )
            manifest = shards.open(folder / name).manifest
            report["sets"][name] = {key: manifest[key] for key in ("documents", "rows", "pieces", "tokens", "sha256")}
    done("pack")
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


def _about(config: Config, tokenizer: Path, encoded: Sequence[Item], held_back: int) -> shards.About:
    """What the manifest says of the documents for training, or of those held back."""
    languages: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    for each in encoded:
        languages.update(each["languages"][held_back])
        licences.update(each["licences"][held_back])
    return shards.About(
        config=config.digest(),
        tokenizer=encode.digest(bpe.load(tokenizer)),
        documents=languages.total(),
        languages=dict(sorted(languages.items())),
        licences=dict(sorted(licences.items())),
        sources=_sources(config),
    )


def _sources(config: Config) -> list[dict[str, Any]]:
    return [
        {"kind": source.kind, "name": source.name}
        | (installed.versions() if source.kind == "installed" else _python(config))
        for source in config.source
    ]


def _python(config: Config) -> dict[str, str]:
    """The version of Python, whose grammar changes with it, where that decides what is kept."""
    return {"python": platform.python_version()} if config.parses else {}


def _report(
    config: Config,
    read: Sequence[Item],
    gone: Item,
    encoded: Sequence[Item],
    packed: Sequence[Item],
    held_out: Overlap,
) -> dict[str, Any]:
    """All that `data show` tells: documents and bytes by language, stage and outcome, tokens by language, rows.

    Bytes are those of files as they came; `characters` are what is left of the kept ones: docstrings alone,
    placeholders for secrets. What comes into a stage and is not dropped there comes out of it, and this is checked
    where two stages count the same.
    """
    outcomes: defaultdict[str, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for language, outcome, count, size in [row for each in [*read, gone] for row in each["counts"]]:
        place = outcomes[language][outcome]
        place[0] += count
        place[1] += size
        if outcome in ("duplicate", "near-duplicate"):
            outcomes[language]["kept"][0] -= count
            outcomes[language]["kept"][1] -= size
    documents: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    redacted: Counter[str] = Counter()
    for language, count, length, encoded_tokens in [row for each in encoded for row in each["counts"]]:
        documents[language] += count
        characters[language] += length
        tokens[language] += encoded_tokens
    for each in read:
        redacted.update(each["redacted"])
    for language, found in outcomes.items():
        kept, _ = found.get("kept", (0, 0))
        if kept != documents[language]:
            raise RuntimeError(f"{kept} documents of {language!r} were kept and {documents[language]} encoded")
    return {
        "version": VERSION,
        "name": config.data.name,
        "tokenizer": Path(config.data.tokenizer).name,
        "config": config.digest(),
        "sources": _sources(config),
        "outcomes": {language: dict(sorted(outcomes[language].items())) for language in sorted(outcomes)},
        "characters": dict(sorted(characters.items())),
        "tokens": dict(sorted(tokens.items())),
        "rearranged": sum(each["rearranged"] for each in encoded),
        "redacted": dict(sorted(redacted.items())),
        "held_out": {"strings": held_out.strings, "short": held_out.short},
        "row": config.pack.row,
        "dropped_tokens": sum(each["dropped"] for each in packed),
        "sets": {},
    }


def _nothing(config: Config, read: Sequence[Item]) -> str:
    """What a user is told where nothing is left, with the remedy for the most frequent reason."""
    reasons: Counter[str] = Counter()
    for _, outcome, documents, _ in [row for each in read for row in each["counts"]]:
        reasons[outcome] += documents
    if not reasons:
        return "The sources hold no files; check their paths."
    found = reasons.most_common(5)
    told = ", ".join(f"{count} {reason}" for reason, count in found)
    match found[0][0]:
        case "licence":
            remedy = "licences = [] under [filter] in a config of your own allows all of them"
        case "no-text" | "no-prompt" as reason:
            field = reason.removeprefix("no-")
            names = tables.first_columns(config.source)
            there = f" (there are {', '.join(names)})" if names else ""
            remedy = f"set columns.{field} of the [[source]] to the column that holds the {field}{there}"
        case "corrupt":
            remedy = "the files are damaged: fetch them again, or check them with the program that wrote them"
        case "not-json" | "not-an-object":
            remedy = "a .jsonl file holds one JSON object on each line; mend the files"
        case _:
            remedy = "change the filters or the languages in the config"
    return f"Nothing is left after the filters ({told}); {remedy}."


# ---- the folder


def _check_ours(folder: Path) -> None:
    """Raise UserError where a folder holds something else than a build. Hidden files are what a killed write left."""
    if not folder.is_dir() or (folder / "build.json").exists():
        return
    strangers = sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))
    if strangers:
        raise UserError(f"{folder} holds files but no build, {strangers[0]} for one; choose a new folder.")


def _claim(config: Config, folder: Path, tokenizer: Path) -> None:
    """Make this the folder of the build, or see that it is."""
    mine = {
        "version": VERSION,
        "config": config.resolved(),
        "tokenizer": encode.digest(bpe.load(tokenizer)),
        **_python(config),
    }
    path = folder / BUILD
    if path.exists():
        try:
            there = dict(json.loads(path.read_text()))
        except (ValueError, TypeError):
            raise UserError(f"{path} is damaged; remove {folder} and build anew.") from None
        other = differing(there, mine)
        if other:
            raise UserError(
                f"{folder} holds a build with another {' and '.join(other)}; choose another folder, or remove this one."
            )
        return
    write_text(path, json.dumps(mine) + "\n")


def _leave(folder: Path) -> None:
    """Remove the folder of a build that could not begin, so that one with a mended config can begin there."""
    for name in (BUILD, LOCK):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # it holds something of somebody else by now
        folder.rmdir()


def _units(config: Config, folder: Path) -> int:
    """How many units there are. They are listed once, each in a file of its own, and compared with what is there now.

    Raises:
        UserError: the sources have changed since.
    """
    place = folder / UNITS
    if place.exists():
        count = len(os.listdir(place))
        found = changed(
            config, (stages.read_unit(place, part) for part in range(count)), map(stamped, sources.units(config))
        )
        if found:
            raise UserError(f"{found} since the build in {folder} began; choose another folder, or remove this one.")
        return count
    with replacing(place) as temporary:
        temporary.mkdir()
        for part, unit in enumerate(sources.units(config)):
            stages.unit_path(temporary, part).write_text(json.dumps(asdict(stamped(unit))))
    return len(os.listdir(place))


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
