"""The C++ products, against float64; gradients and threads; and the refusals."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyturn.model import native
from polyturn.model.loss import cross_entropy
from polyturn.model.products import product
from polyturn.utils.errors import UserError

MISSING = native._missing()
needs_kernel = pytest.mark.skipif(MISSING is not None, reason=f"no native products: {MISSING}")

# not multiples of any block, one of a kind, none, and K beyond one and two blocks of depth
SHAPES = [(1, 1, 1), (2, 3, 5), (13, 33, 35), (12, 32, 128), (25, 101, 129), (7, 1025, 33), (3, 2049, 260)]
SHAPES += [(1, 64, 31), (100, 64, 1), (1029, 17, 40), (2051, 7, 3), (0, 4, 4), (4, 0, 4), (4, 4, 0)]


def matrix(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.bfloat16)


def wide(x: jax.Array) -> np.ndarray:
    return np.asarray(x.astype(jnp.float32)).astype(np.float64)


def check(got: jax.Array, a: np.ndarray, b: np.ndarray) -> None:
    """Within the rounding of float32 sums, and of bfloat16 where the result is that."""
    wanted = a @ b
    rounding = 2.0**-8 * np.abs(wanted) if got.dtype == jnp.bfloat16 else 0.0
    assert got.shape == wanted.shape
    assert (np.abs(wide(got) - wanted) <= rounding + 2.0**-20 * (np.abs(a) @ np.abs(b))).all()


@needs_kernel
@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
def test_the_three_products_on_odd_shapes(m: int, k: int, n: int) -> None:
    x, w, g = matrix(0, m, k), matrix(1, k, n), matrix(2, m, n)
    check(native.forward(x, w), wide(x), wide(w))
    check(native.forward(x, w, jnp.float32), wide(x), wide(w))
    check(native.input_gradient(g, w), wide(g), wide(w).T)
    check(native.weight_gradient(x, g), wide(x).T, wide(g))


@needs_kernel
def test_nothing_outside_of_the_operands_is_used() -> None:
    """Rows that end where memory of NaN begins: an odd K leaves half a pair, which must not come from there."""
    whole = jnp.full((40, 64), jnp.nan, jnp.bfloat16).at[:13, :33].set(1.0)
    x = whole[:13, :33]
    assert (native.forward(x, x.T) == 33).all()
    assert (native.weight_gradient(x, x) == 13).all()


@needs_kernel
def test_gradients_are_those_of_the_reference() -> None:
    x, w, g = matrix(0, 2, 50, 70), matrix(1, 70, 90).astype(jnp.float32), matrix(2, 2, 50, 90)
    results = []
    for kernels in ("xla", "native"):
        out, pull = jax.vjp(lambda x, w, kernels=kernels: product(x, w, 0, kernels), x, w)
        results.append((out, *pull(g)))
    for mine, theirs in zip(*reversed(results), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(wide(mine), wide(theirs), rtol=2.0**-7, atol=2.0**-7)


@needs_kernel
def test_the_loss_is_that_of_the_reference() -> None:
    x, head, bias = matrix(0, 60, 32), 0.1 * matrix(1, 32, 97).astype(jnp.float32), jnp.zeros(97)
    targets, weights = jnp.arange(60) % 97, jnp.ones(60)

    def value_and_gradient(products: str):
        return jax.value_and_grad(
            lambda x, head: cross_entropy(x, head, bias, targets, weights, chunk=16, products=products), argnums=(0, 1)
        )(x, head)

    both = (jax.tree.leaves(value_and_gradient(products)) for products in ("native", "xla"))
    for mine, theirs in zip(*both, strict=True):
        np.testing.assert_allclose(wide(mine), wide(theirs), rtol=2.0**-7, atol=2.0**-9)


@needs_kernel
def test_the_same_bits_each_time_and_from_many_threads() -> None:
    x, w = matrix(0, 301, 1100), matrix(1, 1100, 333)
    functions: list[Callable[[], jax.Array]] = [
        lambda: native.forward(x, w, jnp.float32),
        lambda: native.input_gradient(x, w.T),
        lambda: native.weight_gradient(x, x),
    ]
    first = [np.asarray(f()) for f in functions]
    with ThreadPoolExecutor(8) as pool:
        again = list(pool.map(lambda n: np.asarray(functions[n % 3]()), range(48)))
    assert all(np.array_equal(array, first[n % 3]) for n, array in enumerate(again))


@needs_kernel
def test_float32_is_refused() -> None:
    x = jnp.ones((2, 2), jnp.float32)
    with pytest.raises(UserError, match="bfloat16 only"):
        product(x, x, 0, "native")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere that is the refusal")
def test_without_a_compiler_the_reason_is_given(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    if MISSING is not None and "compiler" not in MISSING:
        pytest.skip(MISSING)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match=r'there is no C\+\+ compiler.*take products="xla"'):
        native.load.__wrapped__()


@needs_kernel
def test_a_compiler_that_fails_leaves_nothing_behind(tmp_path) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho 'error: no such luck' >&2\nexit 1\n")
    compiler.chmod(0o755)
    code = "from polyturn.model import native; native.load()"
    environment = {**os.environ, "CXX": str(compiler), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "cannot be built" in done.stderr
    assert "no such luck" in done.stderr
    assert not any(path.is_file() for path in (tmp_path / "cache").rglob("*"))
