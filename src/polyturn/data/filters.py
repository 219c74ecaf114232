"""Which texts training is better off without: the paper's filters, and those that later code corpora added.

    reason(text, "Python", rules)  # None: keep it; else why not, in a word that the counts are kept by

The paper keeps a file whose lines are shorter than 100 characters on average and at most 1,000 long, and of which at
most 90 % are decimal or hexadecimal digits. It leaves open what exactly is measured. Here:

- A character is a Unicode code point, whatever its width; a tab is one. The line end is no part of a line.
- A line ends with LF, CRLF or CR; what follows the last line end is a line only if it is not empty.
- Digits are counted among the characters that are not blanks, so that a dump is one however it is set in columns.
  0-9 count always, a-f and A-F only where they are no more frequent than 0-9: in random hexadecimal digits they are 6
  of 16, whereas words like "facade" have letters only. Other digits of Unicode are letters of running text.
"""

import ast
import warnings
from typing import Protocol

from polyturn.data import comments, generated
from polyturn.data.nesting import with_room

DECIMAL = b"0123456789"
HEX_LETTERS = b"abcdefABCDEF"
BLANKS = b" \t\n\r\v\f"


class Rules(Protocol):
    """What `reason` goes by; `config.Filter` is one. 0 of any of the first three: no limit."""

    @property
    def mean_line(self) -> float:
        """Characters: lines as long as this on average are too long."""
        ...

    @property
    def longest_line(self) -> int:
        """Characters: a longer line is too long."""
        ...

    @property
    def digits(self) -> float:
        """A larger share of digits is too large."""
        ...

    @property
    def generated(self) -> bool:
        """Is what a program wrote dropped?"""
        ...

    @property
    def comment_ratio(self) -> tuple[float, float]:
        """The least and the largest share of code that may be comments; (0, 1): any."""
        ...

    @property
    def python_parses(self) -> bool:
        """Is Python dropped that does not parse?"""
        ...


def reason(text: str, language: str, rules: Rules, path: str = "") -> str | None:
    """Why `text` is not kept, or None.

    The first that holds of `empty`, `mean-line`, `longest-line`, `digits`, `lock-file`, `vendored`, `generated`,
    `minified`, `few-comments`, `mostly-comments`, `unparsable`.

    Args:
        language: as `languages.py` names it; "" where it is unknown.
        path: where the text was found, for what only a name tells (lock files, vendored folders, `*.min.js`).
    """
    if not text or text.isspace():
        return "empty"
    mean, longest = line_lengths(text)
    if rules.mean_line and mean >= rules.mean_line:
        return "mean-line"
    if rules.longest_line and longest > rules.longest_line:
        return "longest-line"
    if rules.digits and digit_share(text) > rules.digits:
        return "digits"
    if rules.generated and (found := generated.reason(text, path)):
        return found
    least, most = rules.comment_ratio
    share = comment_share(text, language) if least > 0 or most < 1 else None
    if share is not None and share < least:
        return "few-comments"
    if share is not None and share > most:
        return "mostly-comments"
    if rules.python_parses and language == "Python" and not parses(text):
        return "unparsable"
    return None


# ---- the paper's


def line_lengths(text: str) -> tuple[float, int]:
    """The mean and the largest number of characters of a line; 0 and 0 of an empty text."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        return 0.0, 0
    ends = len(lines) if text.endswith("\n") else len(lines) - 1
    return (len(text) - ends) / len(lines), max(map(len, lines))


def digit_share(text: str) -> float:
    """Digits among the characters that are not ASCII blanks, from 0 to 1; 0 where all are blanks."""
    encoded = text.encode("utf-8", "surrogatepass")
    size = len(encoded)
    dense = encoded.translate(None, BLANKS)
    characters = len(text) - (size - len(dense))
    decimal = len(dense) - len(dense.translate(None, DECIMAL))
    letters = len(dense) - len(dense.translate(None, HEX_LETTERS))
    return (decimal + (letters if letters <= decimal else 0)) / characters if characters else 0.0


# ---- later ones

LARGEST_PARSED = 1 << 20
"""Characters; a longer text is taken to parse. The worst text of this length that was found takes five seconds."""


def parses(text: str) -> bool:
    """Is `text` Python that this interpreter parses? Nothing is run; what is longer than 1 Mi is not looked at."""
    if len(text) > LARGEST_PARSED:
        return True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes and comparisons in other people's code
            with_room(lambda: compile(text, "<text>", "exec", flags=ast.PyCF_ONLY_AST, dont_inherit=True))
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):  # the last four: nesting, NUL, \ud800
        return False
    return True


def comment_share(text: str, language: str) -> float | None:
    """The share of a text's characters that stand in comments and docstrings; None for languages not known here."""
    if not comments.known(language):
        return None
    return sum(end - start for start, end, _ in comments.spans(text, language)) / max(len(text), 1)
