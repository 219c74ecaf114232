"""What a build of training data reads and does, from one TOML file.

    config = load("mono")                                     # a shipped one: installed, nl, multi, mono
    config = load("my.toml", source="jsonl:code.jsonl.zst")   # a file of yours, another source

Every key has its place in one of the dataclasses below, and a key that has none is an error. Paths in a file are
relative to the file. `resolved` is what a build records of its config, and `digest` names what shards were made by,
wherever the files that it reads lie.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, fields, is_dataclass, replace
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from polyturn.data.languages import LANGUAGES, named
from polyturn.data.licences import OTHER, PERMISSIVE, nearest, spelled
from polyturn.utils.errors import UserError

TABLES = ("jsonl", "parquet", "huggingface")
KINDS = ("installed", "folder", *TABLES)
SHIPPED = ("installed", "nl", "multi", "mono")
PACKINGS = ("best-fit", "cut")
URL = re.compile(r"[a-z][a-z0-9+.-]+:/")


def _range(where: str, value: float, low: float, high: float = inf) -> None:
    if not low <= value <= high:  # this way around, nan is refused too
        span = f"at least {low}" if high == inf else f"from {low} to {high}"
        raise UserError(f"The config's {where} is {span}, and cannot be {value}; mend it.")


def _one_of(where: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"The config's {where} is one of {', '.join(known)}, and cannot be {value!r}; mend it.")


def _language(where: str, name: str) -> str:
    """The usual spelling of a language that we know."""
    if named(name) not in LANGUAGES:
        raise UserError(f"The config's {where} holds {name!r}, and the languages are {', '.join(LANGUAGES)}; mend it.")
    return named(name)


def _licence(word: str) -> str:
    """An SPDX id as SPDX spells it, "" and OTHER too."""
    known = spelled(word) if word else ""
    if known is None:
        near = nearest(word)
        hint = f"did you mean {near!r}?" if near else f"give an SPDX id, LicenseRef-NAME, {OTHER!r} or an empty string."
        raise UserError(f"The config's filter.licences holds {word!r}, which is no SPDX id; {hint}")
    return known


@dataclass(frozen=True)
class Data:
    """What the whole is called and made for."""

    name: str = ""
    languages: tuple[str, ...] = ()  # kept, by the names of languages.py; none: all of them
    seed: int = 0  # of every draw: the order of documents, fill in the middle, validation
    tokenizer: str = "polyturn-micro-mono"  # a folder, a built-in model, or a Hub id, whose tokenizer is taken

    def __post_init__(self) -> None:
        object.__setattr__(self, "languages", tuple(_language("data.languages", each) for each in self.languages))


@dataclass(frozen=True)
class Columns:
    """Where a table holds what. A column other than `text` and `prompt` may be missing: nothing is known then."""

    text: str = "text"
    prompt: str = ""  # before the text, read and not learned; "": there is none
    path: str = "path"
    repo: str = "repo"
    licence: str = "licence"  # a list of licences means that all of them apply
    language: str = "language"

    def __post_init__(self) -> None:
        if self.prompt and self.prompt == self.text:
            raise UserError(
                f"The config's columns.prompt and columns.text are both {self.text!r}; "
                "name the column of the answers as columns.text."
            )


@dataclass(frozen=True)
class Source:
    """One place to read from."""

    kind: str = ""
    path: str = ""  # a folder, a file, or for huggingface a data set; installed has none
    name: str = ""  # begins the ids of its documents; by default the last part of the path, or the kind
    columns: Columns = Columns()  # of jsonl, parquet, huggingface
    language: str = ""  # of documents whose language neither a column nor a path tells
    prose: bool = False  # of Python files the docstrings alone, and the descriptions of packages
    subset: str = ""  # of a Hugging Face data set, where it has several
    split: str = "train"  # likewise

    def __post_init__(self) -> None:
        _one_of("source.kind", self.kind, KINDS)
        if URL.match(self.path):
            raise UserError(
                f"A source is read from a file system of this machine, and {self.path} is not on one; "
                "mount the bucket or copy the files, and give that path."
            )
        if bool(self.path) == (self.kind == "installed"):
            needs = "takes no path" if self.path else "needs a path"
            raise UserError(f"A source of kind {self.kind} {needs}; mend the [[source]].")
        if not self.name:
            object.__setattr__(self, "name", Path(self.path).name or self.kind)
        if "/" in self.name:
            raise UserError(f"The name of a source holds no slash, and {self.name!r} does; choose another.")
        if self.language:
            object.__setattr__(self, "language", _language("source.language", self.language))
        if self.columns.prompt and (self.prose or self.kind not in TABLES):
            what = "for prose" if self.prose else f"of kind {self.kind}"
            raise UserError(
                f"Prompts are read from tables as they stand, and the source {self.name} is {what}; "
                "remove its columns.prompt."
            )


@dataclass(frozen=True)
class Filter:
    """Which documents are good enough, and whose. The first three are the paper's; 0 turns one of them off."""

    mean_line: float = 100  # characters: longer lines on the average, and the document is dropped
    longest_line: int = 1000  # characters: a longer line, and the document is dropped
    digits: float = 0.9  # share of characters that are decimal or hexadecimal digits, at most
    smallest: int = 1  # bytes of a file
    largest: int = 1 << 20  # likewise; a larger file is not read
    python_parses: bool = True  # Python that is no Python 3 is dropped
    comment_ratio: tuple[float, float] = (0.01, 0.8)  # least and most of code that is comment
    generated: bool = True  # drop what a program wrote
    licences: tuple[str, ...] = PERMISSIVE  # SPDX ids; "" where none is said, OTHER; none at all: any
    optout: str = ""  # a file of owners, repositories and hashes to leave out, see optout.py
    redact: bool = True  # put placeholders for e-mail addresses, keys and public IP addresses

    def __post_init__(self) -> None:
        object.__setattr__(self, "licences", tuple(map(_licence, self.licences)))
        _range("filter.digits", self.digits, 0, 1)
        low, high = self.comment_ratio
        _range("filter.comment_ratio", low, 0, high)
        _range("filter.comment_ratio", high, low, 1)
        _range("filter.smallest", self.smallest, 0, self.largest)
        _range("filter.mean_line", self.mean_line, 0)
        _range("filter.longest_line", self.longest_line, 0)


@dataclass(frozen=True)
class Dedup:
    """Near-duplicates. Exact ones always go."""

    near: bool = True
    threshold: float = 0.7  # Jaccard similarity of runs of tokens from which two documents are one
    words: int = 5  # tokens of a run
    permutations: int = 128  # of a MinHash signature

    def __post_init__(self) -> None:
        _range("dedup.threshold", self.threshold, 0.1, 1)
        _range("dedup.words", self.words, 1)
        _range("dedup.permutations", self.permutations, 1)


@dataclass(frozen=True)
class Decontaminate:
    """Held-out text that no document may share a run of words with."""

    files: tuple[str, ...] = ()  # benchmark files: JSONL, or any text
    digests: str = ""  # a file of digests of word runs, see overlap.py


@dataclass(frozen=True)
class Pack:
    """How documents become rows of tokens."""

    row: int = 2048  # tokens
    how: str = "best-fit"  # or "cut", the paper's: no padding, and short remainders are lost
    language_prefix: bool = False  # the name of the language before each document
    fim_rate: float = 0.0  # share of documents rearranged for filling in the middle
    fim_spm: float = 0.5  # share of those with the suffix first

    def __post_init__(self) -> None:
        _one_of("pack.how", self.how, PACKINGS)
        _range("pack.row", self.row, 2)
        _range("pack.fim_rate", self.fim_rate, 0, 1)
        _range("pack.fim_spm", self.fim_spm, 0, 1)


@dataclass(frozen=True)
class Shard:
    """How rows lie on the disk."""

    megabytes: int = 64  # of a shard, about
    validation: float = 0.0  # share of documents held back for validation, chosen by the hash of their ids

    def __post_init__(self) -> None:
        _range("shard.megabytes", self.megabytes, 1)
        _range("shard.validation", self.validation, 0, 0.5)


@dataclass(frozen=True)
class Config:
    """One build. In the TOML file each field is a table of its name, `source` an array of tables."""

    data: Data = Data()
    source: tuple[Source, ...] = ()
    filter: Filter = Filter()
    dedup: Dedup = Dedup()
    decontaminate: Decontaminate = Decontaminate()
    pack: Pack = Pack()
    shard: Shard = Shard()

    def __post_init__(self) -> None:
        if not self.source:
            raise UserError("The config names no source; add a [[source]], or give --source.")
        names = [source.name for source in self.source]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"Two sources are called {name!r}; give each a `name` of its own.")
        if self.masked and self.pack.how == "cut":
            raise UserError(
                'The config\'s pack.how is "cut", which would part answers from their prompts; '
                'set it to "best-fit", or remove columns.prompt.'
            )

    @property
    def masked(self) -> bool:
        """Whether it is said of each token if it is to be learned: where any source has prompts, for all of them."""
        return any(source.columns.prompt for source in self.source)

    @property
    def parses(self) -> bool:
        """Whether the grammar of the running Python decides what is kept."""
        python = not self.data.languages or "Python" in self.data.languages
        return (self.filter.python_parses and python) or any(source.prose for source in self.source)

    def resolved(self) -> dict[str, Any]:
        """Everything that the config says as plain JSON, and under `inputs` the SHA-256 of each file it names."""
        named = [self.filter.optout, self.decontaminate.digests, *self.decontaminate.files]
        inputs = {path: _sha256(path) for path in sorted(filter(None, named))}
        return {**json.loads(json.dumps(asdict(self))), "inputs": inputs}

    def digest(self) -> str:
        """SHA-256 of `resolved` without the folders that files lie in: the same on every machine."""
        plain = self.resolved()
        for source in plain["source"]:
            on_the_hub = source["kind"] == "huggingface" and not Path(source["path"]).is_absolute()
            source["path"] = source["path"] if on_the_hub else Path(source["path"]).name
            if not source["columns"]["prompt"]:
                del source["columns"]["prompt"]  # digests are those from before there were prompts
        plain["data"]["tokenizer"] = ""  # it has a digest of its own
        plain["filter"]["optout"] = Path(self.filter.optout).name
        plain["decontaminate"] = {
            "files": [Path(path).name for path in self.decontaminate.files],
            "digests": Path(self.decontaminate.digests).name,
        }
        plain["inputs"] = sorted([Path(path).name, digest] for path, digest in plain["inputs"].items())
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def load(config: str | Path, source: str | None = None, tokenizer: str | None = None) -> Config:
    """A config by the name of a shipped one or the path of a file.

    Args:
        source: to be read in place of the config's own, which may have none then; see `parse_source`.
        tokenizer: to be used in place of the config's own.

    Raises:
        UserError: there is no such config, a key is unknown, or a value cannot be.
    """
    text, folder = _text(config)
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{config} is not TOML ({error}); mend it.") from None
    if isinstance(tables.get("source"), dict):
        raise UserError(f"{config} has a table [source], and sources are a list; write [[source]] for each.")
    if source is not None and not tables.get("source"):
        tables["source"] = [{"kind": "installed"}]  # in the place of which `source` is read
    loaded: Config = _built(Config, tables, "")
    loaded = _absolute(loaded, folder)
    if not loaded.data.name:
        loaded = replace(loaded, data=replace(loaded.data, name=Path(config).stem))
    if source is not None:
        loaded = replace(loaded, source=(parse_source(source, loaded.source[0]),))
    if tokenizer is not None:
        loaded = replace(loaded, data=replace(loaded.data, tokenizer=_folder(Path(), tokenizer)))
    return loaded


def parse_source(text: str, like: Source) -> Source:
    """A source from `installed`, `KIND:PATH`, or a path alone: a file's ending tells its kind, a folder is one.

    Of `like`, which it replaces, it keeps the columns, the language and whether prose is wanted.
    """
    kind, colon, path = text.partition(":")
    if text == "installed":
        path = ""
    elif not colon or kind not in KINDS:
        path = text
        kind = "parquet" if text.endswith(".parquet") else "jsonl" if ".jsonl" in Path(text).name else "folder"
    if (kind not in ("installed", "huggingface") and not URL.match(path)) or (
        kind == "huggingface" and Path(path).exists()
    ):
        path = str(Path(path).absolute())
    return Source(kind, path, columns=like.columns, language=like.language, prose=like.prose)


def _text(config: str | Path) -> tuple[str, Path]:
    """The text of a config, and the folder that its paths are relative to."""
    if config in SHIPPED:
        return (files("polyturn.data") / "configs" / f"{config}.toml").read_text(encoding="utf-8"), Path()
    path = Path(config)
    try:
        return path.read_text(encoding="utf-8"), path.parent
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not in UTF-8"
        shipped = ", ".join(SHIPPED)
        raise UserError(f"Cannot read the config {config}: {reason}; give a TOML file, or one of {shipped}.") from None


def _absolute(config: Config, folder: Path) -> Config:
    """The config with its paths made absolute: a build goes on in whatever folder it is called again."""

    def whole(path: str) -> str:
        return str((folder / path).absolute()) if path else ""

    def stays(source: Source) -> bool:  # a Hugging Face data set of the Hub is no path
        return source.kind == "huggingface" and not (folder / source.path).exists()

    return replace(
        config,
        data=replace(config.data, tokenizer=_folder(folder, config.data.tokenizer)),
        source=tuple(s if stays(s) else replace(s, path=whole(s.path)) for s in config.source),
        filter=replace(config.filter, optout=whole(config.filter.optout)),
        decontaminate=Decontaminate(tuple(map(whole, config.decontaminate.files)), whole(config.decontaminate.digests)),
    )


def _folder(place: Path, name: str) -> str:
    """The path of a tokenizer that lies in a folder; a built-in name or a Hub id stays what it is."""
    path = place / Path(name).expanduser()
    return str(path.absolute()) if path.is_dir() or name.startswith((".", "/", "~")) else name


def _built(cls: type, table: Mapping[str, Any], where: str) -> Any:
    """The dataclass from a TOML table; `where` is the table's dotted name, with a point behind it."""
    hints = get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}
    for key in table:
        if key not in known:
            raise UserError(f"The config has an unknown key {where}{key}; known there: {', '.join(known)}.")
    return cls(**{key: _value(hints[key], value, known[key], f"{where}{key}") for key, value in table.items()})


def _value(hint: Any, value: Any, known: Field[Any], where: str) -> Any:
    """A value of a TOML table as the type that the field has."""
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return _built(hint, value, f"{where}.")
    if get_origin(hint) is tuple and isinstance(value, list):
        kinds = get_args(hint)
        if kinds[-1] is Ellipsis:
            kinds = (kinds[0],) * len(value)
        if len(kinds) == len(value):
            return tuple(_value(kind, each, known, where) for kind, each in zip(kinds, value, strict=True))
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, hint):
        return value
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is hint:
        return value
    example = "a table" if is_dataclass(known.default) else repr(known.default)
    raise UserError(f"The config's {where} takes a value like {example}, not {value!r}; mend it.")


def _sha256(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"Cannot read {path}, which the config names: {error.strerror}; check the path.") from None
