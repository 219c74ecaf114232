"""A run spread over machines: which samples a shard draws, and how shards become one run again.

A sample's shard follows from its own key, so asking for more samples later moves none from shard to shard. All turns
of an oracle sample are in one shard.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from polyturn.bench.graded import drop_damaged
from polyturn.bench.results import FILE, read_results
from polyturn.bench.samples import (
    WHOLE,
    Key,
    Sample,
    locked,
    open_run,
    read_settings,
    samples_path,
    whole_samples,
)
from polyturn.utils.atomic import replacing, write_text
from polyturn.utils.errors import UserError
from polyturn.utils.jsonl import Journal


def parse_shard(shard: str) -> tuple[int, int]:
    """`i/n` as numbers, 0 <= i < n. Raises UserError for anything else."""
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if match is None or not int(match[1]) < int(match[2]):
        raise UserError(f"The shard is {shard!r}; give i/n, such as 0/4 for the first of four.")
    return int(match[1]), int(match[2])


def shard_of(key: Key, shards: int) -> int:
    """Which of so many shards draws a sample."""
    text = json.dumps([key.task, key.case, key.sample])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % shards


def merge(parts: Sequence[Path], folder: Path, say: Callable[[str], None]) -> None:
    """Put the shards of one run together in a new folder, whole or not at all. What was graded stays graded.

    Samples that are missing are told, as far as they show without the data file.

    Raises:
        UserError: they are not shards of one run, or not all of them, or two hold different samples of one key; or the
            folder is a file or not empty.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a new folder for the whole run.")
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is there and not empty; choose a new folder for the whole run.")
    settings = [read_settings(part) for part in parts]
    whole = {replace(s, shard=WHOLE, drawn_with=settings[0].drawn_with) for s in settings}
    if len(whole) != 1:
        names = [name for name in asdict(settings[0]) if len({asdict(s)[name] for s in whole}) > 1]
        raise UserError(f"The folders are not shards of one run: they differ in {', '.join(names)}.")
    have = sorted(parse_shard(s.shard) for s in settings)
    wanted = [(part, have[0][1]) for part in range(have[0][1])]
    if have != wanted:
        if wanted == [(0, 1)]:
            raise UserError("These are whole runs and not shards; `polyturn bench report` shows them side by side.")
        missing = sorted(set(wanted) - set(have))
        surplus = sorted((Counter(have) - Counter(wanted)).elements())
        wrong = [
            f"{word}: {', '.join(f'{i}/{n}' for i, n in which)}"
            for word, which in (("missing", missing), ("one too many", surplus))
            if which
        ]
        raise UserError(f"These are not the shards of one run, each once; {', '.join(wrong)}.")
    parts = [part for _, part in sorted(zip((parse_shard(s.shard) for s in settings), parts, strict=True))]
    with ExitStack() as stack, replacing(folder) as new:
        for part in parts:
            stack.enter_context(locked(part))
        open_run(new, whole.pop())
        cases = _cases(parts)
        for name in _names(parts, "samples"):
            samples = _together([part / "samples" / name for part in parts])
            if told := _missing(samples, parts, cases.get(name, 0)):
                say(
                    f"{Path(name).stem}: {told}; run the unfinished shards' commands again and merge again, or go on "
                    f"with `polyturn bench run` in {folder}, without --shard."
                )
            write_text(new / "samples" / name, "".join(json.dumps(s.to_json()) + "\n" for s in samples))
        for name in _names(parts, "graded"):
            for part in parts:
                drop_damaged(part / "graded" / name, say)
            lines = [line for part in parts for line in _whole_lines(part / "graded" / name)]
            write_text(new / "graded" / name, "".join(f"{line}\n" for line in dict.fromkeys(lines)))


def _names(parts: Sequence[Path], kind: str) -> list[str]:
    return sorted({path.name for part in parts for path in (part / kind).glob("*.jsonl")})


def _together(paths: Sequence[Path]) -> list[Sample]:
    """The samples of all files in the order of their keys; grading brings them into the benchmark's."""
    found: dict[Key, tuple[Sample, Path]] = {}
    for path in filter(Path.exists, paths):
        for sample in whole_samples(path):
            there, elsewhere = found.setdefault(sample.key, (sample, path))
            if there != sample:
                raise UserError(
                    f"{elsewhere} and {path} hold different samples of task {sample.key.task}, case {sample.key.case}, "
                    f"sample {sample.key.sample}; draw one of the two shards anew."
                )
    return [found[key][0] for key in sorted(found)]


def _cases(parts: Sequence[Path]) -> dict[str, int]:
    """How many cases each samples file is over, by its name, where some part was graded: that took the data file."""
    return {
        samples_path(part, run.mode, run.temperature).name: (run.samples + run.missing) // run.n
        for part in parts
        if (part / FILE).exists()
        for run in read_results(part)
    }


def _missing(samples: Sequence[Sample], parts: Sequence[Path], cases: int) -> str:
    """How many samples are missing, and how many each part holds; nothing where none seems to be missing.

    Each case should have as many as the case with most of them has. Of cases that no part has a sample of, only a
    part that was graded knows: `cases`, or 0.
    """
    keys = {sample.key._replace(turn=0) for sample in samples}
    n = max((key.sample + 1 for key in keys), default=0)
    missing = n * max(cases, len({key[:2] for key in keys})) - len(keys)
    held = Counter(shard_of(key, len(parts)) for key in keys)
    holds = ", ".join(f"{part} holds {held[number]}" for number, part in enumerate(parts))
    return f"{missing} or more samples are missing of {n} a case ({holds})" if missing else ""


def _whole_lines(path: Path) -> list[str]:
    """The lines of a file of verdicts, after what a kill left of a last one was taken off."""
    if not path.exists():
        return []
    with Journal(path):
        return path.read_text(encoding="utf-8").rstrip("\n").split("\n")
