"""`run.json`: what a run is. Written when it begins; read, compared and written anew whenever it goes on."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax

from polyturn.train import manifests
from polyturn.train.config import TrainConfig
from polyturn.train.hosts import MARK
from polyturn.utils.atomic import remove_leftovers, write_text
from polyturn.utils.differing import differing, listed
from polyturn.utils.errors import UserError

RECORD, RECIPE = "run.json", "recipe.json"
MAY_CHANGE = frozenset(
    "mesh accumulate attention products remat log_every save_every save_minutes keep_last keep_every validate_every "
    "validation_batches step_deadline evaluate".split()
)
"""Settings, at any depth, that may differ when a run goes on: they leave its numbers as they are, up to rounding where
they cut the work otherwise."""


def claim(
    folder: Path, config: TrainConfig, data: str, start: str | None = None, recipe: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write down what the run in `folder` is, once it is known to be the same as the one there.

    A folder without a checkpoint is of no run yet. What earlier ones left half-written is removed: the folder must be
    held for this process alone.

    Args:
        data: digest of the training data.
        start: digest of the weights that it begins with; None for fresh ones.
        recipe: goes into `recipe.json`, for people and for who exports the model; nothing is compared with it.

    Returns:
        The record: `settings`, `data`, `start`, `backend`; `began`, seconds since 1970; and `xla_flags`, which say
        whether the run is deterministic and may change.

    Raises:
        UserError: it is another run, or its record is damaged.
    """
    mine = {"settings": asdict(config), "data": data, "start": start, "backend": jax.default_backend()}
    there = read(folder) if manifests.steps(folder / "checkpoints") else None
    other = [name for name, value in mine.items() if there and fixed(value) != fixed(there[name])]
    if there and other:
        which = listed(differing(fixed(there["settings"]), fixed(json.loads(json.dumps(mine["settings"])))))
        told = [f"{name} ({which})" if which and name == "settings" else name for name in other]
        raise UserError(f"{folder} holds a run with other {' and '.join(told)}; choose another folder or remove it.")
    remove_leftovers(folder, RECORD, RECIPE, "metrics.jsonl", "wandb_id", MARK)
    remove_leftovers(folder / "checkpoints")
    flags = os.environ.get("XLA_FLAGS", "")
    record = {**mine, "began": there["began"] if there else time.time(), "xla_flags": flags}
    write_text(folder / RECORD, json.dumps(record, indent=2) + "\n")
    if recipe is not None:
        write_text(folder / RECIPE, json.dumps(recipe, indent=2) + "\n")
    return record


def read(folder: Path) -> dict[str, Any]:
    """The record of the run in `folder`. Raises UserError where there is none, or a damaged one."""
    try:
        record = json.loads((folder / RECORD).read_text())
        return {"start": record.get("start")} | {
            name: record[name] for name in ("settings", "data", "backend", "began")
        }
    except FileNotFoundError:
        raise UserError(f"{folder} holds no run of training; name a folder with run.json and checkpoints.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / RECORD} is damaged ({error}); restore it or choose another folder.") from None


def identity(record: Mapping[str, Any]) -> dict[str, str]:
    """What the checkpoints of a run must agree in: digests of its settings, its data and the weights it began with."""
    settings = json.dumps(fixed(record["settings"]), sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()
    return {"settings": digest, "data": record["data"], "start": record["start"] or ""}


def fixed(value: Any) -> Any:
    """A value of the record, or of a recipe, without the settings that may change when a run goes on."""
    if isinstance(value, dict):
        return {k: fixed(v) for k, v in value.items() if k not in MAY_CHANGE}
    return [fixed(v) for v in value] if isinstance(value, list | tuple) else value
