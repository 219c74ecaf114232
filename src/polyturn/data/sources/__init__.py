"""Where documents come from: `units` cuts sources into pieces of work, and `read` reads one of them.

What a piece holds is fixed by the sources alone, so that results cannot depend on how many workers read. Everything in
a source becomes a `Raw` or, with the reason, a `Dropped`:

- by their names: `binary`, `unknown-language`, `language` (not among those wanted), `name` (not in Unicode);
- by what they are: `link` (to what is read elsewhere), `link-outside`, `link-broken`, `not-a-file`, `unreadable`;
- by their size: `empty`, `too-small`, `too-large`;
- by whose they are: `opt-out`, `licence`;
- by their bytes: `binary`, `not-utf-8`, `no-prose` (where only that is wanted), `unknown-language`, `language`;
- of tables: `corrupt`, `not-json`, `not-an-object`, `no-text`, `no-prompt`.
"""

from collections.abc import Iterator

from polyturn.data.config import Config, Source
from polyturn.data.sources import folder, installed, tables
from polyturn.data.sources.types import Dropped, Raw, Unit
from polyturn.data.sources.wanted import Wanted
from polyturn.utils.errors import UserError

__all__ = ["Dropped", "Raw", "Unit", "read", "units"]


def units(config: Config) -> Iterator[Unit]:
    """The pieces of all sources, in order, as they are found.

    Raises:
        UserError: a source is not there, is not what its kind says, or holds nothing at all.
    """
    for number, source in enumerate(config.source):
        unit = None
        for unit in _units(number, source):
            yield unit
        if unit is None:
            raise UserError(f"The source {source.name} holds nothing to read; check its path {source.path}.")


def _units(number: int, source: Source) -> Iterator[Unit]:
    match source.kind:
        case "installed":
            return installed.units(number, source.name)
        case "folder":
            return folder.units(number, source.name, source.path)
        case "jsonl":
            return tables.jsonl_units(number, source)
        case "parquet":
            return tables.parquet_units(number, source)
        case _:
            return tables.huggingface_units(number, source)


def read(config: Config, unit: Unit) -> Iterator[Raw | Dropped]:
    """What one piece holds, in the order of its ids' places in the source. Raises UserError where it cannot go on."""
    source, wanted = config.source[unit.source], Wanted(config, unit.source)
    match unit.kind:
        case "files":
            yield from folder.read(unit, wanted)
        case "jsonl":
            yield from tables.read_jsonl(unit, source, wanted)
        case "parquet":
            yield from tables.read_parquet(unit, source, wanted)
        case "huggingface":
            yield from tables.read_huggingface(unit, source, wanted)
