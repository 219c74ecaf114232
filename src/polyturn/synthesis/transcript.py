"""Sessions on disk: JSON that carries on where it stopped, and plain Python."""

import json
from pathlib import Path

from polyturn.synthesis.session import Session, Step
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
        UserError: there is no such file, or it is not a saved session.
    """
    content = _read_json(path)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UserError(f"{path} is not a session saved by this version (schema {SCHEMA}).")
    try:
        steps = [
            Step(t["intent"], t["code"], t["seed"], t["ended_by"], None, t["output"])
            for t in content["turns"]
        ]
        prefix = content["prefix"]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is a damaged session: {error} is missing or wrong.") from None
    session.steps, session.prefix = steps, prefix


def export(session: Session, path: str | Path) -> None:
    """Write the program as a Python file with the intents as comments."""
    write_text(path, session.source)


def read_intents(path: str | Path) -> list[str]:
    """The intents of a turns file: one a line of text, or JSON: a list of strings or a saved session.

    Empty lines and lines that start with `#` count for nothing in a text file.

    Raises:
        UserError: there is no such file, it is not UTF-8, or it holds no intents.
    """
    if Path(path).suffix == ".json":
        content = _read_json(path)
        turns = content.get("turns") if isinstance(content, dict) else content
        rows = turns if isinstance(turns, list) else [None]
        found = [t.get("intent") if isinstance(t, dict) else t for t in rows]
        intents = [i for i in found if isinstance(i, str)]
        if len(intents) < len(found):
            raise UserError(f"{path} must hold a list of intents, each a string.")
    else:
        lines = (line.strip() for line in _read(path).splitlines())
        intents = [line for line in lines if line and not line.startswith("#")]
    if not any(i.strip() for i in intents):
        raise UserError(f"{path} holds no intents; write one a line.")
    return intents


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a text file in UTF-8.") from None


def _read_json(path: str | Path) -> object:
    try:
        return json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not valid JSON (line {error.lineno}: {error.msg}).") from None
