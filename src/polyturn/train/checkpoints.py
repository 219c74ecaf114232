"""Checkpoints of a run: written beside the training, never half, loaded on any mesh. The one file that knows Orbax.

Orbax writes the arrays of every process under a temporary name and renames them; then one thread of the leading process
hashes the files, writes the manifest (`manifests.py`) and removes what is no longer kept. A checkpoint counts from its
manifest on.
"""

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from polyturn.model.params import Block, Params
from polyturn.train import manifests
from polyturn.train.hosts import decide, leads
from polyturn.train.step import State
from polyturn.utils.errors import UserError


class Checkpoints:
    """The checkpoints in one folder, by step."""

    def __init__(self, folder: Path, identity: Mapping[str, str], keep_last: int, keep_every: int | None) -> None:
        self.folder, self._identity = folder.absolute(), dict(identity)
        self._keep = keep_last, keep_every
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None

    def save(self, state: State, step: int, about: Mapping[str, Any]) -> None:
        """Start saving `state` under `step`; returns once the arrays are copied, the disk follows later.

        Args:
            about: goes into the manifest and comes back from `newest`.

        Raises:
            UserError: this or the save before could not be written.
        """
        self.wait()
        with self._disk():
            response = ocp.save_async(str(self.folder / str(step)), state, overwrite=True)
        self._writing = self._thread.submit(self._finish, response, step, about)

    def check(self) -> None:
        """Raise UserError if the last save has failed by now; does not wait."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Return when everything is on disk. Raises UserError like `save`."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            with self._disk():
                writing.result()

    def close(self) -> None:
        """Wait for the thread; what it could not write was told by `wait`, or matters no more."""
        self._thread.shutdown()

    def _finish(self, response: ocp.AsyncResponse[None], step: int, about: Mapping[str, Any]) -> None:
        response.result()
        if leads():
            manifests.write(self.folder, step, {**self._identity, **about})
            manifests.prune(self.folder, *self._keep)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # TensorStore tells a full disk as ValueError
            why = str(error).split("\n")[0][:200]
            raise UserError(
                f"Cannot save a checkpoint in {self.folder} ({why}); free some space and run again."
            ) from error

    def newest(self) -> tuple[manifests.Manifest | None, str | None]:
        """The manifest of the newest whole checkpoint, and a sentence where a newer one is not whole.

        The manifest of a damaged one is put aside, and both are removed when the next one is whole.

        Raises:
            UserError: the newest whole one is of another recipe or other data.
        """
        found: tuple[manifests.Manifest | None, str | None] = decide(self._newest)
        return found

    def _newest(self) -> tuple[manifests.Manifest | None, str | None]:
        every = manifests.steps(self.folder)
        half = [step for step in manifests.unfinished(self.folder) if not every or step > every[-1]]
        wrong = [f"The checkpoint of step {half[-1]} was not finished"] if half else []
        while every:
            step = every.pop()
            manifest = manifests.read(self.folder, step)
            if manifest is not None:
                self._check_identity(manifest)
            what = "its manifest is damaged" if manifest is None else manifests.damage(self.folder, manifest)
            if manifest is not None and what is None:
                return manifest, f"{'; '.join(wrong)}; going on from step {step}." if wrong else None
            wrong.append(f"The checkpoint of step {step} is damaged ({what})")
            manifests.disown(self.folder, step)
        return None, f"{'; '.join(wrong)}; there is no other, starting anew." if wrong else None

    def _check_identity(self, manifest: manifests.Manifest) -> None:
        other = [name for name, digest in self._identity.items() if manifest.get(name, "") != digest]
        if other:
            raise UserError(
                f"The checkpoint {self.folder / str(manifest['step'])} is of a run with other {' and '.join(other)}; "
                "choose another folder or remove it."
            )

    def load(self, step: int, like: State) -> State:
        """The state saved under `step`, with the shapes, dtypes and shardings of `like` (`step.abstract`).

        The mesh, and the number of processes, need not be those that saved it.

        Raises:
            UserError: what is there does not fit `like`.
        """
        place = str(self.folder / str(step))
        if _shapes(ocp.metadata(place).metadata) != _shapes(like):
            raise UserError(
                f"The checkpoint {place} does not have the arrays of this run: it was written by another version; "
                "go on with that version or choose another folder."
            )
        return ocp.load(place, like)


def _shapes(tree: Any) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and dtype of each array of a tree by its name, whatever kinds of nodes the tree is made of."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True): (tuple(a.shape), np.dtype(a.dtype)) for path, a in leaves}


def load_params(place: Path) -> Params[np.ndarray]:
    """The weights alone of the checkpoint in the folder `place`, in memory of this machine, whoever saved them."""
    logging.getLogger("absl").setLevel(logging.WARNING)
    here = jax.sharding.SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
    path, me = str(place.absolute()), jax.process_index()
    alone = ocp.Context()  # in a job this is the work of one process: as a rule Orbax waits for the others
    alone.multiprocessing.primary_host, alone.multiprocessing.active_processes = me, {me}
    alone.multiprocessing.barrier_sync_key_prefix = f"alone{me}"
    with alone:
        saved: Any = ocp.metadata(path).metadata
        wanted = {name: jax.tree.map(lambda _: ocp.PLACEHOLDER, tree) for name, tree in saved.items()}
        wanted["params"] = jax.tree.map(
            lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=here), saved["params"]
        )
        loaded: Any = ocp.load(path, wanted)
    params = jax.tree.map(np.asarray, loaded["params"])
    return Params(**{**params, "blocks": Block(**params["blocks"])})


@contextmanager
def checkpoints(
    folder: Path, identity: Mapping[str, str], keep_last: int, keep_every: int | None
) -> Iterator[Checkpoints]:
    """Open the checkpoints in `folder`; leaving waits until everything is on disk.

    Args:
        identity: digests of what a checkpoint must be of, by name; goes into each manifest.
        keep_last: how many of the newest are kept.
        keep_every: those of every so many steps are kept for good.
    """
    logging.getLogger("absl").setLevel(logging.WARNING)
    opened = Checkpoints(folder, identity, keep_last, keep_every)
    try:
        yield opened
        opened.wait()
    finally:
        opened.close()
