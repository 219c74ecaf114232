"""Freed memory that stays: the next array of its size costs no page faults."""

import subprocess
import sys

import pytest

CODE = """
import resource, sys
from polyturn.utils.memory import keep_freed

kept = keep_freed()
def faults():
    bytearray(256 << 20)  # taken, zeroed and freed
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
first, second = faults(), faults()
print(kept, second - first)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of the GNU C library")
def test_memory_is_used_again_without_page_faults() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    if kept == "False":
        pytest.skip("another C library")
    assert int(faults) < 1000  # 65,536 pages of 4 KiB otherwise
