"""What became of every file of a build: counts by language and outcome, dropped files one by one, some documents."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from polyturn.data import shards
from polyturn.data.sources import Dropped
from polyturn.tokenizer.bpe import Tokenizer
from polyturn.utils.errors import UserError


class Row(NamedTuple):
    """Documents and bytes of one language with one outcome: `kept`, or why not."""

    language: str
    outcome: str
    documents: int
    size: int


def outcomes(report: dict[str, Any]) -> list[Row]:
    """A row for each language and outcome; languages by the bytes kept, then outcomes by bytes, `kept` first."""
    rows = [
        Row(language or "?", outcome, documents, size)
        for language, found in report["outcomes"].items()
        for outcome, (documents, size) in found.items()
    ]
    kept = Counter({row.language: row.size for row in rows if row.outcome == "kept"})
    return sorted(rows, key=lambda r: (-kept[r.language], r.language, r.outcome != "kept", -r.size, r.outcome))


def dropped(folder: Path, containing: str = "") -> Iterator[Dropped]:
    """Every file not kept whose id or reason contains a text, in the order of parts. UserError without a build."""
    import pyarrow.parquet as pq

    files = sorted((folder / "dropped").glob("*.parquet"))
    if not files:
        raise UserError(f"{folder} holds no build; run `polyturn data build CONFIG --out {folder}`.")
    for file in files:
        for row in pq.read_table(file).to_pylist():
            if containing in row["id"] or containing in row["reason"]:
                yield Dropped(**row)


def samples(folder: Path, tokenizer: Tokenizer, count: int, seed: int) -> list[str]:
    """Documents drawn at random from the rows of a build, as text; long ones are pieces of documents.

    Raises:
        UserError: there are no shards, or they were made with another tokenizer.
    """
    opened = shards.open(folder)
    if opened.index.vocab != tokenizer.size:
        raise UserError(f"{folder} was not made with this tokenizer; name the right one with --tokenizer.")
    drawn = np.random.default_rng(seed)
    texts = []
    for number in drawn.choice(len(opened), min(count, len(opened)), replace=False):
        tokens, segments = opened.read(np.array([number]))
        piece = int(drawn.integers(1, int(segments.max()) + 1))
        texts.append(tokenizer.decode(tokens[0][segments[0] == piece].tolist()))
    return texts
