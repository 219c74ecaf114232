"""How the processes of a job end together, without any training."""

import os
import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

JOB = """
import sys, time
from polyturn.parallel.start import processes
with processes(sys.argv[1], 2, int(sys.argv[2])):
    if sys.argv[2] == "1":
        {second}
    print("what is still to be flushed")
    time.sleep(200)
"""


def codes(second: str, stdout: int) -> list[int]:
    """The exit codes of two processes of which the second does `second` while the first waits."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-c", JOB.format(second=second), address]
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONUNBUFFERED": ""}
    children = [
        subprocess.Popen([*command, str(index)], stdout=stdout, stderr=subprocess.DEVNULL, env=env)
        for index in range(2)
    ]
    try:
        return [child.wait(30) for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_an_exit_code_of_one_is_that_of_all() -> None:
    """Though no process has asked for a device yet, and none gets one without the others."""
    assert codes("sys.exit(5)", subprocess.DEVNULL) == [5, 5]


def test_a_process_whose_output_nobody_reads_ends_with_the_others() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert codes("raise ValueError('broken')", writer) == [1, 1]
    finally:
        os.close(writer)
