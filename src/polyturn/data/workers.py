"""Daft's worker processes on this machine, watched: whichever is killed is told, and none outlives its query.

By itself, Daft 0.7 waits for a new process to call back without a look at the process: for ever, if it is gone. And
where a query fails, or is not read to its end, its threads wait for processes still at work; Python cannot end well
while they do.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from subprocess import TimeoutExpired
from typing import Any

from daft.execution import udf

from polyturn.data.runner import KILLED

OPEN: set["Watched"] = set()


def watch() -> None:
    """Have Daft use `Watched` in this process."""
    udf.UdfHandle = Watched


def end() -> None:
    """Kill the processes of all queries of this process, and wait until Daft has let go of them."""
    deadline = time.monotonic() + 10
    while (handles := list(OPEN)) and time.monotonic() < deadline:
        for handle in handles:
            if hasattr(handle, "process"):
                handle.process.kill()
        time.sleep(0.01)


class Watched(udf.UdfHandle):
    """A worker process as Daft holds it, which raises `KILLED` where a signal has ended the process."""

    def __init__(self, udf_expr: Any) -> None:
        OPEN.add(self)
        called = threading.Event()
        threading.Thread(target=self._call_for_it, args=(called,), daemon=True).start()
        try:
            with self._told():
                super().__init__(udf_expr)
        except BaseException:
            OPEN.discard(self)
            raise
        finally:
            called.set()

    def eval_input(self, input: Any) -> Any:
        """See Daft's."""
        with self._told():
            return super().eval_input(input)

    def teardown(self, timeout: float = 5.0) -> None:
        """See Daft's."""
        try:
            super().teardown(timeout)
        finally:
            OPEN.discard(self)

    def _call_for_it(self, called: threading.Event) -> None:
        """End the waiting for a process that has ended, by a call that says nothing."""
        while not called.wait(0.2):
            if hasattr(self, "process") and self.process.poll() is not None:
                with suppress(OSError), socket.socket(socket.AF_UNIX) as call:
                    call.settimeout(1)
                    call.connect(self.socket_path)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            with suppress(AttributeError, TimeoutExpired):
                if self.process.wait(1) < 0:
                    raise RuntimeError(KILLED) from error
            raise
