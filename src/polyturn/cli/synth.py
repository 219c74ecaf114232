"""`polyturn synth`: the turns of a file become a program."""

import json
import sys
from pathlib import Path
from typing import Annotated

import tyro


def synth(
    turns: Annotated[Path, tyro.conf.Positional],
    model: str | None = None,
    out: Path | None = None,
    temperature: float = 0.0,
    top_p: float = 0.95,
    max_tokens: int = 256,
    seed: int = 0,
    prefix: str = "",
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Write a program from the intents in a file, one turn each, and run it.

    Args:
        turns: A text file with one intent a line, or JSON: a list of strings, or a saved session.
        model: Built-in name, model folder, or Hub id in the local cache.
        out: Where the program goes (.py), or the whole session (.json).
        temperature: 0 takes the likeliest code.
        top_p: Draw from the likeliest tokens that hold this much probability.
        max_tokens: Longest code of one turn.
        seed: Two runs with the same seed give the same program.
        prefix: Code before the first turn, such as imports.
        json_output: Print the session as one JSON object instead of showing it.
    """
    from rich.console import Console

    import polyturn
    from polyturn.cli import show
    from polyturn.engine.types import Sampling
    from polyturn.synthesis import transcript
    from polyturn.utils.errors import UserError

    intents = transcript.read_intents(turns)
    if out is not None and out.suffix not in (".py", ".json"):
        raise UserError("--out must end in .py (the program) or .json (the session).")
    session = polyturn.Session(
        polyturn.load(model), prefix=prefix, sampling=Sampling(temperature, top_p, max_tokens, seed=seed)
    )
    console = Console(highlight=False)
    for number, intent in enumerate(intents, 1):
        step = session.turn(intent)
        if not json_output:
            show.step(console, number, step)
    if out is not None:
        (transcript.save if out.suffix == ".json" else transcript.export)(session, out)
    if json_output:
        json.dump(transcript.as_json(session), sys.stdout)
        print()
    return 0
