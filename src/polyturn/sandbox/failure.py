"""What a program's error looks like: its type, text and line, and a traceback of the program's own frames alone.

Loaded in every child, like all that `child.py` imports.
"""

from __future__ import annotations

import io
import sys

from .record import ERROR_TEXT, ERROR_TYPE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROGRAM = "<program>"
"""The file name of a program's code."""

_FRAMES = 64  # innermost frames kept of a traceback
own_excepthook = sys.excepthook


def describe(error: BaseException, source: str) -> tuple[dict[str, Any], bool]:
    """The error as plain fields, its line in the program and the program's own frames among them.

    Returns also whether a hook of the program's own has shown it.
    """
    line = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == PROGRAM:
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename == PROGRAM:
        line = error.lineno
    try:
        message = str(error)
    except BaseException:
        message = "<its text failed>"
    text, shown = "", False
    if not isinstance(error, SystemExit):
        if sys.excepthook is not own_excepthook:
            text = _call_hook(error)
            shown = bool(text)
        try:
            text = text or _traceback(error, source)
        except BaseException:  # a program that broke the standard library keeps its error, without the frames
            text = ""
    fields = {
        "type": type(error).__name__[:ERROR_TYPE],
        "message": message[:ERROR_TEXT],
        "line": line,
        "traceback": text[-ERROR_TEXT:],
    }
    return fields, shown


def show_source(source: str) -> None:
    """Let tracebacks and `inspect.getsource` find the program's lines, as if it were a file."""
    import linecache

    linecache.cache[PROGRAM] = (len(source), None, source.splitlines(keepends=True), PROGRAM)


def _call_hook(error: BaseException) -> str:
    """Show the error by the program's own `sys.excepthook`, with the frames from the program's on.

    Returns what that wrote to stderr, where it then stands too; nothing if the hook failed.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != PROGRAM:
        trace = trace.tb_next
    stream, sys.stderr = sys.stderr, io.StringIO()
    try:
        sys.excepthook(type(error), error.with_traceback(trace), trace)
    except BaseException:
        return ""
    finally:
        written, sys.stderr = sys.stderr, stream
        text = written.getvalue() if isinstance(written, io.StringIO) else ""
        if text:
            complain(text.removesuffix("\n"))
    return text


def _traceback(error: BaseException, source: str) -> str:
    import traceback

    show_source(source)  # again, for a program may have cleared the cache
    report: Any = traceback.TracebackException.from_exception(error, limit=-_FRAMES, compact=True)
    pending = [report]
    while pending:
        part = pending.pop()
        part.stack[:] = [frame for frame in part.stack if frame.filename == PROGRAM]
        if not part.stack:
            part.stack = None  # then no "Traceback" heading is written
        pending += [link for link in (part.__cause__, part.__context__, *(part.exceptions or ())) if link]
    return "".join(report.format())


def complain(message: object) -> None:
    """Write to the program's stderr, as far as there is one."""
    try:
        sys.stderr.write(f"{message}\n")
    except BaseException:
        return  # the program closed or replaced it, or its message has no text
