"""Keeps the memory of a zygote shared with its children: a page that one of them writes to is copied, which costs time.

Two things write to what is only read: the garbage collector, and the counting of references. Both leave alone what was
there before `settle`. A program can tell by its speed, and by what `sys.getrefcount` says. docs/benchmarks.md has
what that saves.
"""

from __future__ import annotations

import ctypes
import gc
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_IMMORTAL = 0xFFFFFFFF


def settle() -> None:
    """Have all objects that are there stay for ever, as they are. The last thing before the first fork."""
    gc.collect()
    _make_immortal(gc.get_objects())
    gc.freeze()


def _make_immortal(pending: list[Any]) -> None:
    """Make these objects, and all that they refer to, immortal (PEP 683): their references are no longer counted.

    CPython has no call for it, so the count is set in place, to one that 3.12 and 3.13 leave as it is. Free-threaded
    and 32-bit builds count in another way, and later versions may: there, nothing is done.
    """
    ordinary = sys.implementation.name == "cpython" and sys.byteorder == "little" and sys.maxsize > 1 << 32
    if not ordinary or "t" in sys.abiflags or sys.version_info >= (3, 14):
        return
    found: dict[int, Any] = {}
    while pending:
        fresh = {id(each): each for each in pending if id(each) not in found}
        found |= fresh
        pending = gc.get_referents(*fresh.values())
        for each in fresh.values():
            if type(each) is type(settle.__code__):  # which the collector does not look into
                pending += [each.co_consts, each.co_names, *each.co_varnames]
    for address in found:
        ctypes.c_uint32.from_address(address).value = _IMMORTAL
