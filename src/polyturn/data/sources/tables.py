"""Tables with a document in each row: JSONL, parquet, and data sets of Hugging Face.

The path of a source is one file or a folder of them. A damaged file gives what came before the damage, and the rest of
it counts as one thing dropped, for `corrupt`. Packages that this needs are imported where they are used.
"""

import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from polyturn.data.config import Columns, Source
from polyturn.data.languages import named
from polyturn.data.licences import conjunction
from polyturn.data.sources.folder import walk
from polyturn.data.sources.lines import ENDINGS, CorruptError, lines
from polyturn.data.sources.types import Dropped, Raw, Unit
from polyturn.data.sources.wanted import Wanted
from polyturn.utils.errors import UserError

ROWS = 64  # of parquet in memory at once
ESCAPED = 6  # bytes that JSON may take for one: \u0000


def jsonl_units(number: int, source: Source) -> Iterator[Unit]:
    """One unit a file."""
    for name, path in _table_files(source, ENDINGS):
        yield Unit(number, "jsonl", name, path)


def read_jsonl(unit: Unit, source: Source, wanted: Wanted) -> Iterator[Raw | Dropped]:
    """The rows of one file; ids count its lines from 1."""
    longest = ESCAPED * wanted.rules.largest + (1 << 16)  # the other columns
    number = 0
    try:
        for number, line in enumerate(lines(unit.place, longest), 1):
            id = f"{unit.name}:{number}"
            if isinstance(line, int):
                yield Dropped(id, line, "", "too-large")
            elif line.strip():
                yield _json_row(id, line, source, wanted)
    except (CorruptError, OSError) as error:
        reason = "corrupt" if isinstance(error, CorruptError) else "unreadable"
        yield Dropped(f"{unit.name}:{number + 1}-", _size(unit.place), "", reason)


def _json_row(id: str, line: bytes, source: Source, wanted: Wanted) -> Raw | Dropped:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return Dropped(id, len(line), "", "not-utf-8")
    except (ValueError, RecursionError):
        return Dropped(id, len(line), "", "not-json")
    if not isinstance(row, dict):
        return Dropped(id, len(line), "", "not-an-object")
    return _row(id, row, source, wanted)


def parquet_units(number: int, source: Source) -> Iterator[Unit]:
    """One unit a row group. A file that cannot be opened is a unit too, which says so when it is read."""
    for name, path in _table_files(source, (".parquet",)):
        try:
            groups = _parquet(path).num_row_groups
        except _damage():
            groups = 1
        else:
            _check_columns(path, source.columns, _parquet(path).schema_arrow.names)
        for group in range(groups):
            yield Unit(number, "parquet", name, path, part=group)


def read_parquet(unit: Unit, source: Source, wanted: Wanted) -> Iterator[Raw | Dropped]:
    """The rows of one row group; ids count row groups and their rows from 0."""
    done = 0
    try:
        file = _parquet(unit.place)
        names = set(file.schema_arrow.names)
        columns = [each for each in vars(source.columns).values() if each in names]
        for batch in file.iter_batches(ROWS, row_groups=[unit.part], columns=columns):
            for row in batch.to_pylist():
                yield _row(f"{unit.name}:{unit.part}:{done}", row, source, wanted)
                done += 1
    except _damage() as error:
        reason = "unreadable" if isinstance(error, PermissionError) else "corrupt"
        yield Dropped(f"{unit.name}:{unit.part}:{done}-", _size(unit.place), "", reason)


def _parquet(path: str) -> Any:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise UserError(f"{path} needs pyarrow; install polyturn[data].") from None
    return parquet.ParquetFile(path, memory_map=False, pre_buffer=False)


def _damage() -> tuple[type[Exception], ...]:
    """What pyarrow raises for a damaged file; UnicodeDecodeError: text that is no UTF-8."""
    try:
        from pyarrow import ArrowException
    except ImportError:
        return (OSError,)
    return (ArrowException, OSError, UnicodeDecodeError)


def _check_columns(path: str, columns: Columns, there: list[str]) -> None:
    """Raise UserError where a column is missing that the config names; the usual names may be missing."""
    usual = Columns()
    for field, name in vars(columns).items():
        if name not in there and (field == "text" or name != getattr(usual, field)):
            raise UserError(f"{path} has no column {name!r}; set columns.{field} to one of {', '.join(there)}.")


def huggingface_units(number: int, source: Source) -> Iterator[Unit]:
    """One unit a shard, as the data set is stored."""
    found = _data_set(source.path, source.subset, source.split)
    if found.column_names:
        _check_columns(source.path, source.columns, found.column_names)
    for shard in range(found.num_shards):
        yield Unit(number, "huggingface", f"{source.name}/{source.split}", source.path, part=shard)


def read_huggingface(unit: Unit, source: Source, wanted: Wanted) -> Iterator[Raw | Dropped]:
    """The rows of one shard, streamed; ids count shards and their rows from 0.

    Raises:
        UserError: the data set cannot be read on; unlike a damaged file here it may be whole tomorrow.
    """
    found = _data_set(source.path, source.subset, source.split)
    shard = found.shard(found.num_shards, unit.part)
    try:
        for number, row in enumerate(shard):
            yield _row(f"{unit.name}:{unit.part}:{number}", row, source, wanted)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"Cannot read on in {source.path}: {_first_line(error)}; run again when it can be.") from None


@cache
def _data_set(path: str, subset: str, split: str) -> Any:
    """A streamed data set of the Hub or of a folder. Its own order and shards, and nothing of it on the disk."""
    try:
        import datasets  # pyright: ignore[reportMissingImports]
        from datasets.exceptions import DatasetsError  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(f"{path} needs the package datasets; install it beside polyturn[data].") from None
    try:
        return datasets.load_dataset(path, subset or None, split=split, streaming=True)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        raise UserError(
            f"Cannot open the data set {path}: {_first_line(error)}; check its name, subset and split."
        ) from None


def _row(id: str, row: Mapping[str, Any], source: Source, wanted: Wanted) -> Raw | Dropped:
    """A row by the source's columns."""
    columns = source.columns
    text = row.get(columns.text)
    if isinstance(text, str):
        try:
            text = text.encode()
        except UnicodeEncodeError:  # half of a character, escaped in JSON
            return Dropped(id, len(text), "", "not-utf-8")
    if not isinstance(text, bytes):
        return Dropped(id, 0, "", "no-text")
    licence = row.get(columns.licence)
    if isinstance(licence, list):
        licence = conjunction(each for each in licence if isinstance(each, str))
    path, repo = _string(row.get(columns.path)), _string(row.get(columns.repo))
    language = named(_string(row.get(columns.language))) or ("" if path else source.language)
    return wanted.document(id, path, text, repo, licence if isinstance(licence, str) else None, language)


def _string(value: object) -> str:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _table_files(source: Source, endings: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(beginning of ids, path) of the one file, or of those in the folder that have one of the endings."""
    if os.path.isfile(source.path):
        yield source.name, source.path
        return
    found = [
        (f"{source.name}/{folder.inside}{name}", os.path.join(source.path, folder.inside, name))
        for folder in walk(source.path)
        for name, _ in folder.entries
        if name.endswith(endings)
    ]
    if not found:
        raise UserError(f"{source.path} holds no file that ends in {' or '.join(endings)}; check the path.")
    yield from found


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
