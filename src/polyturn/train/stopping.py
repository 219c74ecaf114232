"""Stop between two steps and lose nothing: on SIGTERM, on Ctrl-C, or when the time is up.

A scheduler that takes a machine back sends SIGTERM and gives some seconds. The signal is only noted here; the loop
saves after the steps under way, and the same command goes on later. A second signal does what it always does.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from polyturn.train.hosts import anyone
from polyturn.utils.signals import on_signal

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Whether this process wants to stop."""

    def __init__(self, stop_after: float = float("inf")) -> None:
        self._deadline = time.monotonic() + stop_after
        self.signal: signal.Signals | None = None

    @property
    def wanted(self) -> bool:
        """A signal has come, or the time is up."""
        return self.signal is not None or time.monotonic() >= self._deadline


@contextmanager
def stopping(stop_after: float = float("inf")) -> Iterator[Stop]:
    """Note SIGTERM and SIGINT instead of dying of them, until the body ends.

    After a body that ended well although a signal came, the process exits with code 0: what was asked of it is done. So
    do the others of its job, and none before the body of each has ended.

    Args:
        stop_after: seconds from now after which to stop.
    """
    stop = Stop(stop_after)

    def note(number: signal.Signals) -> None:
        stop.signal = number
        os.write(2, f"\n{number.name}: stopping after the steps under way; once more stops at once.\n".encode())

    with on_signal(note, *SIGNALS):
        yield stop
    if anyone(stop.signal is not None):
        raise SystemExit(0)
