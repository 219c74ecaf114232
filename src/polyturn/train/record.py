"""`run.json`: what a run is. Written when it begins, and read whenever it goes on."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax

from polyturn.train.config import TrainConfig
from polyturn.utils.atomic import write_text
from polyturn.utils.errors import UserError

MAY_CHANGE = frozenset(
    "mesh accumulate attention products remat log_every save_every save_minutes keep_last keep_every validate_every "
    "validation_batches step_deadline evaluate".split()
)
"""Settings, at any depth, that may differ when a run goes on: they leave its numbers as they are, up to rounding where
they cut the work otherwise."""


def claim(folder: Path, config: TrainConfig, data: str) -> dict[str, Any]:
    """Write down what the run in `folder` is, or check that the one there is the same.

    Args:
        data: digest of the training data.

    Returns:
        The record: `settings`, `data`, `backend`, and `began`, seconds since 1970.

    Raises:
        UserError: it is another run, or its record is damaged.
    """
    path = folder / "run.json"
    mine = {"settings": asdict(config), "data": data, "backend": jax.default_backend()}
    if not path.exists():
        record = {**mine, "began": time.time()}
        write_text(path, json.dumps(record, indent=2) + "\n")
        return record
    record = read(folder)
    other = [name for name, value in mine.items() if fixed(value) != fixed(record[name])]
    if other:
        raise UserError(f"{folder} holds a run with other {' and '.join(other)}; choose another folder or remove it.")
    return {**record, **mine}


def read(folder: Path) -> dict[str, Any]:
    """The record of the run in `folder`. Raises UserError where there is none, or a damaged one."""
    try:
        record = json.loads((folder / "run.json").read_text())
        return {name: record[name] for name in ("settings", "data", "backend", "began")}
    except FileNotFoundError:
        raise UserError(f"{folder} holds no run of training; name a folder with run.json and checkpoints.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / 'run.json'} is damaged ({error}); restore it or choose another folder.") from None


def identity(record: Mapping[str, Any]) -> dict[str, str]:
    """What the checkpoints of a run must agree in: digests of its settings and its data."""
    settings = json.dumps(fixed(record["settings"]), sort_keys=True)
    return {"settings": hashlib.sha256(settings.encode()).hexdigest(), "data": record["data"]}


def fixed(value: Any) -> Any:
    """A value of the record, or of a recipe, without the settings that may change when a run goes on."""
    if isinstance(value, dict):
        return {k: fixed(v) for k, v in value.items() if k not in MAY_CHANGE}
    return [fixed(v) for v in value] if isinstance(value, list | tuple) else value
