"""The plan against the thing itself: parts of a real state, XLA's own account of memory, messages of the traced step.

How it does for GPUs and TPUs is checked by compiling for them, which docs/scaling.md tells of.
"""

import inspect
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import jax
import numpy as np
import pytest

from polyturn.cli.main import main
from polyturn.model.compute import REMAT, Compute
from polyturn.model.config import ModelConfig
from polyturn.model.loss import cross_entropy
from polyturn.parallel.mesh import MeshShape
from polyturn.parallel.rules import make_mesh
from polyturn.train import plan as planning
from polyturn.train.compiled import TPUS, _torus, arguments, compile_step
from polyturn.train.config import OptimizerConfig, TrainConfig
from polyturn.train.flops import by_name, per_step
from polyturn.train.memory import LOSS_CHUNK, memory
from polyturn.train.step import train_step
from polyturn.utils.errors import UserError

MODEL = ModelConfig(layers=3, width=64, heads=8, rotary=4, vocab=96, context=32)
CONFIG = TrainConfig(MODEL, OptimizerConfig(2e-3, 2e-4, 2), steps=20, rows=16)
ROW = 32
H100 = by_name("h100")


def lowered(config: TrainConfig, row: int) -> Any:
    mesh = make_mesh(config.mesh, jax.devices()[: config.mesh.size])
    if mesh.size == 1:
        return train_step.trace(config, *arguments(config, row, mesh))
    with jax.set_mesh(mesh):
        return train_step.trace(config, *arguments(config, row, mesh))


def bytes_on_first(tree: Any) -> int:
    shards = [leaf.addressable_shards[0].data for leaf in jax.tree.leaves(tree)]
    return sum(shard.nbytes for shard in shards)


@pytest.mark.parametrize("shape", [MeshShape(), MeshShape(4, 1, 2), MeshShape(2, 2, 2), MeshShape(1, 8)], ids=str)
def test_weights_and_moments_are_what_a_device_really_holds(shape: MeshShape) -> None:
    config = replace(CONFIG, mesh=shape)
    planned = memory(config, ROW)
    mesh = make_mesh(shape, jax.devices()[: shape.size])
    state, _ = arguments(config, ROW, mesh)
    state = jax.tree.map(lambda a: jax.device_put(np.zeros(a.shape, a.dtype), a.sharding), state)
    assert planned.weights == bytes_on_first(state.params)
    assert planned.moments == bytes_on_first(state.moments)
    assert planned.gradients == planned.weights
    assert memory(replace(config, accumulate=2), ROW).gradients == 2 * planned.weights


WIDE = ModelConfig(layers=4, width=256, heads=4, rotary=32, vocab=4096, context=512)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "accumulate", "remat"),
    [*((MeshShape(), 1, remat) for remat in REMAT), (MeshShape(2, 2, 2), 2, "products")],
    ids=str,
)
def test_the_total_is_near_what_xla_reserves(shape: MeshShape, accumulate: int, remat: str) -> None:
    """Within a fifth of XLA's own account of the compiled step, for every remat policy, alone and on a mesh."""
    compute = Compute(attention="reference", remat=remat)
    config = TrainConfig(WIDE, CONFIG.optimizer, 20, rows=16, compute=compute, mesh=shape, accumulate=accumulate)
    stats = lowered(config, 512).lower().compile().memory_analysis()
    real = stats.argument_size_in_bytes + stats.temp_size_in_bytes
    assert memory(config, 512).total == pytest.approx(real, rel=0.2)


def test_the_chunk_of_the_loss_is_the_one_in_use() -> None:
    assert inspect.signature(cross_entropy).parameters["chunk"].default == LOSS_CHUNK


def messages(jaxpr: Any, times: int = 1) -> Counter[str]:
    """Bytes that a device sends by axis, if the collectives of a traced step go round a ring."""
    found: Counter[str] = Counter()
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        repeated = times * (parameters["length"] if name == "scan" else 1)
        if name in ("psum", "psum_invariant", "all_gather", "reduce_scatter"):
            axes = parameters.get("axes") or parameters["axis_name"]
            for axis in axes if isinstance(axes, tuple) else (axes,):
                inside = dict(jax.sharding.get_abstract_mesh().shape)[axis]
                size = sum(v.aval.size * v.aval.dtype.itemsize for v in equation.invars)
                whole = size * inside if name == "all_gather" else size
                found[axis] += round(repeated * whole * (inside - 1) / inside * (2 if "psum" in name else 1))
        for value in parameters.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    found += messages(inner, repeated)
    return found


@pytest.mark.parametrize("remat", ["none", "full"])
@pytest.mark.parametrize("shape", [MeshShape(8), MeshShape(1, 8), MeshShape(1, 1, 8), MeshShape(2, 2, 2)], ids=str)
def test_messages_are_those_of_the_traced_step(shape: MeshShape, remat: str) -> None:
    """The formulas leave out scalars and, along fsdp and tensor, norms and biases: little, even in so small a model."""
    config = replace(CONFIG, mesh=shape, compute=Compute(remat=remat), accumulate=2 if shape.shards < 16 else 1)
    mesh = make_mesh(shape)
    with jax.set_mesh(mesh):
        sent = messages(train_step.trace(config, *arguments(config, ROW, mesh)).jaxpr.jaxpr)
    for axis, size in planning.traffic(config, ROW).items():
        assert sent[axis] == pytest.approx(size, rel=0.03), axis


def test_time_follows_from_flops_and_the_share_of_the_peak() -> None:
    one = planning.plan(CONFIG, ROW, H100, 0.5)
    assert one.seconds == pytest.approx(per_step(MODEL, 16, ROW) / (0.5 * 989.5e12))
    assert one.utilisation == pytest.approx(0.5)
    assert one.days == pytest.approx(one.seconds * 20 / 86_400)
    full = planning.plan(replace(CONFIG, compute=Compute(remat="full")), ROW, H100, 0.5)
    assert 1.1 < full.seconds / one.seconds < 1.34  # at most the forward pass again
    assert full.utilisation < 0.5


def test_links_bound_a_step_that_computes_little() -> None:
    config = replace(CONFIG, mesh=MeshShape(data=16))
    p = planning.plan(config, ROW, H100, 0.5)
    assert p.seconds == p.sending["data"] == pytest.approx(p.sent["data"] / 50e9)  # two nodes: the network
    assert planning.speed("data", MeshShape(data=8), H100) == 450e9
    assert planning.speed("tensor", MeshShape(data=8, tensor=8), H100) == 450e9
    assert planning.speed("fsdp", MeshShape(fsdp=8, tensor=2), H100) == 50e9


def test_what_fits_is_the_fastest_that_fits() -> None:
    """Against all ways, one by one, on a device with room for some of them only."""
    sizes = {accumulate: memory(replace(CONFIG, accumulate=accumulate), ROW).total for accumulate in (1, 2, 4, 8, 16)}
    device = replace(H100, memory=int(sizes[4] / planning.USABLE) - 1000)
    p = planning.plan(CONFIG, ROW, device, 0.5)
    found = planning.fitting(CONFIG, ROW, device, 0.5)
    assert not p.fits
    assert found is not None
    assert found.fits
    for accumulate, remat in product((1, 2, 4, 8, 16), REMAT):
        other = replace(CONFIG, accumulate=accumulate, compute=Compute(remat=remat))
        tried = planning.plan(other, ROW, device, 0.5)
        assert not tried.fits or tried.seconds >= found.seconds


def test_another_mesh_where_none_fits_on_the_first() -> None:
    weights = memory(CONFIG, ROW).weights
    device = replace(H100, memory=3 * weights, node=2)  # no room for whole weights; tensor goes up to two
    found = planning.fitting(replace(CONFIG, mesh=MeshShape(data=8)), ROW, device, 0.5)
    assert found is not None
    assert found.fits
    assert found.config.mesh.size == 8
    assert found.config.mesh.data < 8
    assert planning.fitting(CONFIG, ROW, replace(H100, memory=1000), 0.5) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_a_16b_plan_is_quick_and_small() -> None:
    """On a machine whose devices JAX cannot have, within seconds and a gigabyte: nothing is allocated."""
    # of its own peak: what getrusage tells of a child includes what its parent held when it was forked
    code = """
import sys
from polyturn.cli.main import main
code = main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""
    command = [sys.executable, "-c", code, "plan", "codegen_16b_mono", "--mesh", "fsdp=16,tensor=4", "--json"]
    environment = os.environ | {"JAX_PLATFORMS": "no_such_platform"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.stderr == ""
    said, peak = done.stdout.splitlines()
    report = json.loads(said)
    stage = report["stages"][0]
    assert report["schema"] == 1
    assert stage["parameters"] == 16_032_155_648
    assert stage["memory"]["moments"] == pytest.approx(2 * stage["memory"]["weights"], rel=1e-6)
    assert stage["memory"]["weights"] == pytest.approx(4 * 16_032_155_648 / 64, rel=0.01)
    assert done.returncode == (0 if stage["fits"] else 1)
    assert (stage["fitting"] is None) == stage["fits"]
    assert int(peak) < 1_500_000  # KiB


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no_such"], "There is no recipe no_such"),
        (["codegen_2b_nl", "--device", "h101"], "There is no device h101"),
        (["codegen_2b_nl", "--mesh", "tensor=3"], "3 devices along tensor do not divide the 32 of heads"),
        (["codegen_2b_nl", "--mesh", "fsdp=3"], "3 devices along fsdp do not divide the 2560"),
        (["codegen_2b_nl", "--mesh", "data=3"], "512 rows a step do not share out among 3 parts"),
        (["codegen_2b_nl", "--mesh", "date=3"], "A mesh is written as in"),
        (["codegen_2b_nl", "--mesh", "fsdp=-1"], "leaves open how many"),
        (["codegen_2b_nl", "--remat", "some"], "compute.remat is one of"),
        (["codegen_2b_nl", "--rows", "0"], "must be at least 1"),
        (["codegen_2b_nl", "--utilisation", "45"], "--utilisation is a share"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_the_table_says_what_is_exact_and_what_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "codegen_350m_nl", "--mesh", "data=8", "--accumulate", "8"]) == 0
    shown = capsys.readouterr().out
    assert "exact" in shown
    assert "estimate" in shown
    assert "524,288 tokens" in shown


def test_every_stage_of_a_recipe_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "polyturn_micro_mono", "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [stage["row"] for stage in stages] == [128, 320]


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("shape", [MeshShape(), MeshShape(2, 2, 2)], ids=str)
def test_the_step_is_lowered_for_devices_that_are_not_there(platform: str, shape: MeshShape) -> None:
    """With no plugin and no device: as far as a machine without either can check the path of another."""
    text = lowered(replace(CONFIG, mesh=shape), ROW).lower(lowering_platforms=(platform,)).as_text()
    assert "stablehlo.dot_general" in text


def test_no_compiler_is_told_with_a_remedy() -> None:
    with pytest.raises(UserError, match="There is no description of b200"):
        compile_step(CONFIG, ROW, by_name("b200"))
    for device in ("v5e", "h100"):
        try:
            done = compile_step(CONFIG, ROW, by_name(device))
        except UserError as error:
            assert "install" in str(error)  # noqa: PT017 - there may be a plugin, and then it has to work
        else:
            assert done.arguments > memory(CONFIG, ROW).weights


@pytest.mark.parametrize(
    ("devices", "dimensions", "sides"),
    [(1, 2, [2, 2]), (8, 2, [2, 4]), (64, 2, [8, 8]), (4, 3, [2, 2, 1]), (16, 3, [2, 2, 4]), (64, 3, [4, 4, 4])],
)
def test_slices_of_tpus(devices: int, dimensions: int, sides: list[int]) -> None:
    assert _torus(devices, dimensions) == sides
    assert {dims for dims, _ in TPUS.values()} == {2, 3}
