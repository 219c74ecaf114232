"""What became of every file of a build: counts by language and outcome, dropped files one by one, some documents."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from polyturn.data import shards
from polyturn.data.encode import digest
from polyturn.data.sources import Dropped
from polyturn.data.sources.folder import BUILD
from polyturn.tokenizer.bpe import Tokenizer
from polyturn.utils.errors import UserError

UNKNOWN = "(unknown)"  # for files whose language nobody had to find out
DUPLICATES = ("duplicate", "near-duplicate")  # stages of their own; all other outcomes are filters


class Flow(NamedTuple):
    """What went into a stage and what came out: files and their bytes."""

    stage: str
    documents_in: int
    size_in: int
    documents: int
    size: int


class Row(NamedTuple):
    """Documents and bytes of one language with one outcome: `kept`, or why not."""

    language: str
    outcome: str
    documents: int
    size: int


def outcomes(report: dict[str, Any]) -> list[Row]:
    """A row for each language and outcome; languages by the bytes kept, then outcomes by bytes, `kept` first."""
    rows = [
        Row(language or UNKNOWN, outcome, documents, size)
        for language, found in report["outcomes"].items()
        for outcome, (documents, size) in found.items()
    ]
    kept = Counter({row.language: row.size for row in rows if row.outcome == "kept"})
    return sorted(rows, key=lambda r: (-kept[r.language], r.language, r.outcome != "kept", -r.size, r.outcome))


def together(rows: list[Row]) -> list[Row]:
    """The same with one row, the last, for all languages of which every file was dropped for its language."""
    outcomes_of: dict[str, set[str]] = {}
    for row in rows:
        outcomes_of.setdefault(row.language, set()).add(row.outcome)
    others = [row for row in rows if outcomes_of[row.language] == {"language"}]
    if len(others) < 2:
        return rows
    every = Row(f"({len(others)} others)", "language", sum(r.documents for r in others), sum(r.size for r in others))
    return [*(row for row in rows if row not in others), every]


def stages(report: dict[str, Any]) -> list[Flow]:
    """What went into each stage that drops documents, and what was left."""
    left = Row("", "", 0, 0)
    for row in outcomes(report):
        left = left._replace(documents=left.documents + row.documents, size=left.size + row.size)
    flows = []
    for stage in ("filters", *DUPLICATES):
        gone = [
            row
            for row in outcomes(report)
            if row.outcome == stage or (stage == "filters" and row.outcome not in ("kept", *DUPLICATES))
        ]
        before = left
        left = left._replace(
            documents=left.documents - sum(row.documents for row in gone),
            size=left.size - sum(row.size for row in gone),
        )
        flows.append(Flow(stage, before.documents, before.size, left.documents, left.size))
    return flows


def tokenizer_name(folder: Path) -> str:
    """The tokenizer that a build was made with, as `hub.catalogue.resolve` takes it. Raises UserError without one."""
    try:
        return json.loads((folder / BUILD).read_text())["config"]["data"]["tokenizer"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder / BUILD} cannot be read, and with it the tokenizer is not known.") from None


def dropped(folder: Path, sought: str = "") -> Iterator[Dropped]:
    """Files not kept, in the order of parts. UserError without a build.

    Args:
        sought: a reason without what it is of (`duplicate`); if no file has it, a part of a file's name, or of the name
            of what it is a duplicate of; "" is in every name.
    """
    import pyarrow.parquet as pq

    files = sorted((folder / "dropped").glob("*.parquet"))
    if not files:
        raise UserError(f"{folder} holds no build; run `polyturn data build CONFIG --out {folder}`.")
    reasons = (reason for file in files for reason in pq.read_table(file, columns=["reason"])["reason"].to_pylist())
    is_reason = any(reason.partition(" of ")[0] == sought for reason in reasons)
    for file in files:
        for row in pq.read_table(file).to_pylist():
            reason, _, original = row["reason"].partition(" of ")
            if reason == sought if is_reason else sought in row["id"] or sought in original:
                yield Dropped(**row)


def line(dropped: Dropped) -> str:
    """Reason, size and id between tabs; a character that is not printable is escaped as in Python, so is a backslash.

    The id of a file whose name is not in Unicode is escaped already.
    """
    id = dropped.id if dropped.reason == "name" else _escaped(dropped.id)
    return f"{_escaped(dropped.reason)}\t{dropped.size}\t{id}"


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in text)


def samples(folder: Path, tokenizer: Tokenizer, count: int, seed: int) -> list[str]:
    """Documents drawn at random from the rows of a build, as text; long ones are pieces of documents.

    Raises:
        UserError: fewer than no documents are asked for, there are no shards, or they were made with another tokenizer.
    """
    if count < 0:
        raise UserError(f"There are no {count} samples to show; give --samples 0 or more.")
    opened = shards.open(folder)
    if opened.manifest["tokenizer"] != digest(tokenizer):
        raise UserError(f"The tokenizer has changed since {folder} was made; put back the one that it was made with.")
    drawn = np.random.default_rng(seed)
    texts = []
    for number in drawn.choice(len(opened), min(count, len(opened)), replace=False):
        tokens, segments, _ = opened.read(np.array([number]))
        piece = int(drawn.integers(1, int(segments.max()) + 1))
        texts.append(tokenizer.decode(tokens[0][segments[0] == piece].tolist()))
    return texts
