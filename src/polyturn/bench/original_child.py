"""What the released grader does to one program, up to the comparison. Runs in the sandbox's child (`in_child.py`).

The semantics, each odd one of them, are those of docs/graders.md. The expected value is not here, so every cast that
its type could call for is made, and the results are told by one recorded print.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import itertools
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FrameType
    from typing import Any

REPORT = "original-grader"  # what the recorded print starts with
LARGEST = 100_000  # characters and items of a printed value that are told; no expected value has as many
_SHOWN = 10_000  # characters of the program's output that are told
_DEPTH = 100

# What the released grader takes away from programs before it runs them.
_OS = (
    "kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames truncate replace "
    "unlink fchmod fchown chmod chown chroot lchflags lchmod lchown getcwd chdir"
).split()
_MODULES = ("ipdb", "joblib", "resource", "tkinter")
_RELEASED_DEPTH = 7  # calls above a program's first there, which bound how deep it can recurse


class TimeoutException(Exception):
    """The alarm: an Exception, so that a program may catch it, and as the released grader does."""


def run(source: str, alarm_s: float) -> None:
    """Run a program and print the report: (REPORT, error, output, value, series).

    error: (type, message, line) of the exception that ended the program, or None. output: what it wrote. value: the
    results of the casts of the value it printed last (`casts`), or None where there is none. series: see `series`.
    """
    tell = builtins.print
    _take_away(source)
    namespace: dict[str, Any] = {"__name__": "__main__", "print_stack": [], "builtins": builtins}
    namespace["print"] = _recording(namespace)
    sys.setrecursionlimit(1000 + _depth() - _RELEASED_DEPTH)
    signal.signal(signal.SIGALRM, _raise_timeout)
    signal.setitimer(signal.ITIMER_REAL, alarm_s)
    error, output, value, array = None, "", None, None
    stream = io.StringIO()
    try:
        error = _execute(source, namespace, stream)
        printed = namespace["print_stack"][-1]["args"][0]
        array = series(printed)
        value = casts(printed)
    except TimeoutException as alarm:
        error = error or _described(alarm, str(alarm))
    except Exception:  # nothing was printed, or the program spoilt the record of it
        value = None
    signal.setitimer(signal.ITIMER_REAL, 0)
    with contextlib.suppress(ValueError):  # the program closed it
        output = stream.getvalue()[:_SHOWN]
    tell((REPORT, error, output, value, array))


def _recording(namespace: dict[str, Any]) -> Any:
    """A print that notes its arguments where the program can reach them, as it can what prints them in the end."""

    def print(*args, **kwargs):  # without annotations, as the program may see
        namespace["print_stack"].append({"args": args, "kwargs": kwargs})
        return namespace["builtins"].print(*args, **kwargs)

    return print


def _take_away(source: str) -> None:
    for name in _OS:
        setattr(os, name, None)
    for name in ("exit", "quit"):
        setattr(builtins, name, None)
    for name in _MODULES:
        sys.modules[name] = None  # pyright: ignore[reportArgumentType]: an import of it then fails
    if "shutil" in source or "tempfile" in source or "subprocess" in source:  # importing them takes long
        import shutil
        import subprocess

        shutil.rmtree = shutil.move = shutil.chown = subprocess.Popen = None  # pyright: ignore
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        numpy.set_printoptions(legacy="1.25")  # the recipe's numpy 1.21 writes scalars in containers as numbers


def _depth() -> int:
    """How many calls deep this one is."""
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def _raise_timeout(number: int, frame: FrameType | None) -> None:
    raise TimeoutException("the alarm interrupted it")


def _execute(source: str, namespace: dict[str, Any], stream: io.StringIO) -> tuple[object, ...] | None:
    """Run the rewritten program. What it raises does not matter but for the report, unless it has no text."""
    with contextlib.redirect_stdout(stream):
        try:
            exec(_rewritten(source), namespace)
        except Exception as error:
            return _described(error, str(error))
    stream.getvalue()  # raises where the program closed it, which is then no value
    return None


def _rewritten(source: str) -> str | CodeType:
    """The program with the value of its last statement wrapped in a call of print, where it has a value.

    The value of an assignment counts; a call of a name that starts with "print" does not.
    """
    try:
        tree = ast.parse(source)
        last: Any = tree.body[-1]
        value = last.value
        name = getattr(getattr(value, "func", None), "id", "")
        if value is None or name.startswith("print"):
            return source
        last.value = ast.Call(ast.Name("print", ast.Load()), [value], [])
        ast.fix_missing_locations(ast.copy_location(last.value, value))
    except Exception:  # not a program, or its last statement has no value
        return source
    return compile(tree, "<string>", "exec", dont_inherit=True)


def _described(error: Exception, message: str | None) -> tuple[object, ...]:
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<string>":
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError):
        line = error.lineno
    return type(error).__name__[:200], (message or "")[:_SHOWN], line


def series(value: Any) -> tuple[object, ...] | None:
    """The array of a pandas Series (`_array`), which is compared as a whole; None for anything else."""
    if str(type(value)) != "<class 'pandas.core.series.Series'>":
        return None
    return _array(value.to_numpy(), _Room(), 0)


def casts(value: Any) -> tuple[object, object, object, object]:
    """The printed value cast to str, int, float and list, each in a tuple of one; an empty tuple where that fails.

    Tuples in a list become lists if the first is one; numpy scalars of usual types and arrays become Python values.
    Exceptions of this first step are raised.
    """
    if type(value) is list:
        if value and type(value[0]) is tuple:
            value = [list(row) for row in value]
    elif "numpy" in sys.modules:
        value = _from_numpy(value)
    text = _cast(str, value)
    if text and len(text[0]) > LARGEST:
        text = ()
    number = _cast(int, value)
    if number and number[0].bit_length() > LARGEST // 10:
        number = ()
    return text, number, _cast(float, value), _cast(_items, value)


def _from_numpy(value: Any) -> Any:
    numpy: Any = sys.modules["numpy"]
    kind = type(value)
    if kind in (numpy.uint8, numpy.int16, numpy.int32, numpy.int64):
        return int(value)
    if kind in (numpy.float16, numpy.float32, numpy.float64):
        return float(value)
    if kind is numpy.bool_:
        return bool(value)
    return value.tolist() if kind is numpy.ndarray else value


def _cast(kind: Any, value: Any) -> tuple[Any, ...]:
    try:
        result = kind(value)
    except BaseException:  # as good as any other failure, and the other casts remain
        return ()
    return (result,) if kind is _items or type(result) is kind else ()


class _Room:
    """Counts what is told of one value."""

    def __init__(self) -> None:
        self.left = LARGEST

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise ValueError("the value is too large to be an expected one")


def _items(value: Any) -> list[object]:
    """list(value), in plain form."""
    room = _Room()
    items = list(value) if type(value) in (list, tuple, str) else list(itertools.islice(value, LARGEST + 1))
    return [_plain(item, room, 1) for item in items]


def _plain(item: Any, room: _Room, depth: int) -> object:
    """A plain value that equals what `item` equals, among the values that JSON has.

    The empty tuple stands for what equals none of them; ("array", ..) for a numpy array, whose == is its own.
    """
    kind = type(item)
    room.take(1)
    if depth > _DEPTH:
        raise ValueError("the value is nested too deep")
    if item is None or kind is bool or kind is float:
        return item
    if isinstance(item, str):
        room.take(len(item))
        return str.__str__(item)
    if kind is int:
        room.take(item.bit_length() // 10)
        return item
    if isinstance(item, list):
        return [_plain(each, room, depth + 1) for each in item]
    if isinstance(item, dict):
        return {_key(key, at): _plain(each, room, depth + 1) for at, (key, each) in enumerate(item.items())}
    if isinstance(item, tuple | set | frozenset | bytes):
        return ()
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(item, numpy.ndarray):
            return _array(item, room, depth)
        if isinstance(item, numpy.generic) and type(item.item()) is not kind:
            return _plain(item.item(), room, depth + 1)
    if kind is complex:
        return item.real if item.imag == 0 else ()
    for number in (int, float):  # fractions, decimals, classes of numbers
        try:
            if item == number(item):
                return _plain(number(item), room, depth + 1)
        except Exception:
            continue
    return ()


def _key(key: object, at: int) -> object:
    """A key that equals what `key` does, or no text at all."""
    return str.__str__(key) if isinstance(key, str) else at


def _array(array: Any, room: _Room, depth: int) -> tuple[object, ...]:
    room.take(array.size)
    flat = [_plain(item, room, depth + 1) for item in array.ravel().tolist()]
    return "array", array.dtype.name, tuple(array.shape), flat


if __name__ == "child":
    run(*globals()["task"])
