"""The product of activations and a weight, and its two gradients: nine tenths of all the work of training.

Operands are in the compute dtype, sums in float32. JAX's own derivative of such a product would hand a float32
cotangent to both backward products, and the processor's bfloat16 units would idle; so the rule is written out here,
from three plain functions of matrices (`forward`, `input_gradient`, `weight_gradient`).

On a mesh the weight is cut along fsdp: it is gathered, in the compute dtype, where it is used, forwards and again
backwards, and its float32 gradient goes back summed and cut. So no device ever keeps more than one layer's whole
weights.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from polyturn.model import native
from polyturn.model.ops import row
from polyturn.parallel.collectives import alike, gather, scatter_sum


def product(x: jax.Array, w: jax.Array, cut: int = 0, kernels: str = "xla") -> jax.Array:
    """`x [..., K] @ w [K, N] -> [..., N]` in x's dtype.

    Args:
        x: in the compute dtype.
        w: in any shape that is `[K, N]` when reshaped, so that what is kept for the pass backwards is the weight itself
            and no other form of it. It is cast where it is used; its gradient keeps its own dtype. On a mesh, its
            dimension `cut` is cut along fsdp.
        kernels: `Compute.products`.
    """
    return _product(*alike(x, w), cut, by(kernels))


class Kernels(NamedTuple):
    """The three products of matrices; see the functions of these names."""

    forward: Callable[[jax.Array, jax.Array], jax.Array]
    input_gradient: Callable[[jax.Array, jax.Array], jax.Array]
    weight_gradient: Callable[[jax.Array, jax.Array], jax.Array]


def by(kernels: str) -> Kernels:
    """The products of that name. Raises UserError where `native` cannot be used."""
    if kernels == "native":
        native.load()
        return Kernels(native.forward, native.input_gradient, native.weight_gradient)
    return Kernels(forward, input_gradient, weight_gradient)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _product(x: jax.Array, w: jax.Array, cut: int, kernels: Kernels) -> jax.Array:
    return kernels.forward(_rows(x), _whole(w, x, cut)).reshape(*x.shape[:-1], -1)


def _forward(x: jax.Array, w: jax.Array, cut: int, kernels: Kernels) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _product(x, w, cut, kernels), (x, w)


def _backward(
    cut: int, kernels: Kernels, saved: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, w = saved
    g = _rows(g.astype(x.dtype))
    d_x = kernels.input_gradient(g, _whole(w, x, cut)).reshape(x.shape)
    whole = list(w.shape)
    whole[cut] = -1
    d_w = scatter_sum(kernels.weight_gradient(_rows(x), g).reshape(whole), "fsdp", cut)
    return d_x, d_w.astype(w.dtype)


_product.defvjp(_forward, _backward)


def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """`x [..., N] + bias [N]` in x's dtype."""
    return _add_bias(*alike(x, bias))


@jax.custom_vjp
def _add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    return x + row(bias, x)


def _add_bias_forward(x: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _add_bias(x, bias), bias


def _add_bias_backward(bias: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    return g, column_sums(_rows(g)).astype(bias.dtype)


_add_bias.defvjp(_add_bias_forward, _add_bias_backward)


def column_sums(g: jax.Array) -> jax.Array:
    """`g [M, N] -> [N]`, summed over the rows, float32.

    As a product with ones: XLA on CPUs is ten times slower at plain sums over the outer dimension of an array.
    """
    ones = jnp.ones((g.shape[0], 8), g.dtype)  # one column would miss the fast kernel
    return weight_gradient(ones, g)[0]


def _rows(x: jax.Array) -> jax.Array:
    return x.reshape(-1, x.shape[-1])


def _whole(w: jax.Array, x: jax.Array, cut: int) -> jax.Array:
    """The weight of all devices along fsdp as a matrix `[K, N]`, in x's dtype."""
    return gather(w.astype(x.dtype), "fsdp", cut).reshape(x.shape[-1], -1)


def forward(x: jax.Array, w: jax.Array) -> jax.Array:
    """`x [M, K] @ w [K, N] -> [M, N]`, all in one dtype, accumulated in float32."""
    return _dot(x, w, (1, 0)).astype(x.dtype)


def input_gradient(g: jax.Array, w: jax.Array) -> jax.Array:
    """`g [M, N] @ w [K, N] transposed -> [M, K]`, all in one dtype, accumulated in float32."""
    return _dot(g, w, (1, 1)).astype(g.dtype)


def weight_gradient(x: jax.Array, g: jax.Array) -> jax.Array:
    """`x [M, K] transposed @ g [M, N] -> [K, N]`, float32.

    The rows are summed over as two dimensions where they can be. It is the same product, but XLA on CPUs has a bfloat16
    kernel only for rows times columns: it then turns x about once, and otherwise computes in float32 at a third of the
    speed.
    """
    m = x.shape[0]
    if m % 2:
        return _dot(x, g, (0, 0))
    x, g = x.reshape(2, m // 2, -1), g.reshape(2, m // 2, -1)
    return jax.lax.dot_general(x, g, (((0, 1), (0, 1)), ((), ())), preferred_element_type=jnp.float32)


def _dot(a: jax.Array, b: jax.Array, contracted: tuple[int, int]) -> jax.Array:
    dims = (((contracted[0],), (contracted[1],)), ((), ()))
    return jax.lax.dot_general(a, b, dims, preferred_element_type=jnp.float32)
