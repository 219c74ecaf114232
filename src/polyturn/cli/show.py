"""How a session looks on a terminal or in a pipe: intent, code in colours, and what running it printed.

Lines are never wrapped, cropped or filled up with blanks: a terminal wraps them by itself, and what is copied or
piped is what was written. Nothing in a user's text is read as markup.
"""

from collections.abc import Sequence
from textwrap import wrap

import rich.console
from rich.syntax import Syntax
from rich.text import Text

from polyturn.sandbox import lacking
from polyturn.synthesis.session import Step

MAX_LINES = 20  # of a turn's output; the rest is counted
INDENT = Text("    ")


class Console(rich.console.Console):
    """A console that shows text as it is."""

    def __init__(self) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        """Leave a closed pipe to `polyturn.utils.exits`, where rich would exit with code 1."""
        raise  # rich calls this while it handles the BrokenPipeError


def step(console: Console, number: int, turn: Step) -> None:
    """Print one turn."""
    console.print(Text(f"\n[{number}] {turn.intent}", style="bold"))
    colours = Syntax("", "python", theme="ansi_dark", background_color="default")
    for line in colours.highlight(turn.code or "# (no code)").split("\n"):
        console.print(INDENT + line if line else "")
    for line, style in _outcome(turn):
        console.print(INDENT + Text(line, style=style))


def isolation(console: Console, layers: Sequence[str]) -> None:
    """Say how well the programs were kept in, in lines of at most 80 columns."""
    missing = lacking(layers)
    if not missing:
        text, style = f"Isolation of each run: full, {len(layers)} layers; `polyturn sandbox check` lists them.", "dim"
    else:
        text = f"Isolation of each run: {len(layers)} layers. Missing on this host: {', '.join(missing)}; "
        text, style = text + "`polyturn sandbox check` tells why.", "yellow"
    for line in wrap(text, 80, break_on_hyphens=False):
        console.print(line, style=style)


def _outcome(turn: Step) -> list[tuple[str, str]]:
    shown = []
    if not turn.code:
        shown.append(("✗ the model wrote no code for this: say it in other words, or in smaller steps", "yellow"))
    elif turn.ended_by == "length":
        shown.append(("✗ cut off at the length limit; --max-tokens raises it", "yellow"))
    if turn.result is None:
        return shown
    lines = turn.output.splitlines()
    shown += [(f"→ {line}", "green") for line in lines[:MAX_LINES]]
    if len(lines) > MAX_LINES:
        shown.append((f"→ … and {len(lines) - MAX_LINES} more lines", "dim"))
    if turn.result.verdict != "passed":
        error = turn.result.error
        what = f"{error.type}: {error.message}" if error else turn.result.stderr.strip()[-200:]
        shown.append((f"✗ {turn.result.verdict}: {what}".rstrip(": "), "red"))
    elif not shown:
        shown.append(("→ ran, printed nothing", "dim"))
    return shown
