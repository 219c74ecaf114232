"""Which documents are left out because another one says the same: the one stage that sees all documents at once.

Documents are numbers here, in the order of parts and of rows in them. Those of one digest are equal; those that share a
band of their signatures are compared (`Compare`), and components of similar ones are found. Of each set the document
with the smallest id stays.

Keys are brought together a share of them at a time (`Runner.groups`), and each share leaves its pairs in a file, at
which a build that was killed goes on. The process that builds holds about 32 bytes a document, the keys of one share,
and an id for each set of equal or similar documents; signatures are read by the workers.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from polyturn.data import minhash
from polyturn.data.components import alike, connect
from polyturn.data.config import Dedup
from polyturn.data.runner import Item, Runner
from polyturn.data.sources import Dropped
from polyturn.data.stages import ROW_BITS, document_path, gone_path, signature_path, write_dropped
from polyturn.utils.atomic import replacing

PASS_ROWS = 8_000_000  # keys brought together at a time, about: 1 GB in Daft
TASK_SIGNATURES = 100_000  # that one task compares, about; 512 bytes each


class Left(NamedTuple):
    """What the stage says of itself."""

    counts: list[list[Any]]  # [language, outcome, documents, bytes] of what is left out
    kept: int  # documents
    held_back: int  # of these, for validation


def find(dedup: Dedup, work: Path, runner: Runner, documents: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """For each document the smallest number with the same text, and that of its component of similar ones; int64 both.

    Args:
        documents: how many each part has.
    """
    files = [document_path(work, part) for part in range(len(documents))]
    offsets = np.append(0, np.cumsum(documents))
    equal = np.arange(offsets[-1])
    passes = 1 + len(equal) // PASS_ROWS
    for at in range(passes):
        path = work / "equal" / f"{at:05}.npy"
        if not path.exists():
            _save(path, _equal(runner.groups(files, "key", ["number", "check"], passes, at), offsets))
        connect(equal, np.load(path))
    similar = equal.copy()
    bands, _ = minhash.shape(dedup.threshold, dedup.permutations)
    passes = 1 + len(equal) * bands // PASS_ROWS if dedup.near else 0
    for at in range(passes):
        path = work / "similar" / f"{at:05}.npy"
        if not path.exists():
            found = _candidates(runner.groups(files, "bands", ["number"], passes, at), offsets, equal, similar)
            _save(path, _compared(Compare(dedup, work), runner, path, found, offsets, similar))
        connect(similar, np.load(path))
    return equal, similar


def leave_out(work: Path, dropped: Path, documents: Sequence[int], equal: np.ndarray, similar: np.ndarray) -> Left:
    """Write down for each part the rows that are left out, in `gone/`, and what for, in `dropped/`."""
    import pyarrow.parquet as pq

    smallest: tuple[dict[int, str], dict[int, str]] = {}, {}
    together = _together(similar)
    for part, (start, end) in enumerate(_bounds(documents)):
        rows = np.flatnonzero(together[start:end])
        names: list[Any] = (
            pq.read_table(document_path(work, part), columns=["id"])["id"].take(rows).to_pylist() if len(rows) else []
        )
        for labels, first in zip((equal, similar), smallest, strict=True):
            for label, name in zip(labels[start + rows].tolist(), names, strict=True):
                first[label] = min(name, first.get(label, name))
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    kept = held_back = 0
    for part, (start, end) in enumerate(_bounds(documents)):
        table = pq.read_table(document_path(work, part), columns=["id", "language", "size", "held_back"])
        held = table["held_back"].to_numpy()
        rows = np.flatnonzero(together[start:end])
        gone, told = [], []
        places = zip(rows.tolist(), equal[start + rows].tolist(), similar[start + rows].tolist(), strict=True)
        for (row, *labels), one in zip(places, table.take(rows).to_pylist(), strict=True):
            for outcome, label, first in zip(("duplicate", "near-duplicate"), labels, smallest, strict=True):
                if first[label] != one["id"]:
                    gone.append(row)
                    told.append(Dropped(one["id"], one["size"], one["language"], f"{outcome} of {first[label]}"))
                    counts[one["language"], outcome] += 1
                    sizes[one["language"], outcome] += one["size"]
                    break
        _save(gone_path(work, part), np.array(gone, np.int64))
        write_dropped(dropped / f"duplicates-{part:05}.parquet", told)
        kept += len(held) - len(gone)
        held_back += int(held.sum()) - int(held[gone].sum())
    return Left([[*key, counts[key], sizes[key]] for key in sorted(counts)], kept, held_back)


@dataclass(frozen=True)
class Compare:
    """Compares the members of some buckets."""

    dedup: Dedup
    work: Path

    def __call__(self, item: Item) -> Item:
        """Do a file of buckets, {"file"} (`_compared`); leaves the pairs of similar documents beside it."""
        path = Path(item["file"])
        with np.load(path) as arrays:
            members, places, labels, sizes = (arrays[name] for name in ("members", "places", "labels", "sizes"))
        wanted, which = np.unique(places, return_inverse=True)
        signatures = self._signatures(wanted)
        ends = np.cumsum(sizes)
        pairs = [np.empty((0, 2), np.int64)]
        for start, end in zip((ends - sizes).tolist(), ends.tolist(), strict=True):
            edges = alike(signatures[which[start:end]], self.dedup.threshold, labels[start:end])
            pairs.append(members[start:end][edges])
        _save(path.with_suffix(".pairs.npy"), np.concatenate(pairs))
        return {}

    def _signatures(self, places: np.ndarray) -> np.ndarray:
        """Of documents by part and row, in this order."""
        found = np.empty((len(places), self.dedup.permutations), np.uint32)
        parts = places >> ROW_BITS
        for part in np.unique(parts).tolist():
            path = signature_path(self.work, part)
            every = np.memmap(path, "<u4", "r").reshape(-1, self.dedup.permutations)
            found[parts == part] = every[places[parts == part] & ((1 << ROW_BITS) - 1)]
        return found


class _Buckets(NamedTuple):
    """Documents that share a band, one bucket after the other."""

    members: np.ndarray  # int64
    sizes: np.ndarray  # int64: of each bucket


def _equal(table: Any, offsets: np.ndarray) -> np.ndarray:
    """Pairs (smallest, other) of equal documents, int64 [N, 2], of groups that share the half of a digest."""
    group, number, check = _flat(table, offsets, "check")
    order = np.lexsort((number, check, group))
    group, number, check = group[order], number[order], check[order]
    new = np.append(True, (group[1:] != group[:-1]) | (check[1:] != check[:-1]))[: len(group)]
    first = number[np.flatnonzero(new)][np.cumsum(new) - 1]
    return np.stack([first, number], axis=1)[~new]


def _candidates(table: Any, offsets: np.ndarray, equal: np.ndarray, similar: np.ndarray) -> _Buckets:
    """Buckets that may connect what is not connected yet: one of each set of equal documents, and no bucket twice."""
    group, number = _flat(table, offsets)
    number = equal[number]
    order = np.lexsort((number, group))
    group, number = group[order], number[order]
    first = np.append(True, (group[1:] != group[:-1]) | (number[1:] != number[:-1]))[: len(group)]
    group, number = group[first], number[first]
    starts = np.flatnonzero(np.append(True, group[1:] != group[:-1])[: len(group)])
    if not len(starts):
        return _Buckets(number, starts)
    sizes = np.diff(np.append(starts, len(number)))
    labels = similar[number]
    apart = np.minimum.reduceat(labels, starts) != np.maximum.reduceat(labels, starts)
    contents = np.add.reduceat(minhash.mix(number.astype(np.uint64)), starts)
    _, firsts = np.unique(contents, return_index=True)
    chosen = apart & np.isin(np.arange(len(starts)), firsts)
    return _Buckets(number[np.repeat(chosen, sizes)], sizes[chosen])


def _compared(
    compare: Compare, runner: Runner, path: Path, found: _Buckets, offsets: np.ndarray, similar: np.ndarray
) -> np.ndarray:
    """The pairs that connect the members of buckets, int64 [N, 2]."""
    ends = np.cumsum(found.sizes)
    parts = np.searchsorted(offsets, found.members, "right") - 1
    places = (parts << ROW_BITS) + found.members - offsets[parts]
    task = ends // TASK_SIGNATURES
    files = []
    for number in np.unique(task).tolist():
        chosen = np.repeat(task == number, found.sizes)
        files.append(path.with_suffix(f".{number}.npz"))
        with replacing(files[-1]) as temporary, open(temporary, "wb") as file:
            arrays = {"members": found.members[chosen], "places": places[chosen]}
            np.savez(file, **arrays, labels=similar[found.members[chosen]], sizes=found.sizes[task == number])
    items: list[Item] = [{"file": str(file)} for file in files]
    for _ in runner.map(compare, items) if len(items) > 1 else map(compare, items):  # one is not worth a process
        pass
    pairs = [np.load(file.with_suffix(".pairs.npy")) for file in files]
    for file in files:
        file.unlink()
        file.with_suffix(".pairs.npy").unlink()
    return np.concatenate([np.empty((0, 2), np.int64), *pairs])


def _flat(table: Any, offsets: np.ndarray, *others: str) -> list[np.ndarray]:
    """For each row of each group: the group, the number of the document, and the other columns."""
    import pyarrow.compute as pc

    lists = [table[name].combine_chunks() for name in ("number", *others)]
    group = pc.list_parent_indices(lists[0]).to_numpy()  # pyright: ignore[reportAttributeAccessIssue]
    place, *rest = (column.flatten().to_numpy() for column in lists)
    number = offsets[place >> ROW_BITS] + (place & ((1 << ROW_BITS) - 1))
    return [group, number, *rest]


def _together(labels: np.ndarray) -> np.ndarray:
    """Bool: is a document one of several with its label?"""
    found = labels != np.arange(len(labels))
    found[labels[found]] = True
    return found


def _bounds(documents: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first number of each part, and the first behind it."""
    start = 0
    for count in documents:
        yield start, start + count
        start += count


def _save(path: Path, array: np.ndarray) -> None:
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, array)
