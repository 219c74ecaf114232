"""What sources give: pieces to read, and from each what it holds or why something in it is left out."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Raw:
    """One document as it came: UTF-8 without NUL bytes, of a language, size, licence and owner that are wanted.

    id: unique in the build and the same every time, "SOURCE/PATH" or "SOURCE/FILE:ROW".
    repo: what it belongs to, "owner/name" where that is known; "" for unknown.
    licence: an SPDX expression, or "" for unknown; None where the source cannot tell.
    language: a name of `languages.LANGUAGES`, or what the source's column says.
    size: its bytes as they came, of which `data` may be a part.
    prompt: bytes at the beginning of `data`, whole characters, that are read and not learned.
    """

    id: str
    repo: str
    path: str
    data: bytes
    licence: str | None
    language: str | None
    size: int
    prompt: int = 0


@dataclass(frozen=True)
class Dropped:
    """Something that is not kept. size: its bytes; language: "" where it is not known; reason: kebab-case words."""

    id: str
    size: int
    language: str
    reason: str


@dataclass(frozen=True)
class Unit:
    """A piece of a source that one worker reads in one go. `Unit(**json.loads(json.dumps(asdict(unit))))` is `unit`.

    source: the place in the config's list of sources.
    kind: "files", "jsonl", "parquet" or "huggingface".
    name: begins the ids of what is in it.
    place: the folder that the files are in, the one file, or the data set.
    files: of kind "files", [path within `place`, repo, licence, stamp] of each.
    part: the row group of a parquet file, the shard of a data set, or which `UNIT_BYTES` of a plain JSONL file.
    stamp: of the one file. A stamp is "SIZE-MTIME" in bytes and nanoseconds, other where a file has changed since.
    """

    source: int
    kind: str
    name: str
    place: str
    files: list[list[str]] = field(default_factory=list)
    part: int = 0
    stamp: str = ""
