"""What a child notes down of a program: its printed values, and in a batch its output. Runs in the child.

Values are taken from calls of `print`, as text (`values.dumps`) at the moment of the call. A program could
reach these records and change them; it would change only its own answer, which it may give as it likes
anyway. The expected value is never in this process.
"""

from __future__ import annotations

import builtins
import io
import sys

from .values import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_print = builtins.print


class Recorder:
    """Stands in for `print` and keeps what it printed on stdout.

    limit: characters of tagged JSON kept in all, and items of one value. An ordinary value takes about as
    many characters as its printed text, so a program within its output limit stays within this one.
    """

    def __init__(self, limit: int) -> None:
        self.calls: list[str] = []
        self.full = False
        self._room = limit
        self._texts: list[str] = []
        self._separator = " "
        self._stdout = sys.stdout

    def print(
        self,
        *args: object,
        sep: str | None = " ",
        end: str | None = "\n",
        file: object = None,
        flush: bool = False,
    ) -> None:
        """Do what `print` does, then note the arguments."""
        if file is not None and file is not self._stdout:
            return _print(*args, sep=sep, end=end, file=file, flush=flush)  # pyright: ignore
        texts = [arg if type(arg) is str else str(arg) for arg in args]
        _print(*texts, sep=sep, end=end, flush=flush)
        if self.full or sys.stdout is not self._stdout:
            return
        call = "[" + ",".join([dumps(arg, self._room) for arg in args]) + "]"
        self._room -= len(call)
        if self._room < 0:
            self.full = True
            return
        self.calls.append(call)
        if texts:
            self._texts = texts
            self._separator = " " if sep is None else sep

    def last_text(self) -> str:
        """The text of the last call that had arguments, without its end."""
        return self._separator.join(self._texts)


class CappedBytes(io.BytesIO):
    """The stdout or stderr of one program of a batch; `overflow` is called beyond `limit` bytes."""

    def __init__(self, limit: int, overflow: Callable[[], None]) -> None:
        super().__init__()
        self._room = limit
        self._overflow = overflow

    def write(self, data: bytes, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take the bytes, or as many as fit and then overflow."""
        self._room -= len(data)
        if self._room < 0:
            super().write(data[: self._room])
            self._overflow()
        return super().write(data)

    def close(self) -> None:
        """Stay readable: a program may close its stdout."""


def text_stream(target: CappedBytes, errors: str) -> io.TextIOWrapper:
    """A text stream as Python makes for stdout, without waiting for a full buffer."""
    return io.TextIOWrapper(target, encoding="utf-8", errors=errors, newline="\n", write_through=True)
