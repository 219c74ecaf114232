"""Before the devices are asked for: joining the other processes of a job, and settings that XLA reads but once.

`jax.distributed` for clusters that tell it what it must know and for those that do not:

    processes("auto")                                    # Slurm, Kubernetes (JobSet, indexed jobs), Open MPI, TPU pods
    processes("10.0.0.1:1234", count=2, index=0)         # the address of process 0, the same in all of them
"""

import atexit
import os
from typing import Any

import jax

from polyturn.utils.errors import UserError

GPU_SHARE = "0.92"  # of a GPU's memory; JAX takes 0.75 by default, and `polyturn plan` counts with 0.9


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


def processes(coordinator: str, count: int | None = None, index: int | None = None) -> None:
    """Join the other processes of a job; returns when all of them are there.

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
    atexit.register(jax.distributed.shutdown)
