"""The journal of verdicts: a line for each program that was run, under a digest of all that its verdict depends on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polyturn.sandbox import Result
from polyturn.utils.atomic import write_bytes


def to_record(digest: str, result: Result) -> dict[str, Any]:
    """The line of a result."""
    error = result.error
    return {
        "digest": digest,
        "verdict": result.verdict,
        "error": None if error is None else {"type": error.type, "message": error.message[:500], "line": error.line},
        "layers": list(result.layers),
    }


def drop_damaged(path: Path, say: Callable[[str], None]) -> None:
    """Take lines that are no records out of a journal, and say so: their programs will be run again.

    What a kill left of a last line is not among them: `Journal` takes it off.
    """
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")
    whole = [line for line in lines[:-1] if _is_record(line)]
    damaged = len(lines) - 1 - len(whole)
    if damaged:
        write_bytes(path, b"\n".join([*whole, lines[-1]]))
        say(f"{path}: left out {damaged} damaged line{'s' * (damaged > 1)}; what stood there is graded again.")


def _is_record(line: bytes) -> bool:
    try:
        record = json.loads(line)
        error, layers = record["error"], record["layers"]
        parts = [record["digest"], record["verdict"], *layers, *([error["type"], error["message"]] if error else [])]
        return isinstance(layers, list) and all(isinstance(part, str) for part in parts)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
