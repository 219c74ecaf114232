"""JSON objects that carry the SHA-256 of their own content, so that a changed character shows."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "sha256"  # the key that holds it


def seal(value: Mapping[str, Any]) -> bytes:
    """The text of a file with all of `value` and its digest."""
    return _text({**value, SEAL: _digest(value)})


def intact(value: Mapping[str, Any]) -> bool:
    """Whether an object that was read is as `seal` wrote it."""
    return value.get(SEAL) == _digest({name: part for name, part in value.items() if name != SEAL})


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(value)).hexdigest()


def _text(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"
