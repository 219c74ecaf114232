"""Plain values as tagged JSON, both ways.

A printed value leaves the child as text of this form, written the moment it is printed, so that the text is
the snapshot: later changes to the value cannot reach it. Only exact built-in types are written as themselves;
numpy scalars and arrays become the Python values they hold; anything else, subclasses with methods of their
own included, becomes an `Opaque`. The reader builds nothing but those types, so reading cannot run code.

    None, True, 3, 0.5, "text", [..]                as in JSON
    {"tuple": [..]}  {"set": [..]}  {"frozenset": [..]}
    {"dict": [[key, value], ..]}
    {"int": "0x..."}                                integers beyond 64 bits, which decimal digits make slow
    {"float": "nan" | "inf" | "-inf"}
    {"surrogates": hex of UTF-8}                    text with surrogates: JSON joins a pair into one character
    {"bytes": hex}  {"complex": [real, imaginary]}  {"range": [start, stop, step]}
    {"opaque": [type, repr]}

This module is loaded in every child, and its start-up is most of the cost of a small program. Hence no
`json`, `typing` or `dataclasses` here at import: together they would more than double it.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

try:
    from _json import encode_basestring_ascii as quote  # pyright: ignore[reportMissingImports]
except ImportError:  # an interpreter without the C accelerator
    from json.encoder import encode_basestring_ascii as quote

LIMIT = 1 << 20
ITEM = 8  # what an item takes of a limit: each costs its reader many times what a character of text does
MAX_DEPTH = 100
_TEXT = 200  # characters kept of an opaque value's repr
_SAME_HASH = 32
_FEW = 100  # values that need no closer count
_DIGITS = 32  # more than any number that is written as such
_TOO_LARGE = "<too large or too deep to record>"
_UNRECORDED = "<could not be recorded>"
_NO_REPR = "<its repr failed>"
UNKNOWN = (_TOO_LARGE, _UNRECORDED, _NO_REPR)
"""What stands for the repr of an opaque value of which nobody knows what it was."""


class Opaque:
    """A value that is not plain data: the name of its type, and its repr (shortened)."""

    __slots__ = ("repr", "type")

    def __init__(self, type: str, repr: str) -> None:
        self.type = type
        self.repr = repr

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and (self.type, self.repr) == (other.type, other.repr)

    def __hash__(self) -> int:
        return hash((self.type, self.repr))

    def __repr__(self) -> str:
        return f"Opaque({self.type!r}, {self.repr!r})"


class Tagged:
    """A tag of the caller's own and its plain body, to write for what is not plain (`dumps`, other)."""

    __slots__ = ("body", "tag")

    def __init__(self, tag: str, body: object) -> None:
        self.tag = tag
        self.body = body


class _TooLarge(Exception):
    pass


# ---- writing


def dumps(value: object, limit: int = LIMIT, other: Callable[[object], object] | None = None) -> str:
    """The value as tagged JSON, ASCII only, on one line. Never raises: whatever is not plain is opaque.

    other: gives something to write in the place of what is not plain: a plain value, or a `Tagged` one.
    A value of more than `limit` characters, an item counted as ITEM of them, or nested deeper than MAX_DEPTH (a list
    that holds itself), is opaque as a whole.
    """
    text = dumps_all(value, limit, other)
    return too_large(value) if text is None else text


def dumps_all(value: object, limit: int, other: Callable[[object], object] | None = None) -> str | None:
    """As `dumps`, but None for a value that is too large or too deep."""
    parts: list[str] = []
    try:
        _write(value, parts, [limit], 0, other)
    except _TooLarge:
        return None
    except Exception:  # a type that lies about itself, or a container changed by its own member's repr
        return _opaque(value, _UNRECORDED)
    return "".join(parts)


def _write(value: Any, parts: list[str], room: list[int], depth: int, other: Any) -> None:
    kind = type(value)
    room[0] -= ITEM
    if room[0] < 0 or depth > MAX_DEPTH:
        raise _TooLarge
    if value is None:
        parts.append("null")
    elif kind is bool:
        parts.append("true" if value else "false")
    elif kind is int:
        parts.append(_integer(value, room))
    elif kind is str:
        parts.append(_string(value, room))
    elif kind is float:
        parts.append(_float(value))
    elif kind is list:
        _write_items(value, parts, room, depth, other)
    elif kind is tuple or kind is set or kind is frozenset:
        parts.append('{"' + kind.__name__ + '":')
        _write_items(value, parts, room, depth, other)
        parts.append("}")
    elif kind is dict:
        parts.append('{"dict":[')
        comma = "["
        for key, item in value.items():
            parts.append(comma)
            _write(key, parts, room, depth + 1, other)
            parts.append(",")
            _write(item, parts, room, depth + 1, other)
            parts.append("]")
            comma = ",["
        parts.append("]}")
    elif kind is bytes:
        room[0] -= len(value)
        parts.append('{"bytes":"' + value.hex() + '"}')
    elif kind is complex:
        parts.append('{"complex":[' + _float(value.real) + "," + _float(value.imag) + "]}")
    elif kind is range:
        ends = (value.start, value.stop, value.step)
        parts.append('{"range":[' + ",".join([_integer(end, room) for end in ends]) + "]}")
    elif kind is Opaque:
        parts.append('{"opaque":[' + quote(value.type) + "," + quote(value.repr) + "]}")
    elif kind is Tagged:
        parts.append('{"' + value.tag + '":')
        _write(value.body, parts, room, depth + 1, other)
        parts.append("}")
    else:
        plain = _from_numpy(value, room)
        if plain is value and other is not None:
            plain = other(value)
        if plain is value:
            parts.append(_opaque(value))
        else:
            _write(plain, parts, room, depth + 1, other)


def _write_items(items: Any, parts: list[str], room: list[int], depth: int, other: Any) -> None:
    parts.append("[")
    first = True
    for item in items:
        if not first:
            parts.append(",")
        first = False
        _write(item, parts, room, depth + 1, other)
    parts.append("]")


def _integer(value: int, room: list[int]) -> str:
    size = value.bit_length()
    if size < 64:
        return int.__repr__(value)
    room[0] -= size // 4
    if room[0] < 0:
        raise _TooLarge
    return '{"int":"' + hex(value) + '"}'


def _string(value: str, room: list[int]) -> str:
    room[0] -= len(value)
    if room[0] < 0:
        raise _TooLarge
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return '{"surrogates":"' + value.encode("utf-8", "surrogatepass").hex() + '"}'
    return quote(value)


def _float(value: float) -> str:
    text = float.__repr__(value)
    return '{"float":"' + text + '"}' if text in ("nan", "inf", "-inf") else text


def _from_numpy(value: Any, room: list[int]) -> object:
    """The Python value that a numpy scalar or array holds, or `value` itself."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return value
    if isinstance(value, numpy.generic):
        plain = value.item()
        return value if type(plain) is type(value) else plain  # a long double has no Python equal
    if isinstance(value, numpy.ndarray):
        if value.size * ITEM > room[0]:
            raise _TooLarge
        return value.tolist()
    return value


def too_large(value: object) -> str:
    """What stands for a value that is too large or too deep, as tagged JSON."""
    return _opaque(value, _TOO_LARGE)


def _opaque(value: object, text: str | None = None) -> str:
    try:
        name = type(value).__name__
        if text is None:
            text = repr(value)
        return '{"opaque":[' + quote(name[:_TEXT]) + "," + quote(text[:_TEXT]) + "]}"
    except BaseException:  # a __repr__ that raises, be it SystemExit
        return '{"opaque":["?",' + quote(_NO_REPR) + "]}"


# ---- reading


class _Object(dict[str, object]):
    """A JSON object that is no tagged value."""


def loads(text: str, other: Callable[[str, object], object] | None = None) -> object:
    """The value of a tagged JSON text. ValueError for anything `dumps` would not have written.

    other: makes the value of a `Tagged` one from its tag and body, or raises ValueError.
    """
    value = parse(text, other)
    check(value)
    return value


def parse(text: str, other: Callable[[str, object], object] | None = None) -> object:
    """JSON with the values of tagged objects in the place of these, and other objects as they are.

    Parts of it that are to be values have to pass `check`. ValueError for what is not JSON, or not a value under a tag.
    """
    import json

    def read(pairs: list[tuple[str, Any]]) -> object:
        if len(pairs) == 1:
            ((tag, body),) = pairs
            if tag in _READERS:
                return _READERS[tag](body)
            if other is not None:
                return other(tag, body)
        return _Object(pairs)

    try:
        return json.loads(text, parse_constant=_refuse, parse_int=_small, object_pairs_hook=read)
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None
    except (TypeError, IndexError) as error:
        raise ValueError(f"not a value in tagged JSON: {error}") from None


def check(value: object, around: int = 0) -> None:
    """Raise ValueError if a parsed value is nested too deep, or holds an object that is no tagged value.

    around: how many levels there are around the values proper, of lists that hold them.
    """
    layer = [value]
    for _ in range(MAX_DEPTH + around + 1):
        inner: list[object] = []
        for item in layer:
            kind = type(item)
            if kind in (list, tuple, set, frozenset):
                inner += item  # pyright: ignore[reportOperatorIssue]
            elif kind is dict:
                inner += [*item, *item.values()]  # pyright: ignore
            elif kind is _Object:
                raise ValueError("an object that is no value in tagged JSON")
        if not inner:
            return
        layer = inner
    raise ValueError("the value is nested too deep")


def count_nodes(text: str, most: int) -> int:
    """An upper bound of the values that parsing a JSON text would make, or any number above `most`.

    It counts the commas and brackets outside of strings, and the strings, which takes a hundredth of the parser's time
    and memory. `text` need not be JSON: of one that is not, it bounds what is made before the parser gives up.
    """
    rough = 1 + text.count(",") + text.count("[") + text.count("{")
    if rough <= _FEW:
        return rough
    bare = text.replace("\\\\", "").replace('\\"', "")  # so that each quotation mark begins or ends a string
    if bare.count('"') > 2 * most:
        return most + 1
    outside = "".join(bare.split('"')[::2])
    return 1 + outside.count(",") + outside.count("[") + outside.count("{")


def _small(digits: str) -> int:
    if len(digits) > _DIGITS:  # reading decimal digits takes quadratic time, where the interpreter's own limit is off
        raise ValueError("an integer with too many digits")
    return int(digits)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def to_tree(value: object) -> object:
    """The value as a tree of JSON types, to put into a larger JSON document."""
    import json

    return json.loads(dumps(value, sys.maxsize))


def from_tree(tree: object) -> object:
    """The value of a tree that `json.loads` made of tagged JSON. ValueError for an unknown tag or shape."""
    import json

    return loads(json.dumps(tree))


def snapshot(value: object, limit: int = LIMIT) -> object:
    """A deep copy of the value in plain types, as it would come back from a child."""
    return loads(dumps(value, limit))


def _list(body: object, kind: object = object) -> list[Any]:
    if type(body) is not list or not (kind is object or all([type(item) is kind for item in body])):
        raise ValueError("the body of a tag is not what it should be")
    return body


def _read_float(body: object) -> float:
    if body not in ("nan", "inf", "-inf"):
        raise ValueError("a float that is none")
    return float(body)


def _read_int(body: object) -> int:
    if type(body) is not str or not body.startswith(("0x", "-0x")):
        raise ValueError("an integer that is none")
    return int(body, 16)


def _read_dict(body: object) -> dict[object, object]:
    pairs = _list(body, list)
    keys = _hashable([key for key, _ in pairs])
    return dict(zip(keys, [item for _, item in pairs], strict=True))


def _read_complex(body: object) -> complex:
    real, imaginary = _list(body, float)
    return complex(real, imaginary)


def _read_range(body: object) -> range:
    start, stop, step = _list(body, int)
    return range(start, stop, step)


def _read_opaque(body: object) -> Opaque:
    kind, text = _list(body, str)
    if len(kind) > _TEXT or len(text) > _TEXT:
        raise ValueError("an opaque value with a long text")
    return Opaque(kind, text)


_READERS: dict[str, Callable[[Any], object]] = {
    "tuple": lambda body: tuple(_list(body)),
    "set": lambda body: set(_hashable(_list(body))),
    "frozenset": lambda body: frozenset(_hashable(_list(body))),
    "dict": _read_dict,
    "int": _read_int,
    "float": _read_float,
    "surrogates": lambda body: bytes.fromhex(body).decode("utf-8", "surrogatepass"),
    "bytes": bytes.fromhex,
    "complex": _read_complex,
    "range": _read_range,
    "opaque": _read_opaque,
}


def _hashable(items: list[object]) -> list[object]:
    """The items, once it is sure that hashing them is cheap.

    Integers that share one hash are easily made (multiples of 2**61 - 1), and a set of many such takes
    quadratic time to build: a program could stall its reader.
    """
    counts: dict[int, int] = {}
    for item in items if len(items) > _SAME_HASH else ():
        number = hash(item)
        counts[number] = counts.get(number, 0) + 1
        if counts[number] > _SAME_HASH:
            raise ValueError("too many members of a set or dict share one hash")
    return items


# ---- showing


def shown(value: object, most: int = 200) -> str:
    """A value in a message: its repr, shortened. Never raises, nor takes long for what is large.

    (repr refuses integers of thousands of digits: `sys.set_int_max_str_digits`.)
    """
    if type(value) is str:
        text = repr(value[:most])
        return text if len(value) <= most else text + "..."
    plain = snapshot(value, 2 * most)
    text = plain.repr if isinstance(plain, Opaque) else repr(plain)
    return text if len(text) <= most else text[:most] + "..."
