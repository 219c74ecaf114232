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

KEEP = 2  # the newest, and the one before, to go back to by hand should the newest be damaged


class Checkpoints:
    """The checkpoints in one folder, by step."""

    def __init__(self, checkpointer: ocp.training.Checkpointer) -> None:
        self._checkpointer = checkpointer

    def save(self, state: State) -> None:
        """Start saving `state` under its step; returns once the arrays are copied, the disk follows later.

        Raises:
            UserError: this or the save before could not be written.
        """
        with self._disk():
            self._checkpointer.save_async(int(state.step), state)

    def wait(self) -> None:
        """Return when everything is on disk. Raises UserError like `save`."""
        with self._disk():
            self._checkpointer.wait()

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # TensorStore tells a full disk as ValueError
            where, why = self._checkpointer.directory, str(error).split("\n")[0][:200]
            raise UserError(f"Cannot save a checkpoint in {where} ({why}); free some space and run again.") from error

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
            where = self._checkpointer.directory / str(latest.step)
            raise UserError(
                f"The checkpoint {where} is damaged or of another model; remove it to go on from the one before."
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
        opened = Checkpoints(checkpointer)
        yield opened
        opened.wait()
    finally:
        checkpointer.close()
