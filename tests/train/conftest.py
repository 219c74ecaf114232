"""What tests of training share: the small run beside them, which they also start as a program, and compiled code.

Most of a small run is compiling, and its processes compile the same things.
"""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

_CACHE = tempfile.TemporaryDirectory(prefix="polyturn_jax_")
os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
