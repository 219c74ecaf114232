"""`polyturn chat`: build a program by saying what each step should do."""

from pathlib import Path
from typing import Annotated

import tyro

from polyturn.utils.errors import UserError

HELP = """Type what the next step should do, in a sentence. Commands:
  /undo              take the last turn back
  /retry             write the last turn again with another seed
  /edit N INTENT     change the intent of turn N; it and the turns behind it are written anew
  /code N            type the code of turn N yourself, ended by an empty line
  /show              the program so far
  /save FILE         as JSON (FILE.json) to go on later, or as Python (FILE.py)
  /load FILE.json    go on with a saved session
  /help              this
  /quit              leave (so does Ctrl-D)"""


def chat(
    model: str | None = None,
    load: Path | None = None,
    temperature: float = 0.2,
    top_p: float = 0.95,
    max_tokens: int = 256,
    seed: int = 0,
    prefix: Annotated[str, tyro.conf.arg(metavar="CODE")] = "",
) -> int:
    """State an intent, see the code, see it run.

    Args:
        model: Built-in name, model folder, or Hub id in the local cache.
        load: A saved session to go on with.
        temperature: 0 takes the likeliest code; higher varies more.
        top_p: Draw from the likeliest tokens that hold this much probability.
        max_tokens: Longest code of one turn.
        seed: Two chats with the same seed and intents give the same code.
        prefix: Code before the first turn, such as imports.
    """
    from rich.console import Console

    import polyturn
    from polyturn.cli import show
    from polyturn.engine.types import Sampling
    from polyturn.synthesis import transcript

    console = Console(highlight=False)
    sampling = Sampling(temperature, top_p, max_tokens, seed=seed)
    with console.status("Loading the model …"):
        session = polyturn.Session(polyturn.load(model), prefix=prefix, sampling=sampling)
    if load is not None:
        transcript.restore(session, load)
        for number, turn in enumerate(session.rerun(), 1):
            show.step(console, number, turn)
    console.print("Say what the first step should do, or /help.", style="dim")
    while True:
        try:
            words = console.input("\n[bold cyan]>[/] ").strip()
        except EOFError:
            console.print()
            return 0
        if words in ("/quit", "/exit"):
            return 0
        try:
            _answer(console, session, words)
        except UserError as error:
            console.print(str(error), style="yellow")


def _answer(console, session, words: str) -> None:
    """Do what one line asks for and show what changed."""
    from polyturn.cli import show
    from polyturn.synthesis import transcript

    command, _, rest = words.partition(" ")
    rest = rest.strip()
    changed = []
    if not words:
        return
    if not command.startswith("/"):
        with console.status("Writing …"):
            changed = [session.turn(words)]
    elif command == "/undo":
        console.print(f"Took back: {session.undo().intent}", style="dim")
    elif command == "/retry":
        with console.status("Writing …"):
            changed = [session.retry()]
    elif command == "/edit":
        number, _, intent = rest.partition(" ")
        with console.status("Writing …"):
            changed = session.edit(_number(number), intent=intent.strip() or None)
    elif command == "/code":
        changed = session.edit(_number(rest), code=_typed(console))
    elif command == "/show":
        console.print(session.source, end="", markup=False)
    elif command == "/save":
        _save(session, rest)
        console.print(f"Saved {rest}.", style="dim")
    elif command == "/load":
        transcript.restore(session, rest)
        changed = session.rerun()
    elif command == "/help":
        console.print(HELP, markup=False)
    else:
        raise UserError(f"There is no command {command}; /help lists them.")
    for number, turn in enumerate(changed, len(session.steps) - len(changed) + 1):
        show.step(console, number, turn)


def _save(session, path: str) -> None:
    from polyturn.synthesis import transcript

    if path.endswith(".json"):
        transcript.save(session, path)
    elif path.endswith(".py"):
        transcript.export(session, path)
    else:
        raise UserError("Name a file that ends in .json (to go on later) or .py (the program).")


def _number(text: str) -> int:
    if not text.isdecimal():
        raise UserError("Say which turn by its number, as in /edit 2 Print the sum of xs.")
    return int(text)


def _typed(console) -> str:
    console.print("Type the code; an empty line ends it.", style="dim")
    lines = []
    while line := console.input("[cyan]…[/] "):
        lines.append(line)
    return "\n".join(lines)
