"""Before the devices are asked for: joining the other processes of a job, and settings that XLA reads but once.

`jax.distributed` for clusters that tell it what it must know and for those that do not:

    with processes("auto"):                             # Slurm, Kubernetes (JobSet, indexed jobs), Open MPI, TPU pods
    with processes("10.0.0.1:1234", count=2, index=0):  # the address of process 0, the same in all of them

A process that fails tells the others, and all end at once: none of them could go on, and each would wait for the others
in a collective, or at JAX's own way out, without a word.
"""

import atexit
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from traceback import format_exception_only
from typing import Any

import jax

from polyturn.parallel import messages
from polyturn.utils.errors import UserError

GPU_SHARE = "0.92"  # of a GPU's memory; JAX takes 0.75 by default, and `polyturn plan` counts with 0.9
FAILED = "failed"  # where a process that fails says so
LISTEN_EVERY_S = 1.0
LEAVE_S = 10.0  # so long a process that leaves waits for the others to have heard why


def prepare_gpus(deterministic: bool = False) -> None:
    """Set what JAX reads when it first looks for GPUs: how much of their memory it takes, and how it computes.

    Args:
        deterministic: the same bits in every run. XLA then neither tunes kernels by time nor adds with atomics, and
            asks the same of cuDNN's attention. CPUs and TPUs do so anyhow. Costs speed; `benchmarks/gpu_train_rate.py`
            tells how much.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", GPU_SHARE)
    if deterministic:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()


@contextmanager
def processes(coordinator: str, count: int | None = None, index: int | None = None) -> Iterator[None]:
    """Join the other processes of a job for the time of the body, which begins when all of them are there.

    An exception in the body ends this process when Python ends, and the others within seconds, each with the sentence
    and the exit code: 2 for a UserError, 130 for Ctrl-C, that of a SystemExit, else 1. `SystemExit(0)` is no failure:
    all processes have agreed to stop.

    Args:
        coordinator: `auto`, or HOST:PORT of process 0.
        count: processes in all; with `auto` the cluster tells.
        index: the number of this one, from 0; with `auto` the cluster tells.

    Raises:
        UserError: the cluster is none that JAX knows, arguments are missing, or not all processes came.
    """
    known: dict[str, Any]
    if coordinator == "auto":
        known = {"num_processes": count, "process_id": index}
    elif count is None or index is None or not 0 <= index < count:
        raise UserError("With an address, say how many processes there are and which one this is (0 is the first).")
    else:
        known = {"coordinator_address": coordinator, "num_processes": count, "process_id": index}
    try:
        jax.distributed.initialize(**known)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"Cannot join the other processes ({reason}); check that all are running and that the address of process 0 "
            "can be reached, or give it as HOST:PORT."
        ) from error
    over = threading.Event()
    listener = threading.Thread(target=_listen, args=(over,), name="listener", daemon=True)
    listener.start()

    def quiet() -> None:
        over.set()
        listener.join()

    try:
        yield
    except BaseException as error:
        quiet()
        code = _code(error)
        if code:
            _tell(error, code)
            atexit.register(_leave, code)  # JAX would wait for the others, and devices for what no longer comes
        else:
            jax.distributed.shutdown()
        raise
    quiet()
    jax.distributed.shutdown()


def _code(error: BaseException) -> int:
    """The exit code of a job that this error ends; 0 where it was stopped as asked."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 2 if isinstance(error, UserError) else 130 if isinstance(error, KeyboardInterrupt) else 1


def _tell(error: BaseException, code: int) -> None:
    """Tell the others what ends this process, and the exit code of all."""
    text = str(error) if isinstance(error, UserError) else "".join(format_exception_only(error)).strip()
    with suppress(jax.errors.JaxRuntimeError):  # another one was first, or process 0 is gone
        messages.put(FAILED, json.dumps([messages.sender(), text, code]))
    _part()


def _listen(over: threading.Event) -> None:
    """End this process as soon as another one has failed."""
    while not over.wait(LISTEN_EVERY_S):
        said = []
        with suppress(jax.errors.JaxRuntimeError):  # where process 0 is gone for good, JAX tells in its own way
            said = messages.look(FAILED)
        if said:
            index, text, code = json.loads(said[0])
            try:
                print(f"polyturn: process {index} of this job has failed: {text}", file=sys.stderr)
                _part()
            finally:
                _leave(code)


def _part() -> None:
    """Wait until all have heard; process 0, which keeps the messages, leaves last."""
    with suppress(jax.errors.JaxRuntimeError):
        messages.wait_for_all("left", LEAVE_S)
    if messages.sender() == 0:
        time.sleep(LISTEN_EVERY_S)


def _leave(code: int) -> None:
    """End this process, whatever else it is doing, also where nobody reads what it prints or the disk is full."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
