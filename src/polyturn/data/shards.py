"""Packed rows on disk: raw arrays that are mapped into memory, an index to read them, a manifest to trust them.

    write(folder, packs, vocab=8192, pad_id=1, about=About(...))
    shards = open(folder)
    rows = shards.read(numpy.array([17, 4]))                  # tokens, segments, wanted
    verify(folder)                                            # -> [], or a sentence for each thing that is wrong

A folder of N rows of T tokens, all numbers little-endian (docs/formats.md has it for other readers):

    index.json       how to read: row length T, type of a token, size of the vocabulary, rows and pieces of each shard
    manifest.json    what it is: counts, SHA-256 of every file, digests of configuration and tokenizer, licences,
                     languages
    00000.tokens     uint16 or uint32 [n, T]
    00000.starts     uint32 [n + 1]; row i holds the pieces starts[i] to starts[i + 1]
    00000.lengths    uint32 [pieces]; a row's pieces stand one after the other from its first position, then padding
    00000.wanted     uint8 [n, ceil(T / 8)], only where the index says `masked`: a bit a token, the highest first;
                     1 where the token is to be learned, 0 where it is only read, such as a prompt

The bytes depend on the rows, in their order, and on what is said about them: not on how they come, one pack or many.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from polyturn.data.packing import Packed, join, token_type
from polyturn.utils.atomic import check_replaceable, replacing
from polyturn.utils.errors import UserError
from polyturn.utils.sealed import intact, seal

VERSION = 1
INDEX, MANIFEST = "index.json", "manifest.json"
FILE = re.compile(r"index\.json|manifest\.json|\d{5,}\.(tokens|starts|lengths|wanted)")
CHUNK_ROWS = 4096  # looked at together by `verify`


@dataclass(frozen=True)
class About:
    """What the manifest says of the rows beside what can be counted in them."""

    config: str  # digest of the configuration that made them
    tokenizer: str  # digest of the tokenizer: `encode.digest`
    documents: int
    languages: Mapping[str, int] = field(default_factory=dict)  # documents of each
    licences: Mapping[str, int] = field(default_factory=dict)
    sources: Sequence[Mapping[str, Any]] = ()  # what the documents are from: kind, name, and versions where there are


class Shard(NamedTuple):
    """One shard as the index has it."""

    name: str
    rows: int
    pieces: int


@dataclass(frozen=True)
class Index:
    """How to read a folder."""

    row: int
    vocab: int
    pad: int
    shards: tuple[Shard, ...]
    masked: bool = False  # whether it is said which tokens are to be learned; otherwise all are

    @property
    def dtype(self) -> np.dtype:
        """Type of a stored token."""
        return token_type(self.vocab)

    def sizes(self) -> dict[str, int]:
        """The files of all shards, and how many bytes each must have."""
        sizes = {}
        for name, rows, pieces in self.shards:
            sizes[f"{name}.tokens"] = rows * self.row * self.dtype.itemsize
            sizes[f"{name}.starts"] = (rows + 1) * 4
            sizes[f"{name}.lengths"] = pieces * 4
            if self.masked:
                sizes[f"{name}.wanted"] = rows * -(-self.row // 8)
        return sizes


class Rows(NamedTuple):
    """Rows that were read."""

    tokens: np.ndarray  # int32 [B, T]
    segments: np.ndarray  # int32 [B, T], the pieces of a row from 1; 0 is padding
    wanted: np.ndarray  # bool [B, T], which tokens are to be learned; padding is not


@dataclass(frozen=True)
class Shards:
    """An open folder. Nothing of it is in memory but what was read lately, and that is the system's to drop."""

    folder: Path
    index: Index
    manifest: dict[str, Any]
    packs: tuple[Packed, ...]  # mapped, one a shard

    def __len__(self) -> int:
        return int(self._first[-1])

    @cached_property
    def _first(self) -> np.ndarray:
        """Number of the first row of each shard, and of all rows at the end."""
        return np.cumsum([0] + [shard.rows for shard in self.index.shards])

    def most_pieces(self) -> int:
        """Pieces in the row that holds the most of them."""
        return max(int(np.diff(packed.starts).max()) for packed in self.packs)

    def read(self, rows: np.ndarray) -> Rows:
        """Rows by number, int [B], in the order given."""
        row = self.index.row
        bits = np.empty((len(rows), -(-row // 8)), np.uint8)
        tokens = np.empty((len(rows), row), np.int32)
        counts, lengths = [], []
        shards = np.searchsorted(self._first, rows, "right") - 1
        for n, (shard, local) in enumerate(zip(shards.tolist(), (rows - self._first[shards]).tolist(), strict=True)):
            packed = self.packs[shard]
            tokens[n] = packed.tokens[local]
            if packed.wanted is not None:
                bits[n] = packed.wanted[local]
            first, end = packed.starts[local : local + 2].tolist()
            pieces = packed.lengths[first:end].tolist()
            counts.append(len(pieces))
            lengths += [*pieces, row - sum(pieces)]
        numbers = [number for count in counts for number in (*range(1, count + 1), 0)]
        segments = np.repeat(np.array(numbers, np.int32), lengths)
        segments = segments.reshape(tokens.shape)
        inside = segments > 0
        return Rows(tokens, segments, inside & _bits(bits, row) if self.index.masked else inside)


def write(
    folder: str | Path, packs: Iterable[Packed], *, vocab: int, pad_id: int, about: About, megabytes: float = 64
) -> None:
    """Write the rows of all packs, whole or not at all. A folder of shards already there is replaced.

    Args:
        packs: taken one at a time; memory holds one and one shard.
        megabytes: of tokens in each shard but the last, in units of 2^20 bytes; at least one row.

    Raises:
        UserError: there are no rows, their lengths differ, an id is outside the vocabulary, the disk is full, or the
            folder holds other files.
    """
    folder = Path(folder)
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    check_replaceable(folder, {name for name in there if FILE.fullmatch(name)})
    with replacing(folder) as temporary:
        temporary.mkdir()
        files: dict[str, dict[str, Any]] = {}
        shards, tokens, row, masked = [], 0, 0, False
        for number, packed in enumerate(_regroup(_checked(packs, vocab), megabytes)):
            row = packed.tokens.shape[1]
            shards.append(Shard(f"{number:05}", len(packed.tokens), len(packed.lengths)))
            tokens += int(packed.lengths.sum(dtype=np.int64))
            arrays = {"tokens": packed.tokens, "starts": packed.starts, "lengths": packed.lengths}
            if packed.wanted is not None:
                masked, arrays["wanted"] = True, packed.wanted
            for kind, array in arrays.items():
                files |= _write(temporary / f"{number:05}.{kind}", np.ascontiguousarray(array).data.cast("B"))
        if not shards:
            raise UserError(f"There are no rows to write to {folder}; see what the filters left of the documents.")
        index = {"row": row, "vocab": vocab, "pad": pad_id, "shards": [shard._asdict() for shard in shards]}
        if masked:
            index["masked"] = True
        files |= _write(temporary / INDEX, _json({"version": VERSION} | index))
        manifest = {"version": VERSION} | asdict(about) | _counts(shards, row, tokens) | {"files": files}
        _write(temporary / MANIFEST, seal(manifest))


def open(folder: str | Path) -> Shards:
    """Map a folder into memory, after a look at its index and the sizes of its files.

    Raises:
        UserError: it is no folder of shards, or files are missing or cut off. `verify` finds all else.
    """
    folder = Path(folder)
    index, manifest = _read_index(folder), _read_json(folder / MANIFEST)
    for name, size in index.sizes().items():
        problem = _wrong_size(folder / name, size)
        if problem:
            raise UserError(f"{folder} is damaged: {problem}; build it again.")
    return Shards(folder, index, manifest, tuple(_map(folder, index, shard) for shard in index.shards))


def verify(folder: str | Path) -> list[str]:
    """Everything that is wrong with a folder, a sentence each; none where it is as it was written.

    Every byte is read: SHA-256 of each file and of the manifest, counts, ids outside the vocabulary, pieces that do not
    fit their rows, padding that is none, files that are missing, cut off or not listed.
    """
    folder = Path(folder)
    try:
        manifest = _read_json(folder / MANIFEST)
        files = {str(name): (entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()}
    except UserError as error:
        return [str(error)]
    except (KeyError, TypeError, AttributeError):
        return [f"{MANIFEST} does not list the files."]
    problems = []
    if not intact(manifest):
        problems.append(f"{MANIFEST} is not as it was written: its own SHA-256 differs.")
    for name, (size, digest) in sorted(files.items()):
        problem = _wrong_size(folder / name, size)
        if not problem and _file_digest(folder / name) != digest:
            problem = f"{name} is not as it was written: its SHA-256 differs"
        if problem:
            problems.append(f"{problem}.")
    listed = {*files, MANIFEST}
    problems += [f"{path.name} is not in {MANIFEST}." for path in sorted(folder.iterdir()) if path.name not in listed]
    try:
        index = _read_index(folder)
    except UserError as error:
        return [*problems, str(error)]
    return problems + _verify_rows(folder, index, files.keys(), manifest)


def _verify_rows(folder: Path, index: Index, files: Iterable[str], manifest: dict[str, Any]) -> list[str]:
    """What is wrong with the arrays themselves, as far as they can be read, and with the counts."""
    problems = []
    sizes = index.sizes()
    unlisted = sorted({*sizes, INDEX} - set(files))
    problems += [f"{name} is in {INDEX} and not in {MANIFEST}." for name in unlisted]
    tokens = 0
    for shard in index.shards:
        own = [name for name in sizes if name.startswith(f"{shard.name}.")]
        wrong = [problem for name in own if (problem := _wrong_size(folder / name, sizes[name]))]
        if wrong:
            problems += [f"{problem}." for problem in wrong if f"{problem}." not in problems]
            continue
        packed = _map(folder, index, shard)
        problems += _verify_shard(shard.name, packed, index)
        tokens += int(packed.lengths.sum(dtype=np.int64))
    for name, count in _counts(index.shards, index.row, tokens).items():
        if not problems and manifest.get(name) != count:
            problems.append(f"{MANIFEST} says {manifest.get(name)} {name}, and there are {count}.")
    return problems


def _verify_shard(name: str, packed: Packed, index: Index) -> list[str]:
    starts = packed.starts.astype(np.int64)
    if starts[0] != 0 or starts[-1] != len(packed.lengths) or (np.diff(starts) < 1).any():
        return [f"{name}.starts does not give every row its pieces."]
    held = np.add.reduceat(packed.lengths.astype(np.int64), starts[:-1])
    if (packed.lengths < 1).any() or (held > index.row).any():
        return [f"{name}.lengths has pieces that do not fit their rows."]
    problems = []
    for at in range(0, len(packed.tokens), CHUNK_ROWS):
        tokens = packed.tokens[at : at + CHUNK_ROWS]
        if int(tokens.max()) >= index.vocab:
            row = at + int(np.argmax((tokens >= index.vocab).any(1)))
            problems.append(f"{name}.tokens has ids outside the vocabulary of {index.vocab}, first in row {row}.")
        padding = np.arange(index.row) >= held[at : at + CHUNK_ROWS, None]
        if (tokens[padding] != index.pad).any():
            row = at + int(np.argmax((padding & (tokens != index.pad)).any(1)))
            problems.append(f"{name}.tokens has tokens that belong to no document, first in row {row}.")
        if packed.wanted is not None and (_bits(packed.wanted[at : at + CHUNK_ROWS], index.row) & padding).any():
            problems.append(f"{name}.wanted marks padding as something to be learned.")
        if problems:
            break
    return problems


def _bits(wanted: np.ndarray, row: int) -> np.ndarray:
    """Bool [n, T] of what is stored a bit a token."""
    return np.unpackbits(wanted, axis=1, count=row).view(bool)


def _checked(packs: Iterable[Packed], vocab: int) -> Iterator[Packed]:
    """The packs that have rows, all of one length and of this vocabulary."""
    row, masked = 0, None
    for packed in packs:
        if not packed.tokens.size:
            continue
        row = row or packed.tokens.shape[1]
        if masked not in (None, packed.wanted is not None):
            raise UserError("Rows with and without a mark of what is to be learned are mixed; pack all alike.")
        masked = packed.wanted is not None
        if packed.tokens.shape[1] != row:
            raise UserError(f"Rows of {row} and of {packed.tokens.shape[1]} tokens are mixed; pack all alike.")
        if packed.tokens.dtype != token_type(vocab) or int(packed.tokens.max()) >= vocab:
            raise UserError(f"Rows were not packed for a vocabulary of {vocab} ids; pack them with this tokenizer.")
        yield packed


def _regroup(packs: Iterable[Packed], megabytes: float) -> Iterator[Packed]:
    """The same rows in packs of the size of a shard, the last one smaller."""
    waiting: list[Packed] = []
    held = 0
    for packed in packs:
        shard_rows = max(1, int(megabytes * 2**20) // packed.tokens[0].nbytes)
        at = 0
        while at < len(packed.tokens):
            taken = packed[at : at + shard_rows - held]
            waiting.append(taken)
            at, held = at + len(taken.tokens), held + len(taken.tokens)
            if held == shard_rows:
                yield join(waiting)
                waiting, held = [], 0
    if waiting:
        yield join(waiting)


def _write(path: Path, content: bytes | memoryview) -> dict[str, dict[str, Any]]:
    """Write a file; its entry of the manifest."""
    path.write_bytes(content)
    return {path.name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}}


def _counts(shards: Iterable[Shard], row: int, tokens: int) -> dict[str, int]:
    """The manifest's counts."""
    rows, pieces = (sum(numbers) for numbers in zip(*(shard[1:] for shard in shards), strict=True))
    return {"rows": rows, "pieces": pieces, "tokens": tokens, "padding": rows * row - tokens}


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def _file_digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _wrong_size(path: Path, size: int) -> str | None:
    try:
        there = path.stat().st_size
    except OSError:
        return f"{path.name} is missing"
    if there != size:
        return f"{path.name} has {there} bytes and not {size}"
    return None


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object of this version."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(
            f"{path.parent} is no folder of shards: {path.name} cannot be read ({error.strerror}); check the path."
        ) from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} is no JSON; build the shards again.") from None
    if not isinstance(value, dict) or value.get("version") != VERSION:
        raise UserError(f"{path} is not of version {VERSION} of the format; build the shards again.")
    return value


def _read_index(folder: Path) -> Index:
    value = _read_json(folder / INDEX)
    try:
        shards = tuple(Shard(str(s["name"]), int(s["rows"]), int(s["pieces"])) for s in value["shards"])
        masked = bool(value.get("masked", False))
        index = Index(int(value["row"]), int(value["vocab"]), int(value["pad"]), shards, masked)
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{folder / INDEX} does not describe shards; build them again.") from None
    names = all(FILE.fullmatch(f"{shard.name}.tokens") for shard in shards)
    if not (shards and names and index.row > 0 and all(0 < shard.rows <= shard.pieces for shard in shards)):
        raise UserError(f"{folder / INDEX} does not describe shards; build them again.")
    return index


def _map(folder: Path, index: Index, shard: Shard) -> Packed:
    """The arrays of a shard, mapped, not read."""

    def file(kind: str, dtype: str | np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        return np.memmap(folder / f"{shard.name}.{kind}", dtype, "r", shape=shape).view(np.ndarray)

    return Packed(
        file("tokens", index.dtype, (shard.rows, index.row)),
        file("starts", "<u4", (shard.rows + 1,)),
        file("lengths", "<u4", (shard.pieces,)),
        wanted=file("wanted", "u1", (shard.rows, -(-index.row // 8))) if index.masked else None,
    )
