"""`polyturn synth`: the turns of a file become a program."""

import json
import sys
from pathlib import Path
from typing import Annotated

import tyro

from polyturn.synthesis.session import MAX_TOKENS


def synth(
    turns: Annotated[Path, tyro.conf.Positional],
    model: str | None = None,
    out: Path | None = None,
    temperature: float = 0.0,
    top_p: float = 0.95,
    max_tokens: int = MAX_TOKENS,
    seed: int = 0,
    prefix: str = "",
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Write a program from the intents in a file, one turn each, and run it.

    Exit code 1 if the model left a turn unwritten, or if the program did not run to its end.

    Args:
        turns: A text file with one intent a line, or JSON: a list of strings, or a saved session (with its prefix).
        model: Built-in name, model folder, or Hub id (owner/name).
        out: Where the program goes (.py), or the whole session (.json).
        temperature: 0 takes the likeliest code.
        top_p: Draw from the likeliest tokens that hold this much probability.
        max_tokens: Longest code of one turn.
        seed: Two runs with the same seed give the same program.
        prefix: Code before the first turn, such as imports.
        json_output: Print the session as one JSON object instead of showing it.
    """
    import polyturn
    from polyturn.cli import show
    from polyturn.engine.types import Sampling
    from polyturn.synthesis import transcript
    from polyturn.utils.errors import UserError

    intents, own_prefix = transcript.read_turns(turns)
    if prefix and own_prefix:
        raise UserError(f"{turns} has a prefix of its own; leave --prefix out, or change it in the file.")
    if out is not None and out.suffix not in (".py", ".json"):
        raise UserError("--out must end in .py (the program) or .json (the session).")
    sampling = Sampling(temperature, top_p, max_tokens, seed=seed)
    session = polyturn.Session(polyturn.load(model), prefix=prefix or own_prefix, sampling=sampling)
    console = show.Console()
    for number, intent in enumerate(intents, 1):
        step = session.turn(intent)
        if not json_output:
            show.step(console, number, step)
    if out is not None:
        (transcript.save if out.suffix == ".json" else transcript.export)(session, out)
    if json_output:
        json.dump(transcript.as_json(session), sys.stdout)
        print()
    result = session.steps[-1].result
    assert result is not None  # a session runs every turn
    written = all(step.code and step.ended_by != "length" for step in session.steps)
    return 0 if written and result.verdict == "passed" else 1
