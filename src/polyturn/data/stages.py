"""The stages of a build, each a task for a runner (`runner.py`): one part in, files and a few numbers out.

    Read      a unit of a source -> documents that pass the filters, with what deduplication needs of them
    Encode    the documents of a part that are still there -> tokens, in buckets drawn by key
    Pack      one bucket of all parts -> rows

Between Read and Encode stand the two stages that need to see all documents at once, `duplicates` and
`near_duplicates`; digests and ids are all that they see of them.

A task depends on its item, the config and the files of the stage before, so that it can be done anywhere, twice, or
again after a kill; its files appear whole or not at all.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyturn.data import encode, filters, minhash
from polyturn.data.components import alike, survivors
from polyturn.data.config import Config
from polyturn.data.encode import Document, Encoding
from polyturn.data.overlap import Overlap
from polyturn.data.packing import Packed, best_fit, cut
from polyturn.data.redact import redact
from polyturn.data.runner import Item, Runner
from polyturn.data.sources import Dropped, Raw, Unit, read
from polyturn.tokenizer import bpe
from polyturn.tokenizer.bpe import Tokenizer
from polyturn.utils.atomic import replacing

if TYPE_CHECKING:
    import pyarrow as pa

BUCKETS_BYTES = 64 << 20  # of text in a bucket, about: what one Pack task holds in memory, as tokens
GROUP_ROWS = 20_000_000  # keys brought together at a time
VALIDATION = -1  # the bucket of documents held back


# ---- Read


@dataclass(frozen=True)
class Read:
    """Reads a unit, filters, redacts, decontaminates. Leaves `documents/` and `dropped/`, one file of each a part."""

    config: Config
    work: Path
    dropped: Path

    def __call__(self, item: Item) -> Item:
        """Do a part: {"part", "unit"} -> counts of documents and bytes by language and outcome, and redactions."""
        counts: Counter[tuple[str, str]] = Counter()
        sizes: Counter[tuple[str, str]] = Counter()
        redacted: Counter[str] = Counter()
        kept: list[dict[str, Any]] = []
        left: list[Dropped] = []
        for found in read(self.config, Unit(**item["unit"])):
            outcome = found if isinstance(found, Dropped) else self._document(found, redacted)
            if isinstance(outcome, Dropped):
                left.append(outcome)
                key = (outcome.language, outcome.reason)
                sizes[key] += outcome.size
            else:
                kept.append(outcome)
                key = (outcome["language"], "kept")
                sizes[key] += outcome["size"]
            counts[key] += 1
        _write(self.work / "documents" / f"{item['part']:05}.parquet", kept, _document_schema())
        write_dropped(self.dropped / f"read-{item['part']:05}.parquet", left)
        return {
            "counts": [[*key, counts[key], sizes[key]] for key in sorted(counts)],
            "redacted": dict(sorted(redacted.items())),
            "text": sum(len(each["text"]) for each in kept),
            "documents": len(kept),
        }

    def _document(self, raw: Raw, redacted: Counter[str]) -> dict[str, Any] | Dropped:
        text, language = raw.data.decode(), raw.language or ""
        reason = filters.reason(text, language, self.config.filter, raw.path)
        if reason is None and self._overlap is not None and self._overlap.hits(text):
            reason = "held-out"
        if reason is not None:
            return Dropped(raw.id, raw.size, language, reason)
        if self.config.filter.redact:
            text, found = redact(text)
            redacted.update(found)
        digest = hashlib.sha256(text.encode()).digest()
        dedup = self.config.dedup
        signature = minhash.signature(text, dedup.words, dedup.permutations) if dedup.near else None
        return {
            "id": raw.id,
            "language": language,
            "licence": raw.licence or "",
            "size": raw.size,
            "text": text,
            "digest": digest,
            "key": int.from_bytes(digest[:8], "big"),
            "signature": None if signature is None else signature.tobytes(),
            "bands": [] if signature is None else minhash.bands(signature, dedup.threshold).tolist(),
        }

    @cached_property
    def _overlap(self) -> Overlap | None:
        """What no document may share a run of words with; read once by each worker."""
        rules = self.config.decontaminate
        digests = Overlap.load(rules.digests).digests if rules.digests else frozenset[bytes]()
        if rules.files:
            digests |= Overlap.from_files(rules.files).digests
        return Overlap(digests) if digests else None


def _document_schema() -> "pa.Schema":
    import pyarrow as pa

    fields = {"id": pa.string(), "language": pa.string(), "licence": pa.string(), "size": pa.int64()}
    fields |= {"text": pa.large_string(), "digest": pa.binary(32), "key": pa.uint64(), "signature": pa.binary()}
    return pa.schema([*fields.items(), ("bands", pa.list_(pa.uint64()))])


# ---- what needs to see all


def duplicates(runner: Runner, files: Sequence[Path], documents: int) -> dict[str, str]:
    """Which documents are copies of another one: their ids, and the smallest id of those with the same text."""
    gone: dict[str, str] = {}
    for group in _groups(runner, files, "key", ["id", "digest"], documents):
        same: dict[bytes, list[str]] = defaultdict(list)
        for name, digest in zip(group["id"], group["digest"], strict=True):
            same[digest].append(name)
        for names in same.values():
            first, *others = sorted(names)
            gone |= dict.fromkeys(others, first)
    return gone


def near_duplicates(
    runner: Runner, files: Sequence[Path], documents: int, gone: dict[str, str], config: Config
) -> dict[str, str]:
    """Which of the documents that are left are nearly another one, and the smallest id that they are nearly.

    Candidates share a band of their signatures; the signatures then decide, and components of alike ones stand
    together. Memory holds the signatures of candidates alone.
    """
    buckets: set[tuple[str, ...]] = set()
    for group in _groups(runner, files, "bands", ["id"], documents):
        names = tuple(sorted(set(group["id"]) - gone.keys()))
        if len(names) > 1:
            buckets.add(names)
    signatures = _signatures(files, {name for names in buckets for name in names})
    edges = (
        edge
        for names in sorted(buckets)
        for edge in alike(names, np.stack([signatures[name] for name in names]), config.dedup.threshold)
    )
    return {name: first for name, first in survivors(edges).items() if name != first}


def _groups(
    runner: Runner, files: Sequence[Path], key: str, values: Sequence[str], documents: int
) -> Iterator[dict[str, Any]]:
    """Groups of rows that share a key, brought together a part of all keys at a time."""
    passes = 1 + documents // GROUP_ROWS
    for at in range(passes):
        for batch in runner.groups(files, key, values, passes, at).to_batches():
            yield from batch.to_pylist()


def _signatures(files: Sequence[Path], wanted: set[str]) -> dict[str, np.ndarray]:
    import pyarrow.parquet as pq

    found: dict[str, np.ndarray] = {}
    for file in files if wanted else ():
        table = pq.read_table(file, columns=["id", "signature"])
        for name, signature in zip(table["id"].to_pylist(), table["signature"].to_pylist(), strict=True):
            if name in wanted:
                found[name] = np.frombuffer(signature, np.uint32)
    return found


# ---- Encode


@dataclass(frozen=True)
class Encode:
    """Encodes the documents of a part that are not in `gone/`. Leaves `tokens/`, one row group for each bucket."""

    config: Config
    work: Path
    tokenizer: Path
    buckets: int

    def __call__(self, item: Item) -> Item:
        """Do a part: {"part"} -> counts by language of documents, bytes of text, and tokens.

        And of documents by language and by licence, those for training and those held back apart.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        name = f"{item['part']:05}.parquet"
        columns = ["id", "language", "licence", "text"]
        rows = pq.read_table(self.work / "documents" / name, columns=columns).to_pylist()
        gone = set(pq.read_table(self.work / "gone" / name)["id"].to_pylist())
        rows = [row for row in rows if row["id"] not in gone]
        documents = [Document(row["text"], row["language"], row["id"]) for row in rows]
        ids = encode.encode_batch(documents, self._tokenizer, self._encoding, self.config.data.seed)
        by_bucket: dict[int, list[tuple[int, str, bytes]]] = defaultdict(list)
        counts: Counter[str] = Counter()
        texts: Counter[str] = Counter()
        tokens: Counter[str] = Counter()
        languages: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        licences: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        for row, found in zip(rows, ids, strict=True):
            key, bucket = self._place(row["id"])
            by_bucket[bucket].append((key, row["id"], np.array(found, "<u4").tobytes()))
            counts[row["language"]] += 1
            texts[row["language"]] += len(row["text"].encode())
            languages[bucket == VALIDATION][row["language"]] += 1
            licences[bucket == VALIDATION][row["licence"]] += 1
            tokens[row["language"]] += len(found)
        schema = pa.schema([("key", pa.uint64()), ("id", pa.string()), ("tokens", pa.large_binary())])
        with replacing(self.work / "tokens" / name) as temporary, pq.ParquetWriter(temporary, schema) as file:
            for bucket in range(VALIDATION, self.buckets):
                columns = list(zip(*sorted(by_bucket[bucket]), strict=True)) or [(), (), ()]
                file.write_table(pa.table(list(map(list, columns)), schema=schema), row_group_size=1 << 40)
        return {
            "counts": [[each, counts[each], texts[each], tokens[each]] for each in sorted(counts)],
            "languages": languages,  # of documents for training, of those held back
            "licences": licences,
        }

    @property
    def _encoding(self) -> Encoding:
        pack = self.config.pack
        return Encoding(pack.row, pack.language_prefix, pack.fim_rate, pack.fim_spm)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        os.environ.setdefault("RAYON_NUM_THREADS", "1")  # this process is one of many
        return bpe.load(self.tokenizer)

    def _place(self, name: str) -> tuple[int, int]:
        """The key that a document is shuffled by, and its bucket: of the seed and its id alone."""
        drawn = hashlib.sha256(f"{self.config.data.seed}/{name}".encode()).digest()
        key, chance = int.from_bytes(drawn[:8], "big"), int.from_bytes(drawn[8:16], "big") / 2**64
        held_back = chance < self.config.shard.validation
        return key, VALIDATION if held_back else int.from_bytes(drawn[16:24], "big") % self.buckets


# ---- Pack


@dataclass(frozen=True)
class Pack:
    """Packs one bucket into rows, its documents in the order of their keys. Leaves `packed/`, three arrays a bucket."""

    config: Config
    work: Path
    tokenizer: Path
    parts: int

    def __call__(self, item: Item) -> Item:
        """Do a bucket: {"bucket"} -> {"rows", "tokens", "dropped"}; dropped: tokens that no row has room for."""
        import pyarrow.parquet as pq

        rows: list[tuple[int, str, bytes]] = []
        for part in range(self.parts):
            file = pq.ParquetFile(self.work / "tokens" / f"{part:05}.parquet")
            table = file.read_row_group(item["bucket"] - VALIDATION)
            rows += zip(*(table[name].to_pylist() for name in ("key", "id", "tokens")), strict=True)
        rows.sort(key=lambda row: row[:2])
        tokenizer = bpe.load(self.tokenizer)
        pack = {"best-fit": best_fit, "cut": cut}[self.config.pack.how]
        documents = (np.frombuffer(tokens, "<u4") for _, _, tokens in rows)
        packed = pack(documents, self.config.pack.row, tokenizer.size, tokenizer.pad_id)
        with replacing(packed_path(self.work, item["bucket"])) as temporary, open(temporary, "wb") as file:
            np.savez(file, tokens=packed.tokens, starts=packed.starts, lengths=packed.lengths)
        tokens = sum(len(tokens) // 4 for _, _, tokens in rows)
        return {"rows": len(packed.tokens), "tokens": tokens, "dropped": tokens - int(packed.lengths.sum())}


def packed_path(work: Path, bucket: int) -> Path:
    """Where Pack leaves a bucket."""
    return work / "packed" / ("validation.npz" if bucket == VALIDATION else f"{bucket:05}.npz")


def read_packed(work: Path, buckets: Iterable[int]) -> Iterator[Packed]:
    """The rows of buckets, in order."""
    for bucket in buckets:
        with np.load(packed_path(work, bucket)) as arrays:
            yield Packed(arrays["tokens"], arrays["starts"], arrays["lengths"])


# ---- files


def write_dropped(path: Path, dropped: Iterable[Dropped]) -> None:
    """Write down what is not kept: id, size in bytes, language, and why."""
    import pyarrow as pa

    schema = pa.schema([("id", pa.string()), ("size", pa.int64()), ("language", pa.string()), ("reason", pa.string())])
    _write(path, [vars(each) for each in dropped], schema)


def write_ids(path: Path, ids: Sequence[str]) -> None:
    """Write ids alone."""
    import pyarrow as pa

    _write(path, [{"id": name} for name in ids], pa.schema([("id", pa.string())]))


def _write(path: Path, rows: list[dict[str, Any]], schema: "pa.Schema") -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary, compression="zstd")
