"""Do something about a signal instead of dying of it.

    with on_signal(note, signal.SIGTERM):
        ...

Only the first one counts: after it a second does what it always does, so that nothing makes a process unstoppable.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_signal(act: Callable[[signal.Signals], None], *numbers: signal.Signals) -> Iterator[None]:
    """Call `act` when the first of these signals comes, until the body ends. It may raise, in the body's place.

    Python hears signals on the main thread alone; on another one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}

    def as_before() -> None:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def hear(number: int, _frame: object) -> None:
        as_before()
        act(signal.Signals(number))

    for number in numbers:
        signal.signal(number, hear)
    try:
        yield
    finally:
        as_before()
