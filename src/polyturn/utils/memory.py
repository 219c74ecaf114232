"""Memory that is used again and again, kept from going back to the system in between."""

import ctypes
import sys

# malloc.h of the GNU C library
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed() -> bool:
    """Let the C library keep memory that is freed, for the next array that needs some. Returns whether it can.

    A training step on a CPU takes and frees gigabytes. By default each large array is new memory from the system, a
    page fault and a page of zeros for every 4 KiB of it: a quarter of the processor time of a step of a small model.
    Call it before JAX starts its threads, and in processes that do one thing and end, since nothing goes back until
    then. Only the GNU C library knows these settings; elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # one arena: others have a limited size and go to the system beyond it
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    return mallopt is not None and all([mallopt(*setting) == 1 for setting in settings])
