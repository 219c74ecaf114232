"""Whether a step fits into the devices at hand, asked before data is touched. What would fit, if it does not."""

import os
from dataclasses import replace
from pathlib import Path

import jax

from polyturn.parallel.mesh import AXES
from polyturn.train import plan as planning
from polyturn.train.config import TrainConfig
from polyturn.train.flops import GIB, Device, by_kind
from polyturn.train.memory import memory
from polyturn.utils.errors import UserError

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # version 2, version 1


def check_memory(config: TrainConfig, row: int) -> None:
    """Refuse a step that cannot fit.

    What decides is known well: weights, moments and gradients exactly, activations kept for the pass backwards as
    traced. What comes and goes within a layer is a rule of thumb (`memory.Memory.working`) and refuses nothing.

    Args:
        config: with the mesh of the run and the attention that was chosen.
        row: tokens.

    Raises:
        UserError: it does not fit; the sentence says what would.
    """
    device, there = jax.local_devices()[0], device_memory()
    if there is None:
        return
    needed = memory(config, row)
    least = needed.total - needed.working
    if least <= there:
        return
    kind = by_kind(device.device_kind) or Device(device.device_kind, (), 1.0, there, 1.0, network=1.0)
    fits = planning.fitting(config, row, replace(kind, memory=there), utilisation=1.0)
    remedy = "no mesh of as many devices would do, take more of them or a smaller model"
    if fits is not None:
        mesh = "".join(
            f" train.mesh.{axis}={size}"
            for axis, size, was in zip(AXES, fits.config.mesh.sizes, config.mesh.sizes, strict=True)
            if size != was
        )
        remedy = (
            f"this fits: --set train.accumulate={fits.config.accumulate} "
            f"train.compute.remat={fits.config.compute.remat}{mesh}"
        )
    raise UserError(
        f"A step needs at least {least / GIB:.1f} GiB on each device and {device.device_kind} has {there / GIB:.1f}; "
        f"{remedy}."
    )


def device_memory() -> int | None:
    """Bytes that one device may use; None where nobody tells. Emulated devices share those of the machine."""
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return _machine() // jax.local_device_count()
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    known = by_kind(device.device_kind)
    return None if known is None else known.memory


def _machine() -> int:
    """Bytes of this machine, or of the container that this process is in."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in map(Path, CGROUP_LIMITS):
        if path.exists() and path.read_text().strip().isdecimal():
            limits.append(int(path.read_text()))
    return min(limits)
