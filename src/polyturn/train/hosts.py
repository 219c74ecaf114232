"""What the processes of one job agree on. With one process, all of this is plain Python.

Every process calls these functions at the same places in the same order.
"""

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from polyturn.parallel import messages
from polyturn.utils.atomic import write_text
from polyturn.utils.differing import differing, listed
from polyturn.utils.errors import UserError

LOOK_EVERY_S = 0.05
MARK = "job"  # in the name of a file that all processes should see

_numbers = count()  # of the calls in which processes wait for each other: the same in all of them


def leads() -> bool:
    """Whether this process is the one that writes the logs and decides."""
    return jax.process_index() == 0


def decide[R](work: Callable[[], R]) -> R:
    """Call `work` on the leading process; every process gets what it returns, which must go through JSON.

    The others wait for as long as it takes, without a collective, which has time limits of its own.

    Raises:
        UserError: `work` raised it; all processes do, so that none waits for the others for ever.
        RuntimeError: on the others, where `work` raised any other exception.
    """
    if jax.process_count() == 1:
        return work()
    place = f"decided/{next(_numbers)}"
    if leads():
        try:
            value = work()
            answer = json.dumps({"value": value})
        except Exception as error:
            kind, text = ("mistake", str(error)) if isinstance(error, UserError) else ("error", repr(error))
            messages.put(place, json.dumps({kind: text}))
            raise
        messages.put(place, answer)
    else:
        answer = _wait(place)[0]
    answer = json.loads(answer)
    if "mistake" in answer:
        raise UserError(answer["mistake"])
    if "error" in answer:
        raise RuntimeError(f"Process 0 has failed: {answer['error']}")
    return answer["value"]


def anyone(wants: bool) -> bool:
    """Whether any process wants it. Returns when all of them have come here."""
    return any(_said_by_all(wants))


def check_same(about: Mapping[str, Any]) -> None:
    """Raise UserError, on all processes, where one is about to do other work than the leading one.

    Args:
        about: what it is about, by name; must go through JSON.
    """
    mine: dict[str, Any] = json.loads(json.dumps(about))
    theirs = decide(lambda: mine)
    other = listed(differing(mine, theirs))
    sentence = (
        f"Process {jax.process_index()} of the job has another {other} than process 0; start all of them with the "
        "same command, on the same data."
    )
    for wrong in filter(None, _said_by_all(sentence if other else "")):
        raise UserError(wrong)


def check_shared(folder: Path) -> None:
    """Raise UserError, on all processes, where one does not see what the leading one writes in `folder`.

    Such as a disk of its own machine, to which it would write its part of the checkpoints.
    """
    if jax.process_count() == 1:
        return
    mark = folder / decide(lambda: _marked(folder))
    missing = anyone(not mark.exists())
    if leads():
        mark.unlink(missing_ok=True)
    if missing:
        raise UserError(
            f"Not all processes of the job see the same {folder}; choose a folder that their machines share, and "
            "name it alike in all of them."
        )


def _marked(folder: Path) -> str:
    """Leave a file of a new name, which no file system can remember as missing. Returns the name."""
    name = f".{MARK}.{uuid.uuid4().hex[:8]}.part"  # if a kill leaves it: `atomic.remove_leftovers`
    write_text(folder / name, "")
    return name


def _said_by_all[V](mine: V) -> list[V]:
    """What each process says, the same list on all of them. Returns when all of them have come here."""
    if jax.process_count() == 1:
        return [mine]
    place = f"said/{next(_numbers)}"
    messages.put(place, json.dumps(mine), str(jax.process_index()))
    return decide(lambda: [json.loads(text) for text in _wait(place, jax.process_count())])


def _wait(place: str, most: int = 1) -> list[str]:
    """The texts at `place` once there are `most`. Between looks, signals get through."""
    while len(said := messages.look(place)) < most:
        time.sleep(LOOK_EVERY_S)
    return said


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
