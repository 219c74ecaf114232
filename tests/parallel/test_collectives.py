"""Gradients through a mesh are those of one device, also through kernels that JAX knows nothing of."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.sharding import NamedSharding, PartitionSpec

from polyturn.parallel.collectives import gather, opaque, scatter_sum, total
from polyturn.parallel.mesh import MeshShape
from polyturn.parallel.rules import make_mesh


@jax.custom_vjp
def kernel(x: jax.Array, times: jax.Array) -> jax.Array:
    """Its own square, `times` over, by a kernel."""

    def square(x_ref, times_ref, out_ref):
        out_ref[...] = x_ref[...] * x_ref[...] * times_ref[...].astype(jnp.float32)

    return pl.pallas_call(square, out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype), interpret=True)(x, times)


kernel.defvjp(lambda x, times: (kernel(x, times), (x, times)), lambda r, g: (2 * r[0] * r[1].astype(g.dtype) * g, None))


def test_an_opaque_kernel_has_the_gradients_of_one_device() -> None:
    draw = np.random.default_rng(0)
    x, w = draw.standard_normal((4, 8), np.float32), draw.standard_normal((1, 8), np.float32)
    times = draw.integers(1, 5, (4, 8)).astype(np.int32)
    pull = draw.standard_normal((4, 8), np.float32)

    def value(w, x, times, pull):
        return total(jnp.sum(opaque(kernel, x * jnp.broadcast_to(w, x.shape), times) * pull), "data", "tensor")

    def plain(w, x):
        return jnp.sum((x * jnp.broadcast_to(w, x.shape)) ** 2 * times.astype(np.float32) * pull)

    wanted = jax.value_and_grad(plain)(jnp.asarray(w), jnp.asarray(x))
    mesh = make_mesh(MeshShape(2, 1, 4))
    cut, whole = PartitionSpec("data", "tensor"), PartitionSpec(None, "tensor")
    with jax.set_mesh(mesh):
        on = jax.shard_map(
            jax.value_and_grad(value), in_specs=(whole, cut, cut, cut), out_specs=(PartitionSpec(), whole)
        )
        cuts = (whole, cut, cut, cut)
        args = [jax.device_put(a, NamedSharding(mesh, c)) for a, c in zip((w, x, times, pull), cuts, strict=True)]
        ours = jax.jit(on)(*args)
    np.testing.assert_allclose(ours[0], wanted[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], wanted[1], rtol=1e-5)


def test_on_one_device_nothing_happens() -> None:
    x = jnp.arange(6.0).reshape(2, 3)
    for same in (total(x, "data"), gather(x, "fsdp", 0), scatter_sum(x, "fsdp", 0)):
        assert same is x
    ones = jnp.ones((2, 3), jnp.int32)
    np.testing.assert_allclose(opaque(kernel, x, ones), x**2)
