"""`polyturn demo`: three programs that the model never saw, written and run before your eyes."""

import json
import os
import shutil
import sys
import time
from importlib.resources import files


def demo(model: str | None = None) -> int:
    """Watch a model write three programs turn by turn, each turn run in the sandbox.

    The intents come from the part of the curriculum that is held out of training. Exit code 1 if a program did
    not run to its end.

    Args:
        model: Built-in name, model folder, or Hub id (owner/name).
    """
    from rich.rule import Rule

    import polyturn
    from polyturn.cli import show
    from polyturn.engine.types import Sampling
    from polyturn.synthesis.session import MAX_TOKENS

    console = show.Console()
    begun = time.monotonic()
    with console.status("Loading the model …"):
        writer = polyturn.load(model)
    programs = json.loads((files("polyturn.cli") / "demo.json").read_text())
    ran = turns = 0
    layers: tuple[str, ...] = ()
    for number, program in enumerate(programs, 1):
        console.print(Rule(f"Program {number} of {len(programs)}: {program['title']}", style="cyan"))
        session = polyturn.Session(writer, sampling=Sampling(temperature=0.0, max_tokens=MAX_TOKENS))
        for count, intent in enumerate(program["intents"], 1):
            with console.status("Writing …"):
                step = session.turn(intent)
            show.step(console, count, step)
            turns += 1
        result = session.steps[-1].result
        assert result is not None  # a session runs every turn
        ran += result.verdict == "passed"
        layers = result.layers
    console.print()
    console.print(Rule(style="cyan"))
    took = time.monotonic() - begun
    console.print(
        f"{ran} of {len(programs)} programs ran to their end, {turns} turns in {took:.1f} s with {writer.name}."
    )
    show.isolation(console, layers)
    command = "polyturn" if shutil.which("polyturn") else os.path.relpath(sys.argv[0])
    console.print(f"Your turn: {command} chat", style="bold")
    return 0 if ran == len(programs) else 1
