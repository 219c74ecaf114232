"""A whole training step for devices that are not here, up to where the device's own compiler takes over."""

from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax._src.cudnn import fused_attention_stablehlo
from jax.sharding import NamedSharding

from polyturn.data.batches import Batch
from polyturn.model.compute import Compute
from polyturn.model.config import ModelConfig
from polyturn.parallel.mesh import MeshShape
from polyturn.parallel.rules import make_mesh, spec
from polyturn.train.config import OptimizerConfig, TrainConfig
from polyturn.train.step import start, train_step

CALLS = {"cudnn": "__cudnn$fmhaSoftmaxBackward", "tokamax": "mosaic_gpu_v2", "splash": "tpu_custom_call"}


@pytest.mark.parametrize("mesh", ["", "data=2,fsdp=2,tensor=2"])
@pytest.mark.parametrize("remat", ["none", "full"])
@pytest.mark.parametrize(("attention", "platform"), [("cudnn", "cuda"), ("tokamax", "cuda"), ("splash", "tpu")])
def test_a_step_lowers_with_each_kernel(
    attention: str, platform: str, remat: str, mesh: str, monkeypatch: pytest.MonkeyPatch
):
    without_device = nullcontext()
    if attention == "tokamax":
        pytest.importorskip("tokamax", reason="tokamax is not installed; it is no dependency")
        from tokamax import config  # pyright: ignore[reportMissingImports]
        from tokamax._src import gpu_utils  # pyright: ignore[reportMissingImports]

        monkeypatch.setattr(gpu_utils, "_compute_capability", lambda device=None: 9.0)
        without_device = config.cross_compile(True)
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(fused_attention_stablehlo, "check_compute_capability", lambda capability: True)
    shape = MeshShape.parse(mesh)
    run = TrainConfig(
        model=ModelConfig(layers=2, width=128, heads=2, rotary=16, vocab=64, context=256),
        optimizer=OptimizerConfig(peak_rate=1e-3, end_rate=1e-4, warmup=2),
        steps=10,
        rows=8,
        accumulate=2,
        compute=Compute(attention=attention, remat=remat),
        mesh=shape,
    )
    devices = make_mesh(shape) if mesh else None
    with jax.set_mesh(devices) if devices else nullcontext(), without_device:
        rows = NamedSharding(devices, spec(("batch",))) if devices else None
        state = start(run)
        kinds = (jnp.int32, jnp.int32, jnp.int32, jnp.float32)
        batch: Any = Batch(*(jax.ShapeDtypeStruct((8, 256), kind, sharding=rows) for kind in kinds))  # type: ignore[arg-type]
        text = train_step.trace(run, state, batch).lower(lowering_platforms=(platform,)).as_text()
    assert CALLS[attention] in text
