"""Attention against a loop over every position in float64; each backend for packed rows; the choice among them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from attention_oracle import Case, documents, make, rows_of
from hypothesis import given
from hypothesis import strategies as st
from jax._src.cudnn import fused_attention_stablehlo
from jax.typing import DTypeLike

from polyturn.model import attention_chunked, attention_cudnn, attention_splash, attention_striped, attention_tokamax
from polyturn.model.attention import Attend, attention, causal_mask, check_documents, choose, over
from polyturn.utils.errors import UserError


def test_mask_shows_what_came_before_in_the_same_document():
    segments = np.array([[0, 0, 1, 1, 1, 2], [3, 3, 3, 3, 3, 3]])
    mask = np.asarray(causal_mask(jnp.asarray(segments)))
    for b, t, s in np.ndindex(*mask.shape):
        assert mask[b, t, s] == (s <= t and segments[b, t] == segments[b, s])


@pytest.mark.parametrize("layout", ["bshk", "bhsk"])
def test_attention_is_a_weighted_mean_of_what_may_be_seen(layout: Literal["bshk", "bhsk"]):
    draw = np.random.default_rng(0)
    q, k, v = (draw.standard_normal((2, n, 3, 8)).astype(np.float32) for n in (4, 6, 6))
    mask = draw.random((2, 4, 6)) < 0.5
    mask[:, :, 0] = True
    keys, values = (a if layout == "bshk" else a.swapaxes(1, 2) for a in (k, v))
    arrays = [jnp.asarray(a) for a in (3 * q, keys, values, mask)]
    ours = np.asarray(attention(arrays[0], arrays[1], arrays[2], arrays[3], layout))
    for b, t, h in np.ndindex(2, 4, 3):
        seen = np.flatnonzero(mask[b, t])
        scores = np.array([3 * q[b, t, h].astype(np.float64) @ k[b, s, h] / 8**0.5 for s in seen])
        weights = np.exp(scores - scores.max())
        wanted = (weights / weights.sum()) @ v[b, seen, h].astype(np.float64)
        np.testing.assert_allclose(ours[b, t, h], wanted, atol=1e-5)


def test_a_row_that_sees_nothing_stays_finite_in_value_and_gradient():
    x = jnp.ones((1, 2, 1, 4), jnp.float32)
    nothing = jnp.zeros((1, 2, 2), bool)
    value, gradient = jax.value_and_grad(lambda q: jnp.sum(attention(q, x, x, nothing)))(x)
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()


def test_large_scores_do_not_overflow():
    big = jnp.full((1, 3, 1, 4), 1e4, jnp.bfloat16)
    out = attention(big, big, big, causal_mask(jnp.zeros((1, 3), jnp.int32)))
    assert out.dtype == jnp.bfloat16
    assert jnp.isfinite(out).all()


# Packed rows: every backend that runs without its own kind of device, against documents taken one by one in float64.

type Kernel = Callable[[jax.Array], Attend]  # of segments


def by(attend: Callable[..., jax.Array], **settings: Any) -> Kernel:
    return lambda segments: lambda q, k, v: attend(q, k, v, segments, **settings)


KERNELS: dict[str, Kernel] = {
    "reference": partial(over, backend="reference"),
    "chunked": partial(over, backend="chunked"),
    "chunked by 32": by(attention_chunked.attend, block=32),
    "striped": partial(over, backend="striped"),
    "striped by 24": by(attention_striped.attend, stripe=24),
    "splash": by(attention_splash.attend, interpret=True),
}
LENGTH = 256
SEGMENTS = rows_of([[100, 1, 27, 128], [60, 130], [256]], LENGTH)


def results(kernel: Kernel, case: Case, dtype: DTypeLike) -> dict[str, np.ndarray]:
    q, k, v, g = (jnp.asarray(x, dtype) for x in case.inputs)
    segments = jnp.asarray(case.segments)

    @jax.jit
    def both(q: jax.Array, k: jax.Array, v: jax.Array, g: jax.Array) -> tuple[jax.Array, ...]:
        out, back = jax.vjp(kernel(segments), q, k, v)
        return (out, *back(g))

    arrays = both(q, k, v, g)
    assert all(a.dtype == dtype for a in arrays)
    names = ("out", "d_q", "d_k", "d_v")
    return {name: np.asarray(a.astype(jnp.float32)) for name, a in zip(names, arrays, strict=True)}


@pytest.mark.parametrize("name", KERNELS)
def test_a_packed_row_equals_its_documents_taken_alone(name: str):
    case = make(SEGMENTS, heads=2, width=16)
    ours = results(KERNELS[name], case, jnp.float32)
    for what, wanted in case.wanted.items():
        np.testing.assert_allclose(ours[what], wanted, atol=2e-5, err_msg=what)


@pytest.mark.parametrize("name", KERNELS)
def test_padding_gives_no_nan_and_takes_no_gradient(name: str):
    case = make(rows_of([[60], []], LENGTH), heads=1, width=8)
    ours = results(KERNELS[name], case, jnp.float32)
    assert all(np.isfinite(a).all() for a in ours.values())
    for what in ("d_q", "d_k", "d_v"):
        assert not ours[what][case.segments == 0].any()


@pytest.mark.parametrize("name", ["chunked", "splash"])
def test_bfloat16_is_as_near_as_its_precision_allows(name: str):
    case = make(SEGMENTS, heads=2, width=64, rounded_to=ml_dtypes.bfloat16)
    ours, plain = results(KERNELS[name], case, jnp.bfloat16), results(KERNELS["reference"], case, jnp.bfloat16)
    for what, wanted in case.wanted.items():
        error, allowed = (np.linalg.norm(x[what] - wanted) / np.linalg.norm(wanted) for x in (ours, plain))
        assert error < max(0.008, 1.5 * allowed), what


@pytest.mark.parametrize("length", [1, 31, 33, 100])
def test_chunks_need_not_divide_the_row(length: int):
    case = make(np.sort(np.random.default_rng(0).integers(0, 3, (2, length)).astype(np.int32)), heads=2, width=4)
    ours = results(KERNELS["chunked by 32"], case, jnp.float32)
    for what, wanted in case.wanted.items():
        np.testing.assert_allclose(ours[what], wanted, atol=2e-5, err_msg=what)


def test_chunks_hold_a_small_part_of_what_the_reference_holds():
    x = jax.ShapeDtypeStruct((1, 2048, 2, 64), jnp.bfloat16)
    segments = jax.ShapeDtypeStruct((1, 2048), jnp.int32)

    def held(kernel: Kernel) -> int:
        def back(q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array) -> list[jax.Array]:
            return jax.grad(lambda x: jnp.sum(kernel(segments)(*x).astype(jnp.float32)))([q, k, v])

        analysis: Any = jax.jit(back).lower(x, x, x, segments).compile().memory_analysis()
        return analysis.temp_size_in_bytes

    assert held(KERNELS["chunked"]) < held(KERNELS["reference"]) / 8


@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("backend", ["reference", "chunked", "striped", "splash"])
def test_a_mesh_changes_where_and_not_what(backend: str, remat: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attention_splash, "attend", partial(attention_splash.attend, interpret=True))
    case = make(rows_of([[100, 28], [128], [1, 127], [50]], 128), heads=2, width=8)
    axes = ("data", "fsdp", "tensor")
    mesh = jax.make_mesh((2, 2, 2), axes, axis_types=(jax.sharding.AxisType.Explicit,) * 3)
    heads, rows = jax.P(("data", "fsdp"), None, "tensor", None), jax.P(("data", "fsdp"), None)

    def both(q: jax.Array, k: jax.Array, v: jax.Array, g: jax.Array, segments: jax.Array) -> tuple[jax.Array, ...]:
        attend = over(segments, backend)
        out, back = jax.vjp(jax.checkpoint(attend) if remat else attend, q, k, v)
        return (out, *back(g))

    with jax.set_mesh(mesh):
        every = jax.jit(jax.shard_map(both, in_specs=(*[heads] * 4, rows), out_specs=(heads,) * 4))
        cut = [jax.device_put(jnp.asarray(x, jnp.float32), jax.NamedSharding(mesh, heads)) for x in case.inputs]
        arrays = every(*cut, jax.device_put(jnp.asarray(case.segments), jax.NamedSharding(mesh, rows)))
    for (what, wanted), ours in zip(case.wanted.items(), arrays, strict=True):
        np.testing.assert_allclose(np.asarray(ours), wanted, atol=2e-5, err_msg=what)


# What the kernels of other devices are told of a row

some_rows = st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=3).map(
    lambda rows: rows_of(rows, 60)
)


@given(some_rows)
def test_cudnn_is_told_every_document(segments: np.ndarray):
    described = jax.jit(attention_cudnn.documents, static_argnums=1)(jnp.asarray(segments), 7)
    lengths, offsets, fits = (np.asarray(a) for a in described)
    told = [
        (b, slice(offset, offset + length))
        for b in range(len(segments))
        for offset, length in zip(offsets[b], lengths[b], strict=False)
        if length >= 0
    ]
    assert told == list(documents(segments))
    assert fits.all()
    assert ((offsets[:, :-1] >= 0) == (lengths >= 0)).all()
    assert (offsets[:, -1] == -1).all()


def test_rows_of_too_many_documents_are_known_to_the_device_and_refused_before():
    segments = rows_of([[1] * 8, [64] * 2], 128)
    assert np.asarray(attention_cudnn.documents(jnp.asarray(segments), 8)[2]).tolist() == [0, 1]
    with pytest.raises(UserError, match="A row of 128 tokens holds 9 documents"):
        check_documents("cudnn", segments)
    check_documents("cudnn", segments[1:])
    check_documents("tokamax", segments)


@given(some_rows)
def test_tokamax_is_told_where_each_document_begins(segments: np.ndarray):
    begins = np.asarray(jax.jit(attention_tokamax.document_begins)(jnp.asarray(segments)))
    for b, at in documents(segments):
        assert (begins[b, at] == at.start).all()


# Kernels of devices that are not here, up to the point where the device's own compiler takes over


def lowered(backend: str, platform: str, width: int) -> str:
    x = jax.ShapeDtypeStruct((2, 2048, 2, width), jnp.bfloat16)
    segments = jax.ShapeDtypeStruct((2, 2048), jnp.int32)

    def both(q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array, g: jax.Array) -> tuple[jax.Array, ...]:
        out, back = jax.vjp(over(segments, backend), q, k, v)
        return (out, *back(g))

    return jax.jit(both).trace(x, x, x, segments, x).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("width", [64, 80, 256])
def test_cudnn_lowers_to_its_packed_kernels(width: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(fused_attention_stablehlo, "check_compute_capability", lambda capability: True)
    text = lowered("cudnn", "cuda", width)
    calls = [line for line in text.splitlines() if "@__cudnn$" in line]
    assert sum("@__cudnn$fmhaSoftmax(" in line for line in calls) == 1
    assert sum("@__cudnn$fmhaSoftmaxBackward(" in line for line in calls) == 1
    for line in calls:
        assert "PADDING_CAUSAL" in line
        assert re.search(r"max_seg_per_batch\S*: 32\b", line)


@pytest.mark.parametrize("width", [64, 80, 256])
def test_splash_lowers_to_tpu_kernels(width: int):
    assert lowered("splash", "tpu", width).count("@tpu_custom_call(") == 3  # forward; queries; keys and values


@pytest.mark.parametrize("width", [64, 80, 256])
def test_tokamax_lowers_to_hopper_kernels(width: int, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("tokamax", reason="tokamax is not installed; it is no dependency")
    from tokamax import config  # pyright: ignore[reportMissingImports]
    from tokamax._src import gpu_utils  # pyright: ignore[reportMissingImports]

    monkeypatch.setattr(gpu_utils, "_compute_capability", lambda device=None: 9.0)
    with config.cross_compile(True):
        assert "@mosaic_gpu_v2(" in lowered("tokamax", "cuda", width)


# The choice


@dataclass(frozen=True)
class FakeDevice:
    platform: str
    device_kind: str
    compute_capability: str = ""


CPU, TPU = FakeDevice("cpu", "cpu"), FakeDevice("tpu", "TPU v5e")
HOPPER, AMPERE = FakeDevice("gpu", "NVIDIA H100", "9.0"), FakeDevice("gpu", "NVIDIA A100", "8.0")
AMD = FakeDevice("gpu", "MI300", "gfx942")


def test_auto_takes_what_the_device_can_do(monkeypatch: pytest.MonkeyPatch):
    assert choose("auto", CPU, 64, 512, "float32") == "striped"
    assert choose("auto", TPU, 64, 512, "bfloat16") == "splash"
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(attention_tokamax, "version", lambda name: "0.0.17")
    assert choose("auto", HOPPER, 64, 512, "bfloat16") == "tokamax"
    monkeypatch.setattr(attention_tokamax, "version", lambda name: "0.0.9")
    assert choose("auto", HOPPER, 64, 512, "bfloat16", lambda: 8) == "cudnn"
    with pytest.raises(UserError, match="a row holds 9 documents and it has room for 8"):
        choose("auto", HOPPER, 64, 512, "bfloat16", lambda: 9)


@pytest.mark.parametrize(
    ("backend", "device", "width", "length", "dtype", "reason"),
    [
        ("flash", CPU, 64, 512, "bfloat16", "no attention 'flash'"),
        ("cudnn", CPU, 64, 512, "bfloat16", "needs an NVIDIA GPU"),
        ("cudnn", AMD, 64, 512, "bfloat16", "needs an NVIDIA GPU"),
        ("cudnn", AMPERE, 64, 512, "bfloat16", "Hopper"),
        ("cudnn", HOPPER, 260, 512, "bfloat16", "not 260"),
        ("cudnn", HOPPER, 64, 512, "float32", "not float32"),
        ("cudnn", HOPPER, 64, 512, "bfloat16", "cuDNN 9.6 or newer and this is 9.5"),
        ("tokamax", AMPERE, 64, 512, "bfloat16", "Hopper"),
        ("tokamax", HOPPER, 512, 512, "bfloat16", "not 512"),
        ("tokamax", HOPPER, 64, 512, "float32", "not float32"),
        ("tokamax", HOPPER, 64, 512, "bfloat16", "0.0.17 or newer and this is 0.0.9"),
        ("splash", CPU, 64, 512, "bfloat16", "needs a TPU"),
        ("splash", TPU, 64, 500, "bfloat16", "multiple of 128 long, not 500"),
        ("auto", AMPERE, 64, 512, "bfloat16", "tokamax: .*; cudnn: .*attention=chunked"),
    ],
)
def test_what_a_backend_cannot_do_is_refused_with_the_reason(
    backend: str, device: Any, width: int, length: int, dtype: str, reason: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 90500)
    monkeypatch.setattr(attention_tokamax, "version", lambda name: "0.0.9")
    with pytest.raises(UserError, match=reason):
        choose(backend, device, width, length, dtype)
