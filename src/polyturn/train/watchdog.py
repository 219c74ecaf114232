"""A thread that ends a process whose work has hung, so that a job fails with a reason instead of standing still.

A device or a network that dies in the middle of a collective leaves every process of a job waiting without an error.
The loop says what it is about to do and how long that may take; if the time passes, the stacks of all threads are
written down and the process exits with code 3, for a scheduler to start it anew.
"""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

EXIT = 3
LOOK_EVERY_S = 1.0


class Watchdog:
    """Knows what is being done and until when."""

    def __init__(self, stacks: Path, linger: float = 0.0) -> None:
        self._stacks, self._linger = stacks, linger
        self._expected = ("start", float("inf"), float("inf"))
        self._over = threading.Event()

    def expect(self, what: str, seconds: float) -> None:
        """From now on `what` is being done, and takes `seconds` at most. Costs nothing to speak of."""
        self._expected = (what, seconds, time.monotonic() + seconds)

    def _watch(self) -> None:
        while not self._over.wait(min(LOOK_EVERY_S, max(self._expected[2] - time.monotonic(), 0.01))):
            what, seconds, until = self._expected
            if time.monotonic() >= until:
                self._bite(what, seconds)

    def _bite(self, what: str, seconds: float) -> None:
        said = (
            f"polyturn: {what} took longer than {seconds:,.0f} s and has probably hung; run again to go on from the "
            f"newest checkpoint, or raise step_deadline if it is only slow. Where every thread stood: {self._stacks}"
        )
        unwritable = suppress(OSError, ValueError)  # a full disk, a pipe that nobody reads: nothing may stop the end
        with unwritable:
            print(said, file=sys.stderr, flush=True)
        with unwritable, open(self._stacks, "w") as handle:
            handle.write(f"{what}, after {seconds:,.0f} s\n")
            handle.flush()
            faulthandler.dump_traceback(handle)
        with unwritable:
            faulthandler.dump_traceback(sys.__stderr__ or 2)
        time.sleep(self._linger)
        os._exit(EXIT)


@contextmanager
def watchdog(stacks: Path, linger: float = 0.0) -> Iterator[Watchdog]:
    """Watch while the body runs.

    Args:
        stacks: the file for the stacks of all threads.
        linger: seconds between writing them and the end of the process.
    """
    dog = Watchdog(stacks, linger)
    thread = threading.Thread(target=dog._watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield dog
    finally:
        dog._over.set()
        thread.join()
