"""Calls between two children of one job: the one that holds a program, and the one that tests it.

The tests call the program's functions over a socket that carries plain values only, so the program never sees the
tests, nor the tests an object of the program's making: an answer that claims to equal everything arrives as text.
What is not plain stays where it is and is referred to: functions and iterators, which the other side can call and
step through, in both directions. Exceptions travel by name and arguments. A list, dict or set that a call changed is
changed on the caller's side too, at the top level of its arguments.

A message is a 4-byte length and tagged JSON (`values.py`):

    ["call", object, method, arguments, keywords]     object 0 with names for arguments: globals of the program
    ["return", value, {position: changed argument}]
    ["raise", names of the exception's classes, arguments, text]

A message takes 64 MiB of text, an item counted as 8 bytes, and values nested 97 deep. A value beyond that is opaque,
which equals nothing; and tests that call with one have asked too much of the channel: not the program's fault.
"""

from __future__ import annotations

import builtins
import os
import sys

from .record import ERROR_TEXT
from .values import Opaque, Tagged, dumps, dumps_all, loads, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_getpid = os.getpid  # a program may replace the one in the module
_MOST_BYTES = 64 << 20
_LIMIT = 64 << 20  # characters of one message, items counted as several (`values.ITEM`)
_WORDS = 200  # characters of a name
_TOO_MUCH = "the tests call with a value that is nested deeper than 97, or larger than 64 MiB: give a smaller one"
_PLAIN = (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, range, type(None), Opaque)


class RemoteError:
    """Marks an exception that was raised on the other side."""

    remote_text = ""


class RemoteRuntimeError(RemoteError, RuntimeError):
    """A function of the other side raised what only an iterator may."""


class ProgramEnded(RemoteError, BaseException):
    """The other side ended during a call."""


class CannotSend(BaseException):
    """These tests called with a value that the channel does not take."""


class NoFunctionError(RemoteError, NameError):
    """The other side's program has no such function."""


class Remote:
    """A function of the other side, or an iterator."""

    def __init__(self, peer: Peer, number: int, method: str = "()") -> None:
        self._peer = peer
        self._number = number
        self._method = method

    def __call__(self, *arguments: object, **keywords: object) -> object:
        """Call it, over there."""
        return self._peer.call(self._number, self._method, arguments, keywords)

    def __iter__(self) -> Remote:
        return self

    def __next__(self) -> object:
        return self._peer.call(self._number, "next", (), {})


class Peer:
    """One end of the channel.

    trouble: what ended the exchange, whatever became of the exception that told so; None while it goes well.
    """

    def __init__(self, fd: int, namespace: dict[str, Any] | None = None) -> None:
        """namespace: the globals that the other side may call by name; None for the side of the tests."""
        self._fd = fd
        self._strict = namespace is None
        self._pid = _getpid()
        self._namespace = namespace or {}
        self._objects: dict[int, Any] = {}
        self._exceptions: dict[str, type[BaseException]] = {}
        self.trouble: BaseException | None = None

    # ---- asking

    def call(self, number: int, method: str, arguments: tuple[object, ...], keywords: dict[str, object]) -> object:
        """Call an object of the other side. Returns what it returns, raises what it raises.

        ProgramEnded if the other side is gone, CannotSend if these are tests, and the arguments too large or too deep.
        """

        def question(fit: Callable[[Any], object]) -> list[object]:
            return ["call", number, method, [*map(fit, arguments)], {name: fit(keywords[name]) for name in keywords}]

        self._send(question, self._strict)
        while True:
            message = self._receive()
            if message is None:
                self.trouble = ProgramEnded("the program ended during a call")
                raise self.trouble
            kind, *rest = message
            if kind == "call":
                self._answer(*rest)
            elif kind == "return":
                value, changed = rest
                for position, new in changed.items():
                    _change(arguments[position], new)
                return value
            else:
                error = self._exception(*rest)
                if isinstance(error, StopIteration) and method != "next":
                    # It would end a loop of the caller as if all were done: as in a generator (PEP 479), it may not.
                    raise RemoteRuntimeError(f"a function raised StopIteration: {shown(error.value)}")
                raise error

    def globals(self, names: list[str]) -> dict[str, Any]:
        """Those of the other side's globals that exist: plain values as they are now, functions to be called."""
        found = self.call(0, "", tuple(names), {})
        # Only what was asked for: the other side may be a program that answers with names of the tests' own.
        return {name: found[name] for name in names if name in found} if isinstance(found, dict) else {}

    # ---- answering

    def serve(self) -> None:
        """Answer calls until the other side is gone."""
        while (message := self._receive()) is not None:
            self._answer(*message[1:])

    def _answer(self, number: int, method: str, arguments: list[Any], keywords: dict[str, Any]) -> None:
        try:
            before = [self._text(value) for value in arguments]
            if number == 0:
                value = {name: self._namespace[name] for name in arguments if name in self._namespace}
            elif method == "next":
                value = next(self._objects[number])
            else:
                value = self._objects[number](*arguments, **keywords)
            after = [self._text(value) for value in arguments]
            if _getpid() != self._pid:
                raise SystemExit  # a copy made with os.fork in the call: the answer is the other's to give
        except BaseException as error:
            if _getpid() != self._pid:
                raise
            names, given, words = [kind.__name__[:_WORDS] for kind in type(error).__mro__], error.args, _words(error)
            self._send(lambda fit: ["raise", names, [*map(fit, given)], words])
        else:
            changed = [i for i, text in enumerate(after) if text != before[i]]
            self._send(lambda fit: ["return", fit(value), {i: fit(arguments[i]) for i in changed}])

    # ---- messages

    def _send(self, message: Callable[[Callable[[Any], object]], list[object]], strict: bool = False) -> None:
        """Send the message, which is made by a function that each of its values goes through.

        Values that do not fit go as opaque, or if it is to be strict, CannotSend is raised.
        """
        text = dumps_all(message(lambda value: value), _LIMIT, self._stand_in)
        if text is None or len(text) > _MOST_BYTES:
            if strict:
                self.trouble = CannotSend(_TOO_MUCH)
                raise self.trouble
            text = self._cut(message)
        data = text.encode("ascii")
        view = memoryview(len(data).to_bytes(4, "big") + data)
        while view:
            view = view[os.write(self._fd, view) :]

    def _cut(self, message: Callable[[Callable[[Any], object]], list[object]]) -> str:
        """The text of a message without those of its values that are too deep, or for which there is no room."""
        room = _MOST_BYTES - (1 << 20)

        def fit(value: object) -> object:
            nonlocal room
            text = dumps_all([[value]], _LIMIT, self._stand_in)
            if text is None or len(text) > room:
                return Opaque(type(value).__name__[:_WORDS], "<too large or too deep to be passed on>")
            room -= len(text)
            return value

        return dumps(message(fit), sys.maxsize, self._stand_in)

    def _receive(self) -> list[Any] | None:
        """The next message; None if the other side is gone."""
        head = self._read(4)
        size = int.from_bytes(head, "big")
        if len(head) < 4 or size > _MOST_BYTES:
            return None
        body = self._read(size)
        if len(body) < size:
            return None
        message = loads(str(body, "ascii"), self._refer)
        if not isinstance(message, list) or [type(part) for part in message] not in _SHAPES:
            raise ValueError("not a message")
        return message

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                more = os.read(self._fd, size - len(data))
            except ConnectionError:
                break
            if not more:
                break
            data += more
        return bytes(data)

    def _text(self, value: object) -> str:
        return dumps(value, _LIMIT, self._stand_in)

    def _stand_in(self, value: Any) -> object:
        """What to send for a value that is not plain."""
        if isinstance(value, Remote) and value._peer is self and value._method == "()":
            return Tagged("mine", value._number)  # mine to the one who reads it
        for kind in (bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset):
            if isinstance(value, kind):  # a subclass: what it holds, whatever it pretends
                return _base(kind, value)
        if callable(value) or hasattr(type(value), "__next__"):
            number = id(value)
            self._objects[number] = value
            return Tagged("yours", number)
        return value

    def _refer(self, tag: str, body: object) -> object:
        if tag == "yours" and type(body) is int:
            return Remote(self, body)
        if tag == "mine" and body in self._objects:
            return self._objects[body]  # pyright: ignore[reportArgumentType]
        raise ValueError("not a reference")

    def _exception(self, names: list[object], arguments: list[object], text: str) -> BaseException:
        """An exception of the first of these classes that is built in, under its own name."""
        words = [name for name in names if isinstance(name, str)] or ["Exception"]
        base: Any = next((kind for name in words if _is_exception(kind := getattr(builtins, name, None))), Exception)
        kind = self._exceptions.get(words[0])
        if kind is None:
            kind = self._exceptions[words[0]] = type(words[0], (RemoteError, base), {})
        try:
            error = kind(*arguments)
        except Exception:  # a class that demands other arguments
            error = type(words[0], (RemoteError, Exception), {})(*arguments)
        error.remote_text = text  # pyright: ignore[reportAttributeAccessIssue]
        return error


_SHAPES = ([str, int, str, list, dict], [str, list, list, str], *([str, kind, dict] for kind in (*_PLAIN, Remote)))


def _is_exception(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)


def _words(error: BaseException) -> str:
    try:
        return str(error)[:ERROR_TEXT]
    except BaseException:
        return "<its text failed>"


def _base(kind: Any, value: Any) -> object:
    """The value of an instance of a subclass, by the methods of the built-in class it derives from."""
    if kind in (tuple, list, set, frozenset):
        return kind(kind.__iter__(value))
    if kind is dict:
        return dict(dict.items(value))
    if kind is complex:
        return complex(complex.real.__get__(value), complex.imag.__get__(value))  # pyright: ignore
    if kind is bytes:
        return bytes.__getitem__(value, slice(None))
    return {int: int.__int__, float: float.__float__, str: str.__str__}[kind](value)


def _change(old: Any, new: Any) -> None:
    """Give a changed argument its new content, in place."""
    if type(old) is not type(new):
        return
    if type(old) is list:
        old[:] = new
    elif type(old) in (dict, set):
        old.clear()
        old.update(new)
