"""The stages of a build, each a task for a runner (`runner.py`): one part in, files and a few numbers out.

    Read      a unit of a source -> documents that pass the filters, with what deduplication needs of them
    Encode    the documents that are still there -> tokens, sorted by keys that are drawn (`buckets.py`)
    Pack      one bucket of all token files -> rows

Between Read and Encode stands the stage that sees all documents at once, `duplicates.py`; of documents it sees digests
and numbers.

A task depends on its item, the config and the files of the stage before, so that it can be done anywhere, twice, or
again after a kill; its files appear whole or not at all. What a task holds in memory is bounded by `GROUP_CHARACTERS`
and `HELD_CHARACTERS`, however large the files of the sources are.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyturn.data import buckets, encode, filters, minhash
from polyturn.data.buckets import Buckets
from polyturn.data.config import Config
from polyturn.data.encode import Document, Encoding
from polyturn.data.overlap import Overlap
from polyturn.data.packing import Packed, best_fit, cut, token_type
from polyturn.data.redact import redact
from polyturn.data.runner import Item
from polyturn.data.sources import Dropped, Raw, Unit, read
from polyturn.tokenizer import bpe
from polyturn.tokenizer.bpe import Tokenizer
from polyturn.utils.atomic import replacing

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_CHARACTERS = 16 << 20  # of documents in memory in Read, about: a row group of what it leaves
HELD_CHARACTERS = 256 << 20  # of documents in memory as tokens in Encode and Pack, about: a token file, a bucket
DROPPED_ROWS = 10_000  # of what is not kept, in memory
TOKEN_FILES = 64  # at least, of corpora that are large enough, so that many can encode
ROW_BITS = 32  # of the number of a document: its part, then its row


# ---- Read


@dataclass(frozen=True)
class Read:
    """Reads a unit, filters, redacts, decontaminates. Leaves `documents/`, `signatures/` and `dropped/`."""

    config: Config
    units: Path
    work: Path
    dropped: Path

    def __call__(self, item: Item) -> Item:
        """Do a part, {"part"}, the unit of which is in `units/`.

        Returns:
            counts of documents and bytes by language and outcome; redactions by kind; the documents kept, and the
            characters of each row group of them.
        """
        counts: Counter[tuple[str, str]] = Counter()
        sizes: Counter[tuple[str, str]] = Counter()
        redacted: Counter[str] = Counter()
        path = self.dropped / f"read-{item['part']:05}.parquet"
        with _Documents(self.work, item["part"]) as documents, dropped_file(path) as drop:
            for found in read(self.config, read_unit(self.units, item["part"])):
                outcome = found if isinstance(found, Dropped) else self._document(found, redacted)
                if isinstance(outcome, Dropped):
                    drop(outcome)
                    key, size = (outcome.language, outcome.reason), outcome.size
                else:
                    documents.add(outcome)
                    key, size = (outcome["language"], "kept"), outcome["size"]
                counts[key] += 1
                sizes[key] += size
        return {
            "counts": [[*key, counts[key], sizes[key]] for key in sorted(counts)],
            "redacted": dict(sorted(redacted.items())),
            "documents": documents.count,
            "groups": documents.groups,
        }

    def _document(self, raw: Raw, redacted: Counter[str]) -> dict[str, Any] | Dropped:
        prompt, answer = raw.data[: raw.prompt].decode(), raw.data[raw.prompt :].decode()
        text, language = prompt + answer, raw.language or ""
        reason = filters.reason(text, language, self.config.filter, raw.path)
        if reason is None and self._overlap is not None and self._overlap.hits(text):
            reason = "held-out"
        if reason is not None:
            return Dropped(raw.id, raw.size, language, reason)
        if self.config.filter.redact:
            (prompt, found), (answer, more) = redact(prompt), redact(answer)  # apart, so that the border stays
            redacted.update(found)
            redacted.update(more)
            text = prompt + answer
        digest = hashlib.sha256(text.encode()).digest()
        dedup = self.config.dedup
        held_back = buckets.draw(self.config.data.seed, raw.id, self.config.shard.validation).held_back
        return {
            "id": raw.id,
            "language": language,
            "licence": raw.licence or "",
            "size": raw.size,
            "text": text,
            "key": int.from_bytes(digest[:8], "big"),
            "check": int.from_bytes(digest[8:16], "big"),
            "held_back": held_back,
            "prompt": len(prompt),
            "signature": minhash.signature(text, language, dedup.words, dedup.permutations) if dedup.near else None,
            "threshold": dedup.threshold,
        }

    @cached_property
    def _overlap(self) -> Overlap | None:
        """What no document may share a run of words with; read once by each worker."""
        rules = self.config.decontaminate
        digests = Overlap.load(rules.digests).digests if rules.digests else frozenset[bytes]()
        if rules.files:
            digests |= Overlap.from_files(rules.files).digests
        return Overlap(digests) if digests else None


@dataclass
class _Documents:
    """The files of a part, written a row group at a time, whole or not at all."""

    work: Path
    part: int
    count: int = 0
    groups: list[int] = field(default_factory=list)  # characters of each
    waiting: list[dict[str, Any]] = field(default_factory=list)
    characters: int = 0

    def __enter__(self) -> "_Documents":
        import pyarrow.parquet as pq

        with ExitStack() as files:
            documents = files.enter_context(replacing(document_path(self.work, self.part)))
            signatures = files.enter_context(replacing(signature_path(self.work, self.part)))
            self.signatures = files.enter_context(open(signatures, "wb"))
            schema, packed = _document_schema(), {"id": "zstd", "text": "zstd"}  # the others look random
            compression: Any = {name: packed.get(name, "none") for name in [*schema.names, "bands.list.element"]}
            repeated: Any = ["language", "licence"]
            self.file = files.enter_context(
                pq.ParquetWriter(documents, schema, compression=compression, use_dictionary=repeated)
            )
            self._files = files.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is not None:
            self._files.__exit__(*error)
            return
        with self._files:  # closed, and what is half written removed, if this fails
            self._flush()

    def add(self, document: dict[str, Any]) -> None:
        """One more."""
        self.waiting.append(document)
        self.characters += len(document["text"])
        if self.characters >= GROUP_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if not self.waiting:
            return
        schema = _document_schema()
        columns = {name: [each[name] for each in self.waiting] for name in schema.names[:-2]}
        numbers = np.arange(self.count, self.count + len(self.waiting)) + (self.part << ROW_BITS)
        if self.waiting[0]["signature"] is None:
            bands = np.empty((len(self.waiting), 0), np.uint64)
        else:
            signatures = np.stack([each["signature"] for each in self.waiting]).astype("<u4")
            self.signatures.write(signatures.data)
            bands = minhash.bands(signatures, self.waiting[0]["threshold"])
        ends = np.arange(len(bands) + 1, dtype=np.int32) * bands.shape[1]
        lists = pa.ListArray.from_arrays(pa.array(ends), pa.array(bands.ravel()))
        arrays = [pa.array(values, schema.field(name).type) for name, values in columns.items()]
        self.file.write_table(pa.table([*arrays, pa.array(numbers), lists], schema=schema), row_group_size=1 << 40)
        self.count += len(self.waiting)
        self.groups.append(self.characters)
        self.waiting, self.characters = [], 0


def _document_schema() -> "pa.Schema":
    import pyarrow as pa

    fields = {"id": pa.string(), "language": pa.string(), "licence": pa.string(), "size": pa.int64()}
    fields |= {"text": pa.large_string(), "key": pa.uint64(), "check": pa.uint64(), "held_back": pa.bool_()}
    fields |= {"prompt": pa.int32()}  # characters
    return pa.schema([*fields.items(), ("number", pa.int64()), ("bands", pa.list_(pa.uint64()))])


# ---- Encode


@dataclass(frozen=True)
class Encode:
    """Encodes some row groups but for the documents in `gone/`. Leaves `tokens/`, a file of buckets."""

    config: Config
    work: Path
    tokenizer: Path
    buckets: Buckets

    def __call__(self, item: Item) -> Item:
        """Do {"file", "groups": [part, row group] of each}.

        Returns:
            counts by language of documents, characters and tokens; of documents by language and by licence, those for
            training and those held back apart; documents rearranged for filling in the middle.
        """
        counts: Counter[str] = Counter()
        characters: Counter[str] = Counter()
        tokens: Counter[str] = Counter()
        keys: list[buckets.Key] = []
        documents: list[np.ndarray] = []
        given: list[int] = []
        rearranged = 0
        dtype, data = token_type(self._tokenizer.size), self.config.data
        languages: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        licences: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        for part, group in item["groups"]:
            rows = self._rows(part, group)
            texts = (Document(row["text"], row["language"], row["id"], row["prompt"]) for row in rows)
            found = encode.encode_batch(texts, self._tokenizer, self._encoding, data.seed)
            for row, (ids, given_ids, moved) in zip(rows, found, strict=True):
                key = buckets.draw(data.seed, row["id"], self.config.shard.validation)
                keys.append(key)
                documents.append(ids.astype(dtype))
                given.append(given_ids)
                rearranged += moved
                counts[row["language"]] += 1
                characters[row["language"]] += len(row["text"])
                tokens[row["language"]] += len(ids)
                languages[key.held_back][row["language"]] += 1
                licences[key.held_back][row["licence"]] += 1
        buckets.write(token_path(self.work, item["file"]), keys, documents, given, self.buckets)
        return {
            "counts": [[each, counts[each], characters[each], tokens[each]] for each in sorted(counts)],
            "languages": languages,  # of documents for training, of those held back
            "licences": licences,
            "rearranged": rearranged,
        }

    def _rows(self, part: int, group: int) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq

        file = pq.ParquetFile(document_path(self.work, part))
        table = file.read_row_group(group, columns=["id", "language", "licence", "text", "prompt", "number"])
        there = np.isin(
            table["number"].to_numpy() - (part << ROW_BITS), np.load(gone_path(self.work, part)), invert=True
        )
        return table.filter(there).to_pylist()

    @property
    def _encoding(self) -> Encoding:
        pack = self.config.pack
        return Encoding(pack.row, pack.language_prefix, pack.fim_rate, pack.fim_spm)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        os.environ.setdefault("RAYON_NUM_THREADS", "1")  # this process is one of many
        return bpe.load(self.tokenizer)


def token_files(groups: Iterable[Sequence[int]]) -> list[Item]:
    """What each token file holds: row groups, given by the characters of each of each part, about as many in each."""
    places = [(part, group, size) for part, sizes in enumerate(groups) for group, size in enumerate(sizes)]
    most = min(HELD_CHARACTERS, sum(size for _, _, size in places) // TOKEN_FILES)
    files: list[Item] = []
    held = most + 1
    for part, group, size in places:
        if held + size > most:
            files.append({"file": len(files), "groups": []})
            held = 0
        files[-1]["groups"].append([part, group])
        held += size
    return files


def bucket_counts(config: Config, characters: int) -> Buckets:
    """As many buckets as it takes for each to hold at most `HELD_CHARACTERS`, about."""
    share = config.shard.validation
    held_back = max(1, ceil(characters * share / HELD_CHARACTERS)) if share else 0
    return Buckets(held_back, max(1, ceil(characters * (1 - share) / HELD_CHARACTERS)))


# ---- Pack


@dataclass(frozen=True)
class Pack:
    """Packs one bucket into rows, its documents in the order of their keys. Leaves `packed/`, three arrays a bucket.

    Where the config has prompts, every bucket has a fourth one, `wanted`, whether documents of it have a prompt or not.
    """

    config: Config
    work: Path
    tokenizer: Path
    files: int

    def __call__(self, item: Item) -> Item:
        """Do a bucket: {"place"} -> {"rows", "tokens", "dropped"}; dropped: tokens that no row has room for."""
        tokenizer = bpe.load(self.tokenizer)
        files = [token_path(self.work, file) for file in range(self.files)]
        documents, given = buckets.merged(files, item["place"], token_type(tokenizer.size))
        rows = (self.config.pack.row, tokenizer.size, tokenizer.pad_id)
        if self.config.pack.how == "cut":
            packed = cut(documents, *rows)
        else:
            marks = (np.arange(len(ids)) >= count for ids, count in zip(documents, given, strict=True))
            packed = best_fit(documents, *rows, wanted=marks if self.config.masked else None)
        arrays: dict[str, Any] = {"tokens": packed.tokens, "starts": packed.starts, "lengths": packed.lengths}
        if packed.wanted is not None:
            arrays["wanted"] = packed.wanted
        with replacing(packed_path(self.work, item["place"])) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
        tokens = sum(map(len, documents))
        return {"rows": len(packed.tokens), "tokens": tokens, "dropped": tokens - int(packed.lengths.sum())}


def read_packed(work: Path, places: Iterable[int]) -> Iterator[Packed]:
    """The rows of buckets, in order."""
    for place in places:
        with np.load(packed_path(work, place)) as arrays:
            yield Packed(arrays["tokens"], arrays["starts"], arrays["lengths"], wanted=arrays.get("wanted"))


# ---- files


def unit_path(units: Path, part: int) -> Path:
    """What a part reads."""
    return units / f"{part:05}.json"


def read_unit(units: Path, part: int) -> Unit:
    """The unit of a part."""
    return Unit(**json.loads(unit_path(units, part).read_text()))


def document_path(work: Path, part: int) -> Path:
    """The documents of a part that the filters left."""
    return work / "documents" / f"{part:05}.parquet"


def signature_path(work: Path, part: int) -> Path:
    """Their signatures, uint32 [documents, permutations] and nothing else."""
    return work / "signatures" / f"{part:05}"


def gone_path(work: Path, part: int) -> Path:
    """The rows of documents that are copies of others, int64."""
    return work / "gone" / f"{part:05}.npy"


def token_path(work: Path, file: int) -> Path:
    """A token file (`buckets.py`)."""
    return work / "tokens" / f"{file:05}"


def packed_path(work: Path, place: int) -> Path:
    """The rows of a bucket."""
    return work / "packed" / f"{place:05}.npz"


def write_dropped(path: Path, dropped: Iterable[Dropped]) -> None:
    """Write down what is not kept: id, size in bytes, language, and why."""
    with dropped_file(path) as drop:
        for each in dropped:
            drop(each)


@contextmanager
def dropped_file(path: Path) -> Iterator[Callable[[Dropped], None]]:
    """The file of what is not kept, written some rows at a time, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("id", pa.string()), ("size", pa.int64()), ("language", pa.string()), ("reason", pa.string())])
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as file:
        waiting: list[dict[str, Any]] = []

        def flush() -> None:
            file.write_table(pa.Table.from_pylist(waiting, schema))
            waiting.clear()

        def drop(each: Dropped) -> None:
            waiting.append(vars(each))
            if len(waiting) >= DROPPED_ROWS:
                flush()

        yield drop
        flush()
