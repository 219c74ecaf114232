"""What the processes of one job agree on. With one process, all of this is plain Python.

Every process calls these functions at the same places in the same order.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from polyturn.utils.errors import UserError


def leads() -> bool:
    """Whether this process is the one that writes the logs and decides."""
    return jax.process_index() == 0


def decide[R](work: Callable[[], R]) -> R:
    """Call `work` on the leading process; every process gets what it returns, which must go through JSON.

    Raises:
        UserError: `work` raised it; all processes do, so that none waits for the others for ever.
    """
    if jax.process_count() == 1:
        return work()
    answer: dict[str, Any] = {}
    if leads():
        try:
            answer = {"value": work()}
        except UserError as error:
            answer = {"error": str(error)}
    text = np.frombuffer(json.dumps(answer).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    sent = np.resize(text, length) if leads() else np.zeros(length, np.uint8)
    answer = json.loads(np.asarray(multihost_utils.broadcast_one_to_all(sent), np.uint8).tobytes())
    if "error" in answer:
        raise UserError(answer["error"])
    return answer["value"]


def tally(votes: Sequence[bool]) -> Any:
    """How many processes vote for each of several things: int32 [len(votes)], on its way from the devices.

    Nothing is waited for here: the counts are read with the step's metrics some steps later, at the same place on every
    process, which is what lets all of them stop after the same step.
    """
    mine = np.array(votes, np.int32)
    if jax.process_count() == 1:
        return mine
    mesh = Mesh(np.array(jax.devices()), ("all",))
    ballots = np.zeros((jax.local_device_count(), len(votes)), np.int32)
    ballots[0] = mine  # a process has one vote, however many devices
    cast = jax.make_array_from_process_local_data(NamedSharding(mesh, PartitionSpec("all")), ballots)
    with jax.set_mesh(mesh):
        return _count(cast)


@partial(jax.jit, out_shardings=PartitionSpec())
def _count(ballots: jax.Array) -> jax.Array:
    return jnp.sum(ballots, axis=0, dtype=jnp.int32)
