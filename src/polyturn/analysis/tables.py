"""Tables of text, for a terminal or as Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO


@dataclass(frozen=True)
class Table:
    """A title, the names of the columns, rows of as many cells, and sentences to stand below.

    The first `names` columns hold words, the others figures. A line break in a cell shows on a terminal only.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1
    notes: Sequence[str] = ()


def heat(temperature: float | None) -> str:
    """A temperature in a cell; the samples of another tool come without one."""
    return "unknown" if temperature is None else repr(temperature)


def to_terminal(tables: Iterable[Table], width: int) -> str:
    """Tables for a terminal of `width` columns; cells that do not fit are wrapped, never cropped."""
    import rich.box
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    out = StringIO()
    console = Console(file=out, width=width, highlight=False, markup=False, emoji=False, color_system=None)
    for number, table in enumerate(tables):
        if number:
            console.print()
        console.print(Text(table.title))
        grid = Grid(box=rich.box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
        for place, column in enumerate(table.columns):
            word = place < table.names
            grid.add_column(Text(column), justify="left" if word else "right", overflow="fold", no_wrap=not word)
        for row in table.rows:
            grid.add_row(*map(Text, row))
        console.print(grid)
        for note in table.notes:
            console.print(Text(note))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def to_markdown(tables: Iterable[Table]) -> str:
    """Tables as GitHub's Markdown."""
    return "\n".join(map(_markdown, tables))


def _markdown(table: Table) -> str:
    marks = ["---" if place < table.names else "---:" for place in range(len(table.columns))]
    cells = [[_text(cell).replace("|", "\\|") for cell in row] for row in [table.columns, *table.rows]]
    rows = [f"| {' | '.join(row)} |" for row in [cells[0], marks, *cells[1:]]]
    notes = [f"{_text(note)}\n" for note in table.notes]
    return "\n".join([f"### {_text(table.title)}", "", *rows, "", *notes])


def _text(text: str) -> str:
    """One line, nothing in it read as markup."""
    line = " ".join(text.split())
    for mark in "\\`*_<>#":
        line = line.replace(mark, f"\\{mark}")
    return line.replace("](", "]\\(")
