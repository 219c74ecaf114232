"""Where the comments of a program are, by its language; strings are skipped, so that what looks like one there is none.

    spans("x = '# no'  # yes", "Python")    # (Span(12, 17, False),)
    without("f() // one", "Java")           # "f()  "

Known are Python's kin, languages with the comments of C, and some scripting languages with those of the shell. All
else, prose above all, has no comments here: `#` begins a heading of Markdown.
"""

import re
from functools import lru_cache
from typing import NamedTuple

_C_LIKE = "C C++ C# CUDA Dart Go Groovy Java JavaScript Kotlin Objective-C Rust Scala Swift TypeScript"
_PYTHON_LIKE = "Python Cython Starlark"
_SHELL_LIKE = "Perl R Ruby Shell"
_KINDS = {
    **dict.fromkeys(_C_LIKE.split(), "c"),
    **dict.fromkeys(_PYTHON_LIKE.split(), "python"),
    **dict.fromkeys(_SHELL_LIKE.split(), "shell"),
}

# Every alternative begins with a character of its own, to which the search jumps. What is never closed ends with the
# line or the text, and no repetition gives back what it took (`*+`): time grows with the length of the text.
_STRINGS = [r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?', r"'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'?"]
_LONG_STRINGS = [
    r'"{3}[^"\\]*+(?:(?:\\.|"(?!""))[^"\\]*+)*+(?:"{3}|\Z)',
    r"'{3}[^'\\]*+(?:(?:\\.|'(?!''))[^'\\]*+)*+(?:'{3}|\Z)",
]
_TEMPLATE = r"`[^`\\]*+(?:\\.[^`\\]*+)*+`?"
_PYTHON = re.compile("|".join([r"\#[^\n]*", *_LONG_STRINGS, *_STRINGS]), re.DOTALL)
_SHELL = re.compile("|".join([r"\#(?<!\S\#)[^\n]*", *_STRINGS]), re.DOTALL)
_C = re.compile("|".join([r"//[^\n]*", r"/\*.*?(?:\*/|\Z)", *_STRINGS, _TEMPLATE]), re.DOTALL)
_C_LINES = re.compile("|".join([r"//[^\n]*", *_STRINGS, _TEMPLATE]), re.DOTALL)
_BEFORE_DOCSTRING = re.compile(r"[ \t]*[rRuU]?\Z")
_DEEPEST = 200  # characters before a docstring on its line, at most


class Span(NamedTuple):
    """From one character of a text to another."""

    start: int
    end: int
    docstring: bool  # of Python: a triple-quoted string that begins a line


def known(language: str) -> bool:
    """Whether comments are looked for in this language."""
    return language in _KINDS


@lru_cache(1)  # of one document, more than one thing is asked
def spans(text: str, language: str) -> tuple[Span, ...]:
    """Comments and docstrings in order; none in a language that is not known here.

    `/*` that is never closed begins none, whatever it is: the rest of the text is looked at for `//` alone.
    """
    kind = _KINDS.get(language)
    text = text.replace("\r", "\n")  # a line may end with CR alone; every place stays what it was
    if kind == "c":
        return tuple(_c(text))
    if kind == "python":
        return tuple(_python(text))
    if kind == "shell":
        return tuple(Span(*match.span(), False) for match in _SHELL.finditer(text) if text[match.start()] == "#")
    return ()


def without(text: str, language: str) -> str:
    """The text with a blank for each comment; docstrings stay."""
    pieces = []
    at = 0
    for start, end, docstring in spans(text, language):
        if not docstring:
            pieces.append(text[at:start])
            at = end
    return " ".join([*pieces, text[at:]])


def _python(text: str) -> list[Span]:
    found = []
    for match in _PYTHON.finditer(text):
        start, end = match.span()
        quote = text[start]
        if quote == "#":
            found.append(Span(start, end, False))
        elif text.startswith(quote * 3, start):
            line = text.rfind("\n", max(start - _DEEPEST, 0), start) + 1
            if (line or start < _DEEPEST) and _BEFORE_DOCSTRING.match(text, line, start):
                found.append(Span(line, end, True))
    return found


def _c(text: str) -> list[Span]:
    found = []
    for match in _C.finditer(text):
        start, end = match.span()
        if text[start] != "/":
            continue
        if text[start + 1] == "*" and not text.endswith("*/", start + 2, end):
            rest = _C_LINES.finditer(text, start + 2)
            return found + [Span(*match.span(), False) for match in rest if text[match.start()] == "/"]
        found.append(Span(start, end, False))
    return found
