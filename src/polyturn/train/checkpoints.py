"""Checkpoints of a run: Orbax, written beside the training and never half. The one file that knows Orbax."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from polyturn.train.step import State
from polyturn.utils.errors import UserError

KEEP = 2  # the newest, and one to fall back on


class Checkpoints:
    """The checkpoints in one folder, by step."""

    def __init__(self, checkpointer: ocp.training.Checkpointer) -> None:
        self._checkpointer = checkpointer

    def save(self, state: State) -> None:
        """Start saving `state` under its step; returns once the arrays are copied, the disk follows later."""
        self._checkpointer.save_async(int(state.step), state)

    def restore(self, like: State) -> State | None:
        """The newest whole checkpoint with the shapes and dtypes of `like`; None where there is none.

        Raises:
            UserError: what is there does not fit `like`.
        """
        latest = self._checkpointer.latest
        if latest is None:
            return None
        abstract = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), like)
        try:
            return self._checkpointer.load(latest.step, abstract)
        except (ValueError, KeyError) as error:
            where = self._checkpointer.directory
            raise UserError(
                f"The checkpoint in {where} is of another model; choose another run folder."
            ) from error


@contextmanager
def checkpoints(folder: Path) -> Iterator[Checkpoints]:
    """Open the checkpoints in `folder`; leaving waits until everything is on disk."""
    logging.getLogger("absl").setLevel(logging.WARNING)
    policies: dict[str, Any] = {  # Orbax declares the union of its policies more narrowly than it means
        "preservation_policy": ocp.training.preservation_policies.LatestN(KEEP),
        "save_decision_policy": ocp.training.save_decision_policies.FixedIntervalPolicy(1),
    }
    checkpointer = ocp.training.Checkpointer(str(folder.absolute()), cleanup_tmp_directories=True, **policies)
    try:
        yield Checkpoints(checkpointer)
    finally:
        checkpointer.close()
