"""Short texts that the processes of a job leave for each other, in the store that JAX keeps in process 0.

Unlike a collective on the devices, reading waits for nobody, has no time limit and needs no mesh. JAX has no public
name for the store (of its coordination service); the one below is what Orbax uses.
"""

from typing import Any

from jax._src import distributed  # JAX 0.11 and 0.12

PREFIX = "polyturn"


def _store() -> Any:
    return distributed.global_state.client


def sender() -> int:
    """The number of this process. `jax.process_index` asks the devices, which waits until all processes do."""
    return distributed.global_state.process_id


def put(place: str, text: str, name: str = "0") -> None:
    """Leave `text` at `place`, under a `name` where several are left. Raises JaxRuntimeError if it is taken."""
    _store().key_value_set(f"{PREFIX}/{place}/{name}", text)


def look(place: str) -> list[str]:
    """What has been left at `place` by now; does not wait."""
    return [text for _, text in _store().key_value_dir_get(f"{PREFIX}/{place}/")]


def wait_for_all(what: str, seconds: float) -> None:
    """Return when every process has called this. Raises JaxRuntimeError when so long has passed, or one is gone."""
    _store().wait_at_barrier(f"{PREFIX}/{what}", int(1000 * seconds))
