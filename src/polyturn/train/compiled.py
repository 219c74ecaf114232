"""A step compiled for devices that are not there, by the compiler of those that would be: the truth behind `plan`.

The compiler comes with JAX's plugin for the device and needs no device: libtpu for TPUs, jax-cuda12-plugin or
jax-cuda13-plugin with NVIDIA's libraries for GPUs. For a GPU it has to be told what kind; `GPUS` does. Takes from one
to many minutes and some GiB of memory on the machine that compiles. JAX must not look for the devices themselves: set
JAX_PLATFORMS=cpu, as `polyturn plan` does.

cuDNN's and tokamax' attention ask for the GPU while they are traced, so that for GPUs the step is compiled with the
tiled attention in plain XLA instead, which keeps the same for the pass backwards.
"""

import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, SingleDeviceSharding

from polyturn.data.batches import Batch
from polyturn.model.params import abstract
from polyturn.parallel.mesh import MeshShape
from polyturn.parallel.rules import make_mesh, sharding
from polyturn.train import guard, optimizer
from polyturn.train.config import TrainConfig
from polyturn.train.flops import Device
from polyturn.train.step import State, state_specs, train_step
from polyturn.utils.errors import UserError

TPUS = {"v4": (3, {"chip_config_name": "megacore"}), "v5e": (2, {}), "v5p": (3, {}), "v6e": (2, {})}
"""The dimensions of a TPU's torus, and what else libtpu wants to know."""

HOPPER: dict[str, float] = {
    "threads_per_block_limit": 1024,
    "threads_per_warp": 32,
    "shared_memory_per_block": 49152,
    "shared_memory_per_core": 233472,
    "shared_memory_per_block_optin": 232448,
    "threads_per_core_limit": 2048,
    "core_count": 132,
    "fpus_per_core": 128,
    "block_dim_limit_x": 2**31 - 1,
    "block_dim_limit_y": 65535,
    "block_dim_limit_z": 65535,
    "registers_per_core_limit": 65536,
    "registers_per_block_limit": 65536,
    "l2_cache_size": 50 * 2**20,
    "clock_rate_ghz": 1.98,
}
"""Limits and sizes that the CUDA driver reports, by the names of XLA's GpuDeviceInfoProto."""

GPUS: dict[str, tuple[tuple[int, int], dict[str, float]]] = {  # compute capability, and the rest
    "h100": ((9, 0), HOPPER | {"memory_bandwidth": 3_352_320_000_000}),
    "h200": ((9, 0), HOPPER | {"memory_bandwidth": 4_800_000_000_000}),
    "a100": (
        (8, 0),
        HOPPER
        | {"shared_memory_per_core": 167936, "shared_memory_per_block_optin": 166912, "core_count": 108}
        | {"fpus_per_core": 64, "l2_cache_size": 40 * 2**20, "clock_rate_ghz": 1.41}
        | {"memory_bandwidth": 2_039_000_000_000},
    ),
}


@dataclass(frozen=True)
class Compiled:
    """What the compiler says of a step, on each device."""

    arguments: int  # bytes of state and batch
    temporary: int  # bytes while it runs; gradients and activations are among them
    seconds: float  # that compiling took

    @property
    def total(self) -> int:
        """Bytes at the fullest moment; results take the arguments' place."""
        return self.arguments + self.temporary


def compile_step(config: TrainConfig, row: int, device: Device) -> Compiled:
    """Compile the step of `config` over rows of `row` tokens for `config.mesh` of such devices.

    Raises:
        UserError: no plugin for the device is installed, or none can compile without one; the compiler says that the
            step does not fit.
    """
    begun = time.monotonic()
    mesh = make_mesh(config.mesh, _topology(device, config.mesh))
    attention = "splash" if device.name in TPUS else "chunked"
    if config.compute.attention != "reference":
        config = replace(config, compute=replace(config.compute, attention=attention))
    with jax.set_mesh(mesh) if mesh.size > 1 else nullcontext():
        try:
            done = train_step.lower(config, *arguments(config, row, mesh)).compile()
        except jax.errors.JaxRuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"The compiler for {device.name} gave up: {reason[:300]}") from error
    stats: Any = done.memory_analysis()
    return Compiled(stats.argument_size_in_bytes, stats.temp_size_in_bytes, time.monotonic() - begun)


def arguments(config: TrainConfig, row: int, mesh: Mesh) -> tuple[State, Batch]:
    """The arguments of `train_step` after its first, as shapes on `mesh`. A step on one device knows no mesh."""
    whole = SingleDeviceSharding(mesh.devices.item()) if mesh.size == 1 else None
    params = abstract(config.model)
    state = State(
        jax.ShapeDtypeStruct((), jnp.int32),  # type: ignore[arg-type]
        params,  # type: ignore[arg-type]
        jax.eval_shape(optimizer.fresh, params),
        jax.eval_shape(guard.fresh),
    )
    placed: Any = jax.ShapeDtypeStruct
    state = jax.tree.map(
        lambda a, cut: placed(a.shape, a.dtype, sharding=whole or NamedSharding(mesh, cut)), state, state_specs(config)
    )
    rows, types = whole or sharding(mesh, ("batch",)), (jnp.int32, jnp.int32, jnp.int32, jnp.float32)
    return state, Batch(*(placed((config.rows, row), dtype, sharding=rows) for dtype in types))


def _topology(device: Device, mesh: MeshShape) -> list[Any]:
    """So many devices of the kind, for the compiler alone."""
    if device.name in TPUS:
        dimensions, more = TPUS[device.name]
        wanted = f"{device.name}:{'x'.join(map(str, _torus(mesh.size, dimensions)))}"
        return _described(device, "libtpu", wanted, "tpu", more)[: mesh.size]
    if device.name in GPUS:
        hosts = -(-mesh.size // (device.node or mesh.size))
        more = {"target_config": _gpu(device), "topology": f"1x{hosts}x{mesh.size // hosts}"}
        return _described(device, "jax[cuda12] or jax[cuda13]", "", "cuda", more)
    raise UserError(f"There is no description of {device.name} to compile for; there are: {', '.join(TPUS | GPUS)}.")


def _described(device: Device, package: str, name: str, platform: str, more: dict[str, Any]) -> list[Any]:
    try:
        return list(topologies.get_topology_desc(name, platform=platform, **more).devices)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"Nothing here can compile for {device.name} ({reason[:200]}); "
            f"install {package} in this environment, or leave --compile out for the estimate alone."
        ) from error


def _torus(devices: int, dimensions: int) -> list[int]:
    """The sides of the smallest slice with `devices` chips, four at least, as even as can be: 4 x 4 x 4, 2 x 2 x 1."""
    sides = [1] * dimensions
    rest = max(devices, 4)
    while rest > 1:
        factor = next(n for n in range(2, rest + 1) if rest % n == 0)
        sides[sides.index(min(sides))] *= factor
        rest //= factor
    return sorted(sides, key=lambda side: (side == 1, side))


def _gpu(device: Device) -> str:
    """XLA's GpuTargetConfigProto for the device, as text."""
    (major, minor), numbers = GPUS[device.name]
    lines = [f"{name}: {value}" for name, value in (numbers | {"device_memory_size": device.memory}).items()]
    return "\n".join(
        [
            f"gpu_device_info {{ {' '.join(lines)} cuda_compute_capability {{ major: {major} minor: {minor} }} }}",
            'platform_name: "CUDA"',
            "dnn_version_info { major: 9 minor: 10 }",
            "runtime_version { major: 12 minor: 9 }",
            f'device_description_str: "{device.kinds[0]}"',
        ]
    )
