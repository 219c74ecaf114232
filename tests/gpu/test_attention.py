"""Each attention on a real GPU, forwards and backwards, against documents taken alone in float64 on the processor."""

from functools import cache

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from attention_oracle import Case, make, rows_of

from polyturn.model.attention import choose, over
from polyturn.utils.errors import UserError

LENGTH = 2048
SEGMENTS = rows_of(
    [
        [2048],
        [700, 1, 300, 47, 1000],
        [1500, 63, 64, 65],  # the rest is padding
        [64] * 31,  # with its padding as many documents as cuDNN has room for
    ],
    LENGTH,
)
NAMES = ("out", "d_q", "d_k", "d_v")


@cache
def case(width: int) -> Case:
    return make(SEGMENTS, heads=2, width=width, rounded_to=ml_dtypes.bfloat16)


def chosen(backend: str, width: int) -> str:
    """The backend, or a skip that says why it cannot run on this GPU."""
    try:
        return choose(backend, jax.devices()[0], width, LENGTH, "bfloat16")
    except UserError as error:
        pytest.skip(str(error))


def results(backend: str, case: Case) -> dict[str, np.ndarray]:
    q, k, v, g = (jnp.asarray(x, jnp.bfloat16) for x in case.inputs)

    @jax.jit
    def both(q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array, g: jax.Array) -> tuple[jax.Array, ...]:
        out, back = jax.vjp(over(segments, backend), q, k, v)
        return (out, *back(g))

    arrays = both(q, k, v, jnp.asarray(case.segments), g)
    return {name: np.asarray(a.astype(jnp.float32)) for name, a in zip(NAMES, arrays, strict=True)}


@pytest.mark.parametrize("width", [64, 80, 256])  # of the heads of 350M, 2B, 6B and 16B
@pytest.mark.parametrize("backend", ["reference", "chunked", "cudnn", "tokamax"])
def test_packed_rows_equal_their_documents_taken_alone(backend: str, width: int):
    ours = results(chosen(backend, width), case(width))
    for what, wanted in case(width).wanted.items():
        for b in range(len(SEGMENTS)):
            error = np.linalg.norm(ours[what][b] - wanted[b]) / np.linalg.norm(wanted[b])
            assert error < 0.01, f"{what} of row {b}"  # bfloat16 rounds by up to 0.004; NaN fails too
    padding = SEGMENTS == 0
    for what in NAMES[1:]:
        assert not ours[what][padding].any(), what


def test_a_row_of_too_many_documents_does_not_pass_unseen_through_cudnn():
    segments = rows_of([[16] * 128, [1024, 1024]], LENGTH)
    ours = results(chosen("cudnn", 64), make(segments, heads=2, width=64))["out"]
    assert np.isnan(ours[0]).any()
    assert np.isfinite(ours[1]).all()


@pytest.mark.parametrize("backend", ["cudnn", "tokamax"])
def test_the_same_input_gives_the_same_result_again(backend: str):
    """Sums may be made in another order, but an error that moves by more than rounding is a race."""
    first, second = (results(chosen(backend, 64), case(64)) for _ in range(2))
    for what in NAMES:
        assert np.linalg.norm(first[what] - second[what]) <= 2e-3 * np.linalg.norm(first[what]), what
