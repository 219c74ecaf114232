"""Tables with a document in each row: JSONL, parquet, and data sets of Hugging Face.

The path of a source is one file or a folder of them. A damaged file gives what came before the damage, and the rest of
it counts as one thing dropped, for `corrupt`. Packages that this needs are imported where they are used.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import Any

from polyturn.data.config import Columns, Source
from polyturn.data.languages import named
from polyturn.data.licences import conjunction
from polyturn.data.sources.folder import UNIT_BYTES, walk
from polyturn.data.sources.lines import ENDINGS, CorruptError, is_packed, lines
from polyturn.data.sources.types import Dropped, Raw, Unit
from polyturn.data.sources.wanted import Wanted
from polyturn.utils.errors import UserError

BATCH_BYTES = 4 << 20  # of a row group in memory at once, about; one row at least
MOST_ROWS = 1024  # likewise
READ_BYTES = 1 << 20  # of a column at once: without it, all that a row group has of it
ESCAPED = 6  # bytes that JSON may take for one: \u0000


def jsonl_units(number: int, source: Source) -> Iterator[Unit]:
    """One unit for each `UNIT_BYTES` of a plain file; a packed one can be read from its beginning only, and is one."""
    for name, path in _table_files(source, ENDINGS):
        parts = 1 if is_packed(path) else max(1, -(-_size(path) // UNIT_BYTES))
        for part in range(parts):
            yield Unit(number, "jsonl", name, path, part=part)


def read_jsonl(unit: Unit, source: Source, wanted: Wanted) -> Iterator[Raw | Dropped]:
    """The rows of one unit; ids count the bytes before a row in the unpacked file, so that no one has to count rows."""
    longest = ESCAPED * wanted.rules.largest + (1 << 16)  # the other columns
    start, stop = unit.part * UNIT_BYTES, None if is_packed(unit.place) else (unit.part + 1) * UNIT_BYTES
    after = start
    try:
        for at, line in lines(unit.place, longest, start, stop):
            id = f"{unit.name}:{at}"
            after = at + 1 + (line if isinstance(line, int) else len(line))
            if isinstance(line, int):
                yield Dropped(id, line, "", "too-large")
            elif line.strip():
                yield _json_row(id, line, source, wanted)
    except (CorruptError, OSError) as error:
        reason = "corrupt" if isinstance(error, CorruptError) else "unreadable"
        yield Dropped(f"{unit.name}:{after}-", _size(unit.place), "", reason)


def first_columns(sources: Iterable[Source]) -> list[str]:
    """What is there in the first line of the first source of JSONL, as a hint; nothing where that is no object."""
    files = (path for source in sources if source.kind == "jsonl" for _, path in _table_files(source, ENDINGS))
    for path in islice(files, 1):
        _, line = next(lines(path, READ_BYTES), (0, b""))
        with suppress(ValueError, RecursionError):
            row = json.loads(line) if isinstance(line, bytes) else None
            return list(row) if isinstance(row, dict) else []
    return []


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
    """The rows of one row group, as many in memory as `BATCH_BYTES` hold; ids count row groups and rows from 0."""
    done = 0
    try:
        file = _parquet(unit.place)
        names = set(file.schema_arrow.names)
        columns = [each for each in vars(source.columns).values() if each in names]
        group = file.metadata.row_group(unit.part)
        rows = max(1, min(MOST_ROWS, BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1)))
        for batch in file.iter_batches(rows, row_groups=[unit.part], columns=columns):
            texts, too_large = _not_larger(batch.column(source.columns.text), wanted.rules.largest)
            others = batch.drop_columns([source.columns.text]).to_pylist()
            for text, size, row in zip(texts, too_large, others, strict=True):
                id = f"{unit.name}:{unit.part}:{done}"
                row[source.columns.text] = text
                yield Dropped(id, size, "", "too-large") if size else _row(id, row, source, wanted)
                done += 1
    except _damage() as error:
        reason = "unreadable" if isinstance(error, PermissionError) else "corrupt"
        yield Dropped(f"{unit.name}:{unit.part}:{done}-", _size(unit.place), "", reason)


def _not_larger(column: Any, largest: int) -> tuple[list[Any], list[int]]:
    """The cells as Python's, but None for one of more than `largest` bytes; and the sizes of these, 0 for others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        sizes = pc.fill_null(pc.binary_length(column), 0)  # pyright: ignore[reportAttributeAccessIssue]
    except pa.ArrowNotImplementedError:  # numbers, lists: no text either way
        return column.to_pylist(), [0] * len(column)
    large = pc.greater(sizes, largest)  # pyright: ignore[reportAttributeAccessIssue]
    if not pc.any(large).as_py():  # pyright: ignore[reportAttributeAccessIssue]
        return column.to_pylist(), [0] * len(column)
    cells = [None if is_large.as_py() else cell.as_py() for cell, is_large in zip(column, large, strict=True)]
    return cells, [size if size > largest else 0 for size in sizes.to_pylist()]


def _parquet(path: str) -> Any:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise UserError(f"{path} needs pyarrow; install polyturn[data].") from None
    return parquet.ParquetFile(path, memory_map=False, pre_buffer=False, buffer_size=READ_BYTES)


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
    prompt = row.get(columns.prompt) if columns.prompt else ""
    if not isinstance(prompt, str | bytes):
        return Dropped(id, len(text), "", "no-prompt")
    try:
        prompt = prompt.encode() if isinstance(prompt, str) else prompt.decode().encode()
    except UnicodeError:
        return Dropped(id, len(text), "", "not-utf-8")
    licence = row.get(columns.licence)
    if isinstance(licence, list):
        licence = conjunction(each for each in licence if isinstance(each, str))
    path, repo = _string(row.get(columns.path)), _string(row.get(columns.repo))
    language = named(_string(row.get(columns.language))) or ("" if path else source.language)
    said = licence if isinstance(licence, str) else None
    return wanted.document(id, path, prompt + text, repo, said, language, len(prompt))


def _string(value: object) -> str:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _table_files(source: Source, endings: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(beginning of ids, path) of the one file, or of those in the folder that have one of the endings."""
    if os.path.isfile(source.path):
        yield source.name, source.path
        return
    found = []
    for folder in walk(source.path):
        for name, _ in folder.entries:
            path = os.path.join(source.path, folder.inside, name)
            if not name or (os.path.islink(path) and os.path.isdir(path)):
                why = "cannot be listed" if not name else "is a link to a folder"
                raise UserError(f"{path} {why}; make it readable, or name what is behind it as a source of its own.")
            if name.lower().endswith(endings):
                if not os.path.isfile(path):
                    raise UserError(f"{path} is no file that can be read; remove it, or name the others.")
                found.append((f"{source.name}/{folder.inside}{name}", path))
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
