"""Sessions on disk: JSON that carries on where it stopped, and plain Python."""

import json
from collections.abc import Callable
from pathlib import Path

from polyturn.synthesis.session import Session, Step
from polyturn.synthesis.turns import is_text
from polyturn.utils.atomic import write_text
from polyturn.utils.errors import UserError

SCHEMA = 1


def as_json(session: Session) -> dict[str, object]:
    """A session as plain data: what went in, what came out, what it printed."""
    turns = [
        {
            "intent": s.intent,
            "code": s.code,
            "seed": s.seed,
            "ended_by": s.ended_by,
            "verdict": s.result.verdict if s.result else None,
            "output": s.output,
        }
        for s in session.steps
    ]
    return {"schema": SCHEMA, "prefix": session.prefix, "turns": turns}


def save(session: Session, path: str | Path) -> None:
    """Write a session as JSON, whole or not at all. Raises UserError where the place cannot be written."""
    write_text(path, json.dumps(as_json(session), indent=2, ensure_ascii=False) + "\n")


def restore(session: Session, path: str | Path) -> None:
    """Replace what `session` holds by what `save` wrote. Nothing is run: `session.rerun()` does that.

    Raises:
        UserError: there is no such file, or it is not a saved session; `session` is then as it was.
    """
    session.prefix, session.steps = _saved(_read_json(path), path)


def export(session: Session, path: str | Path) -> None:
    """Write the program as a Python file with the intents as comments."""
    write_text(path, session.source)


def read_turns(path: str | Path) -> tuple[list[str], str]:
    """The intents of a turns file, and the code that stands before the first turn.

    One intent a line of text, or JSON: a list of strings, or a saved session, which alone has such code. Empty
    lines and lines that start with `#` count for nothing in a text file.

    Raises:
        UserError: there is no such file, it is not UTF-8, or it holds no intents or something else.
    """
    intents: list[str]
    prefix = ""
    if Path(path).suffix == ".json":
        content = _read_json(path)
        if isinstance(content, list):
            for number, intent in enumerate(content, 1):
                if not _is_intent(intent):
                    raise UserError(f"{path} must hold a list of intents; number {number} is empty or not text.")
            intents = content
        else:
            prefix, steps = _saved(content, path)
            intents = [step.intent for step in steps]
    else:
        lines = (line.strip() for line in _read(path).split("\n"))
        intents = [line for line in lines if line and not line.startswith("#")]
    if not intents:
        raise UserError(f"{path} holds no intents; write one a line.")
    return intents, prefix


def _is_intent(value: object) -> bool:
    return is_text(value) and bool(value.strip())


def _is_seed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text_or_null(value: object) -> bool:
    return value is None or is_text(value)


FIELDS: dict[str, Callable[[object], bool]] = {
    "intent": _is_intent,
    "code": is_text,
    "seed": _is_seed,
    "ended_by": _is_text_or_null,
    "verdict": _is_text_or_null,
    "output": is_text,
}
"""What each field of a saved turn must be."""


def _saved(content: object, path: str | Path) -> tuple[str, list[Step]]:
    """Prefix and steps of a saved session."""
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UserError(f"{path} is not a session saved by this version (schema {SCHEMA}).")
    prefix, turns = content.get("prefix"), content.get("turns")
    if not is_text(prefix) or not isinstance(turns, list):
        raise UserError(f"{path} is a damaged session: its prefix or its list of turns is missing or wrong.")
    for number, turn in enumerate(turns, 1):
        for field, fits in FIELDS.items():
            if not isinstance(turn, dict) or field not in turn or not fits(turn[field]):
                raise UserError(f"{path} is a damaged session: {field!r} of turn {number} is missing or wrong.")
    return prefix, [Step(t["intent"], t["code"], t["seed"], t["ended_by"], None, t["output"]) for t in turns]


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}; check the name, and that you may read it.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not in UTF-8; convert it first, for instance with iconv.") from None


def _read_json(path: str | Path) -> object:
    try:
        return json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not valid JSON (line {error.lineno}: {error.msg}).") from None
    except (RecursionError, ValueError):  # nested thousands deep, or a number of thousands of digits
        raise UserError(f"{path} is not a session: it is nested too deep or holds too long a number.") from None
