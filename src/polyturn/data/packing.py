"""Pack tokenised documents into rows of a fixed length, with their boundaries kept.

Three ways, all of them functions of the documents and their order alone:

- `pack`, for programs whose tokens do not all count in the loss: whole documents, the fullest row that has room first.
- `best_fit`, for corpora: the same rule, long documents cut into rows first and pieces taken longest first, which fills
  rows to within a fraction of a percent and cuts a document only where it is longer than a row (arXiv 2404.10830).
- `cut`, as the paper's scripts do: the full rows of each document, and rows of what is left of several; none has
  padding, and remainders below `LEAST_REMAINDER` tokens, with them whole short documents, are lost.

Documents of one row have different segment numbers. Where attention keeps them apart, packing changes what a step
costs and not what it learns.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush

import numpy as np

LEAST_REMAINDER = 64
"""Tokens, the end of the text among them: `cut` drops shorter remainders, as the paper's scripts do (jaxformer, step
5), so it drops all remainders where rows are no longer than this."""

type Tokens = Sequence[int] | np.ndarray


@dataclass(frozen=True)
class Packed:
    """Packed rows of a corpus.

    Row n holds the pieces `starts[n]` to `starts[n + 1]`, each a document or a part of one, one after the other from
    the first position on; what is left of the row is padding.
    """

    tokens: np.ndarray  # uint16 or uint32 [N, T]
    starts: np.ndarray  # uint32 [N + 1]
    lengths: np.ndarray  # uint32 [pieces], each from 1 to T
    dropped: int = 0  # tokens that no row holds
    wanted: np.ndarray | None = None  # uint8 [N, ceil(T / 8)], a bit a token: is it to be learned? None: all are

    @property
    def fill(self) -> float:
        """Share of positions that hold a token and not padding; 1 where there are no rows."""
        return int(self.lengths.sum(dtype=np.int64)) / self.tokens.size if self.tokens.size else 1.0

    def __getitem__(self, rows: slice) -> "Packed":
        """Some of the rows, one after the other. What was dropped is not theirs."""
        first, stop, _ = rows.indices(len(self.tokens))
        starts = self.starts[first : stop + 1]
        wanted = None if self.wanted is None else self.wanted[first:stop]
        return Packed(self.tokens[first:stop], starts - starts[0], self.lengths[starts[0] : starts[-1]], 0, wanted)


def token_type(vocab: int) -> np.dtype:
    """How tokens of a vocabulary of `vocab` ids are stored: two bytes where they are enough, else four."""
    return np.dtype("<u2" if vocab <= 2**16 else "<u4")


def best_fit(
    documents: Iterable[Tokens],
    length: int,
    vocab: int,
    pad_id: int,
    wanted: Iterable[Sequence[bool] | np.ndarray] | None = None,
) -> Packed:
    """Rows of `length` tokens that hold every document, whole unless it is longer than a row.

    Rows are in the order of the first document that they hold, and so are the documents of a row.

    Args:
        documents: token ids from 0 to `vocab` - 1; all of them are held in memory.
        wanted: for each document, which of its tokens are to be learned, such as an answer and not its question.

    Raises:
        ValueError: an id is outside the vocabulary, or a document and what is wanted of it differ in length.
    """
    pieces = _pieces((_array(document, vocab) for document in documents), length)
    marks = None if wanted is None else _pieces((np.asarray(mark, bool) for mark in wanted), length)
    if marks is not None and [len(mark) for mark in marks] != [len(piece) for piece in pieces]:
        raise ValueError("Each document needs as many marks of what is wanted as it has tokens.")
    sizes = np.array([len(piece) for piece in pieces], np.int64)
    longest_first = np.argsort(-sizes, kind="stable")
    row_of = np.empty(len(pieces), np.int64)
    row_of[longest_first] = _fit(sizes[longest_first].tolist(), length)
    rows = sorted(_group(row_of.tolist()))  # by their first piece
    packed = _packed([[pieces[piece] for piece in row] for row in rows], length, vocab, pad_id)
    if marks is None:
        return packed
    bits = np.zeros((len(rows), length), bool)
    for n, row in enumerate(rows):
        flat = np.concatenate([marks[piece] for piece in row])
        bits[n, : len(flat)] = flat
    return replace(packed, wanted=np.packbits(bits, axis=1))


def _pieces(documents: Iterable[np.ndarray], length: int) -> list[np.ndarray]:
    """Documents, those longer than a row in pieces."""
    return [document[at : at + length] for document in documents for at in range(0, len(document), length)]


def cut(documents: Iterable[Tokens], length: int, vocab: int, pad_id: int) -> Packed:
    """Rows of `length` tokens by the paper's rule; none of them has padding.

    A document's full rows come first. What is left of it is dropped if it is shorter than `LEAST_REMAINDER`, and else
    joins what earlier documents left, which becomes a row as soon as it is long enough. What is left at the end, less
    than a row, is dropped.

    Raises:
        ValueError: an id is outside the vocabulary.
    """
    rows: list[list[np.ndarray]] = []
    waiting: list[np.ndarray] = []
    held = dropped = 0
    for document in documents:
        ids = _array(document, vocab)
        whole = len(ids) // length * length
        rows += [[ids[at : at + length]] for at in range(0, whole, length)]
        rest = ids[whole:]
        if len(rest) < LEAST_REMAINDER:
            dropped += len(rest)
            continue
        if held + len(rest) >= length:
            rows.append([*waiting, rest[: length - held]])
            rest = rest[length - held :]
            waiting, held = [], 0
        if len(rest):
            waiting.append(rest)
            held += len(rest)
    return _packed(rows, length, vocab, pad_id, dropped + held)


def join(packs: Sequence[Packed]) -> Packed:
    """The rows of several, one or more, as one."""
    before = np.cumsum([0] + [len(packed.lengths) for packed in packs])
    starts = [packed.starts[:-1] + n for packed, n in zip(packs, before[:-1], strict=True)]
    marks = [packed.wanted for packed in packs if packed.wanted is not None]
    return Packed(
        np.concatenate([packed.tokens for packed in packs]),
        np.concatenate([*starts, before[-1:]]).astype("<u4"),
        np.concatenate([packed.lengths for packed in packs]),
        sum(packed.dropped for packed in packs),
        np.concatenate(marks) if marks else None,
    )


def _array(document: Tokens, vocab: int) -> np.ndarray:
    ids = np.asarray(document)
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < vocab:
        raise ValueError(f"Ids from {ids.min()} to {ids.max()} are outside a vocabulary of {vocab}.")
    return ids.astype(token_type(vocab))


def _fit(sizes: Iterable[int], length: int) -> list[int]:
    """For each size, in the order given, the row that is fullest of those with room, the first of equals."""
    open_rows: list[list[int]] = [[] for _ in range(length + 1)]  # by free positions, each a heap
    frees = 0  # bit n is set where a row with n free positions is open: the next set bit is found in no time
    row_of, count = [], 0
    for size in sizes:
        enough = frees >> size
        if enough:
            free = size + (enough & -enough).bit_length() - 1
            row = heappop(open_rows[free])
            if not open_rows[free]:
                frees ^= 1 << free
        else:
            free, row, count = length, count, count + 1
        row_of.append(row)
        if free > size:
            heappush(open_rows[free - size], row)
            frees |= 1 << free - size
    return row_of


def _group(row_of: Sequence[int]) -> list[list[int]]:
    """The numbers of the pieces of each row, in their order."""
    rows: list[list[int]] = [[] for _ in range(max(row_of, default=-1) + 1)]
    for piece, row in enumerate(row_of):
        rows[row].append(piece)
    return rows


def _packed(rows: list[list[np.ndarray]], length: int, vocab: int, pad_id: int, dropped: int = 0) -> Packed:
    tokens = np.full((len(rows), length), pad_id, token_type(vocab))
    for n, row in enumerate(rows):
        at = 0
        for piece in row:
            tokens[n, at : at + len(piece)] = piece
            at += len(piece)
    starts = np.cumsum([0] + [len(row) for row in rows]).astype("<u4")
    lengths = np.array([len(piece) for row in rows for piece in row], "<u4")
    return Packed(tokens, starts, lengths, dropped)
