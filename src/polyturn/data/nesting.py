"""Deep nesting, read alike wherever a worker was called from.

How deep CPython's parsers of Python and JSON go depends on how deep their caller already is: a document that one runner
reads another would refuse. What fails for want of depth is tried again in a thread of its own, which begins at the
top; so the outcome is that of a fresh thread everywhere.
"""

import threading
from collections.abc import Callable
from typing import Any


def with_room(work: Callable[[], Any]) -> Any:
    """What `work` returns, or raises, in a thread that has done nothing else."""
    try:
        return work()
    except (RecursionError, MemoryError):
        pass
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.extend((True, work()))
        except Exception as error:
            outcome.extend((False, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    done, result = outcome
    if not done:
        raise result
    return result
