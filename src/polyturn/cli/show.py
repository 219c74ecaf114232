"""How a session looks on a terminal: intent, code in colours, and what running it printed."""

from rich.console import Console
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from polyturn.synthesis.session import Step

MAX_LINES = 20  # of a turn's output; the rest is counted


def step(console: Console, number: int, turn: Step) -> None:
    """Print one turn."""
    console.print(Text(f"\n[{number}] {turn.intent}", style="bold"))
    console.print(
        Padding(
            Syntax(turn.code or "# (no code)", "python", theme="ansi_dark", background_color="default"),
            (0, 4),
        )
    )
    for line, style in _outcome(turn):
        console.print(Padding(Text(line, style=style), (0, 4)))


def _outcome(turn: Step) -> list[tuple[str, str]]:
    if turn.result is None:
        return []
    lines = turn.output.splitlines()
    shown = [(f"→ {line}", "green") for line in lines[:MAX_LINES]]
    if len(lines) > MAX_LINES:
        shown.append((f"→ … and {len(lines) - MAX_LINES} more lines", "dim"))
    if turn.result.verdict != "passed":
        error = turn.result.error
        what = f"{error.type}: {error.message}" if error else turn.result.stderr.strip()[-200:]
        shown.append((f"✗ {turn.result.verdict}: {what}".rstrip(": "), "red"))
    elif not shown:
        shown.append(("→ ran, printed nothing", "dim"))
    return shown
