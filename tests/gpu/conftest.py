"""Tests that need a GPU. Without one they are skipped; `make test-gpu` runs them where there is one.

They import nothing but JAX, optax, NumPy and pytest, so that they also run in an environment made for something else.
"""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "model"))  # attention_oracle


@pytest.fixture(scope="session", autouse=True)
def gpu() -> None:
    """Skip where JAX has no GPU. The settings of tests/conftest.py keep JAX off GPUs unless the environment says."""
    import jax

    backend = jax.default_backend()
    if backend != "gpu" and "cuda" in os.environ.get("JAX_PLATFORMS", ""):
        pytest.fail(f"JAX was asked for a GPU and runs on {backend}: no GPU, or a JAX without support for it.")
    if backend != "gpu":
        pytest.skip(f"JAX runs on {backend} here; on a machine with a GPU: make test-gpu")
