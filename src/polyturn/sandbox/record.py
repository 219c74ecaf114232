"""What a child notes down of a program: its printed values, and in a batch its output. Runs in the child.

Values are taken from calls of `print`, as text (`values.dumps`) at the moment of the call. A program could
reach these records and change them; it would change only its own answer, which it may give as it likes
anyway. The expected value is never in this process.
"""

from __future__ import annotations

import builtins
import io
import sys
from collections import deque

from .values import ITEM, Opaque, count_nodes, dumps, quote, too_large  # pyright: ignore[reportPrivateImportUsage]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_print = builtins.print


_ARGUMENTS = 1000  # of one call that are recorded one by one
_FEW_NODES = 16  # of two opaque values
_SLACK = 1 << 14  # characters, for programs whose output limit is tiny
ERROR_TEXT = 20_000  # characters kept of a message or traceback
ERROR_TYPE = 200


def most_nodes(output_bytes: int) -> int:
    """JSON nodes (`values.count_nodes`) that a child sends at most of one program, its frame's own included."""
    return output_bytes // 8 + 4096


def most_record(output_bytes: int) -> int:
    """Characters of tagged JSON that are kept of a program's printed values: about twice what their text takes."""
    return 2 * output_bytes + _SLACK


class Recorder:
    """Keeps what was printed on stdout by what stands in for `print`.

    It ends no program: only what was written counts against the output limit. A value whose record would be too large
    (numpy prints a large array in few words) is noted as opaque, and when all of them are, the oldest calls are
    forgotten. A program that has printed more than fits has only small values noted from then on, for writing those
    down takes its time.
    """

    def __init__(self, output_bytes: int) -> None:
        self._most_text = output_bytes
        self._most = self._room = self._effort = most_record(output_bytes)
        self._most_nodes = self._nodes = most_nodes(output_bytes) - 256
        self._small = self._most // 128
        self._kept: deque[tuple[str, int]] = deque()
        self._forgotten = 0
        self._texts: list[str] = []
        self._separator = " "
        self._stdout = sys.stdout

    def printer(self) -> Callable[..., None]:
        """What programs get for `print`: a plain function under that name, which can be copied and pickled as such."""
        note, stdout = self._note, self._stdout

        def print(
            *args: object,
            sep: str | None = " ",
            end: str | None = "\n",
            file: object = None,
            flush: bool = False,
        ) -> None:
            if file is not None and file is not stdout:
                return _print(*args, sep=sep, end=end, file=file, flush=flush)  # pyright: ignore
            texts = [arg if type(arg) is str else str(arg) for arg in args]
            _print(*texts, sep=sep, end=end, flush=flush)
            if sys.stdout is stdout:
                note(args, texts, sep)

        print.__module__, print.__qualname__, print.__doc__ = "builtins", "print", _print.__doc__
        print.__annotations__ = {}  # as the built-in one has none
        return print

    def _note(self, args: tuple[object, ...], texts: list[str], sep: str | None) -> None:
        self._keep(*self._record(args))
        if texts:
            self._texts = texts
            self._separator = " " if sep is None else sep

    def _record(self, args: tuple[object, ...]) -> tuple[str, int]:
        """The arguments of a call as a JSON list, and its nodes."""
        room = max(self._effort, self._small)
        parts: list[str] = []
        for arg in args[:_ARGUMENTS]:
            if room < 0:
                break
            parts.append(dumps(arg, room))
            room -= len(parts[-1]) + ITEM
        if len(parts) < len(args):
            parts.append(_more(len(args) - len(parts)))
        call = "[" + ",".join(parts) + "]"
        nodes = count_nodes(call, self._most_nodes) + 1
        if len(call) >= self._most or nodes > self._most_nodes:
            call = "[" + too_large(args[0]) + ("," + _more(len(args) - 1) if len(args) > 1 else "") + "]"
            nodes = _FEW_NODES
        self._effort -= len(call)
        return call, nodes

    def _keep(self, call: str, nodes: int) -> None:
        self._kept.append((call, nodes))
        self._room -= len(call) + 1
        self._nodes -= nodes
        while self._room < 0 or self._nodes < 0:
            call, nodes = self._kept.popleft()
            self._room += len(call) + 1
            self._nodes += nodes
            self._forgotten += 1

    def calls(self) -> str:
        """The calls that are kept as a JSON list of lists; the first stands for those that were forgotten, if any."""
        calls = [call for call, _ in self._kept]
        if self._forgotten:
            calls.insert(0, "[" + dumps(Opaque("...", f"<{self._forgotten} earlier calls of print>")) + "]")
        return "[" + ",".join(calls) + "]"

    def last_text(self) -> str:
        """The text of the last call that had arguments, without its end, as JSON.

        Cut where that would take more than twice the output limit: text of little but control characters, say.
        """
        text = self._separator.join(self._texts)[: self._most_text]
        quoted = quote(text)
        return quoted if len(quoted) <= self._most else quote(text[: self._most_text // 6])


def _more(count: int) -> str:
    return dumps(Opaque("...", f"<{count} more values>"))


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
