"""The products of training in C++: `Compute(products="native")`, for CPUs with AVX512-BF16.

The three functions here are those of `model/products.py`, which stay the reference and the default. The C++ file
beside this one is compiled by the machine's own compiler when it is first needed, into the user's cache folder; later
processes load what is there. Where that cannot be, or on a mesh, training with it is refused with the reason; nothing
falls back.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from polyturn.parallel.collectives import bound
from polyturn.utils.atomic import replacing
from polyturn.utils.errors import UserError

SOURCE = Path(__file__).with_name("products.cc")
FLAGS = ("-O3", "-std=c++17", "-fPIC", "-shared", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512bf16")
TARGET = "polyturn_product"

# as in the C++ file
PLAIN, RIGHT_TRANSPOSED, LEFT_TRANSPOSED = 0, 1, 2
ROWS = 12


def forward(x: jax.Array, w: jax.Array, out: DTypeLike = jnp.bfloat16) -> jax.Array:
    """`x [M, K] @ w [K, N] -> [M, N]`, bfloat16, accumulated in float32; `out` may be float32. Raises like `load`."""
    return _call(x, w, PLAIN, (x.shape[0], w.shape[1]), out)


def input_gradient(g: jax.Array, w: jax.Array) -> jax.Array:
    """`g [M, N] @ w [K, N] transposed -> [M, K]`, bfloat16, accumulated in float32. Raises like `load`."""
    return _call(g, w, RIGHT_TRANSPOSED, (g.shape[0], w.shape[0]), jnp.bfloat16)


def weight_gradient(x: jax.Array, g: jax.Array) -> jax.Array:
    """`x [M, K] transposed @ g [M, N] -> [K, N]`, from bfloat16, float32. Raises like `load`."""
    return _call(x, g, LEFT_TRANSPOSED, (x.shape[1], g.shape[1]), jnp.float32)


def _call(a: jax.Array, b: jax.Array, kind: int, shape: tuple[int, int], dtype: DTypeLike) -> jax.Array:
    load()
    if bound():  # JAX's calls of foreign functions do not say what varies over a mesh
        raise UserError('products="native" computes on one device, without a mesh; take products="xla" on this one.')
    if a.dtype != jnp.bfloat16 or b.dtype != jnp.bfloat16:
        raise UserError('products="native" computes in bfloat16 only; take products="xla" or dtype="bfloat16".')
    # the kernel's workspace for the left operand, as a result that nobody reads: XLA then finds the memory for it
    room = -(-a.shape[0] // 2) * -(-a.shape[1] // ROWS) * ROWS if kind == LEFT_TRANSPOSED else 1
    results = (jax.ShapeDtypeStruct(shape, dtype), jax.ShapeDtypeStruct((room,), jnp.uint32))
    return jax.ffi.ffi_call(TARGET, results)(a, b, kind=np.int32(kind))[0]


@cache
def load() -> None:
    """Make the kernel known to JAX in this process, and build it first if it has never been.

    Raises:
        UserError: the processor, the system or JAX's backend is another, there is no compiler, or it fails.
    """
    if reason := _missing():
        raise UserError(f'products="native" cannot be used: {reason}; take products="xla".')
    library = ctypes.cdll.LoadLibrary(str(_built()))
    jax.ffi.register_ffi_target(TARGET, jax.ffi.pycapsule(library.polyturn_product), platform="cpu")


def _missing() -> str | None:
    """What this machine lacks to run or build the kernel."""
    if jax.default_backend() != "cpu":
        return f"it is for CPUs, and JAX computes on {jax.default_backend()}"
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return f"it is for Linux on x86-64, and this is {platform.system()} on {platform.machine()}"
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    if "avx512_bf16" not in flags.split():
        return "the processor has no AVX512-BF16"
    if _compiler() is None:
        return "it is built on first use, and there is no C++ compiler (g++, clang++, or the one that CXX names)"
    return None


def _compiler() -> str | None:
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]
    return next((found for found in map(shutil.which, names) if found), None)


def _built() -> Path:
    """The compiled kernel in the cache folder, put there in one step if it is missing."""
    compiler = _compiler()
    assert compiler is not None
    told = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    made_of = (SOURCE.read_text(), *FLAGS, told, version("jaxlib"))
    digest = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "polyturn"
    library = folder / f"products-{digest}.so"
    if not library.exists():
        with replacing(library) as temporary:
            command = [compiler, *FLAGS, "-isystem", jax.ffi.include_dir(), str(SOURCE), "-o", str(temporary)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                what = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
                raise UserError(f'products="native" cannot be built by {compiler} ({what}); take products="xla".')
    return library
