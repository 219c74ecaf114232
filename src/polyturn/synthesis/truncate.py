"""Where one turn's subprogram ends.

A model that has answered an intent goes on: with the next comment, another example, a test. The paper's sampler
cuts by a list of patterns (CodeGen repository, `truncate` in the MTPB sampler). These are the same rules, read
as Python and not as text, which mends what the patterns get wrong:

==================  =================================================================================================
reason              the turn ends before ...
==================  =================================================================================================
end of text         the marker `<|endoftext|>`, should it have come as text
next intent         a comment at the left margin, once there is code (a comment first is the model's own remark)
prose               a string at the left margin, once there is code: an explanation (a closing quote is no such line)
second print        the second `print(...)` at the left margin: one turn shows one thing (`printed = 1` is no print)
second definition   another `def` or `class` that calls nothing this turn has defined (helper and main stay together)
two empty lines     a gap of two empty lines, unless a definition stands beside it, where PEP 8 asks for the gap
length              the statement that the length limit left unfinished, so that it cannot spoil the turns after it
==================  =================================================================================================

A whole program that answers several intents at once may hold comments, definitions and gaps: there these rules apply
only once it has shown as many values as it was asked for, and "second print" only once there were as many prints as
intents, since each of them may show one thing; "prose" always does.

No rule applies inside an open bracket or string. Lines end with a line feed only: the other line ends that
`str.splitlines` knows may stand inside a Python string.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from polyturn.tokenizer.bpe import END_OF_TEXT

ALLOW_INCOMPLETE = 0x4000  # PyCF_ALLOW_INCOMPLETE_INPUT of CPython, which `codeop` uses and does not document
CONTINUES = re.compile(r"(else|elif|except|finally|case)\b|[)\]}]")
DEFINITION = re.compile(r"(async\s+def|def|class)\s+(\w+)")
PRINT = re.compile(r"print\s*\(")
PROSE = re.compile(r"[rRbBuU]{0,2}('''|\"\"\")")


@dataclass(frozen=True)
class Cut:
    """A subprogram, and which rule ended it; `reason` is None where the text ended by itself."""

    code: str
    reason: str | None


class Prints(NamedTuple):
    """Of a whole program: how many values it is asked to show at the left margin, and how many it may show."""

    asked: int
    most: int


@dataclass(frozen=True)
class Chunk:
    """A statement at the left margin with all its lines, and the count of empty lines before it."""

    start: int
    text: str
    gap: int


def truncate(text: str, unfinished: bool = False, prints: Prints | None = None) -> Cut:
    """Cut what a model wrote behind an intent down to that turn's subprogram.

    Args:
        text: the continuation, from the line behind the intent's comment.
        unfinished: the length limit ended it, so its last statement may be half a statement.
        prints: of a whole program; None for one turn.
    """
    found = _ending(text, unfinished, prints)
    if found is not None:
        position, reason = found
        return Cut(_tidy(text[:position]), reason)
    if unfinished:
        return Cut(truncate(_without_unfinished(text), prints=prints).code, "length")
    return Cut(_tidy(text), None)


def turn_end(text: str, prints: Prints | None = None) -> int | None:
    """For a sampler: where to cut `text`, as soon as a rule is sure to apply, else None.

    The answer for a text never changes as the text grows, so a sample may be ended at once.
    """
    found = _ending(text, True, prints)
    return None if found is None else found[0]


def _ending(text: str, growing: bool, prints: Prints | None) -> tuple[int, str] | None:
    """Position and reason of the first rule that applies.

    In a growing text the last chunk may still change, so it is judged only by what cannot change any more.
    """
    marker = text.find(END_OF_TEXT)
    if marker >= 0:
        earlier = _ending(text[:marker], False, prints)
        return earlier or (marker, "end of text")
    defined: set[str] = set()
    printed, code = 0, False
    previous: Chunk | None = None
    chunks = list(_chunks(text))
    for number, chunk in enumerate(chunks):
        undecided = growing and number == len(chunks) - 1
        if code and PROSE.match(chunk.text):
            return chunk.start, "prose"
        if prints is None or printed >= prints.asked:
            reason = _reason(chunk, previous, printed >= (prints.most if prints else 1), code, defined, undecided)
            if reason is not None:
                return chunk.start, reason
        code = code or not chunk.text.startswith("#")
        printed += PRINT.match(chunk.text) is not None
        defined |= _names_defined(chunk.text)
        previous = chunk
    return None


def _reason(
    chunk: Chunk, previous: Chunk | None, printed: bool, code: bool, defined: set[str], undecided: bool
) -> str | None:
    """Which rule ends the turn before `chunk`; an undecided chunk is one that more text may still change."""
    if code and chunk.text.startswith("#"):
        return "next intent"
    if printed and PRINT.match(chunk.text):
        return "second print"
    if undecided:
        return None
    names = _names_defined(chunk.text)
    if names and defined and not _calls(chunk.text, defined):
        return "second definition"
    beside = bool(names) or (previous is not None and bool(_names_defined(previous.text)))
    if code and chunk.gap >= 2 and not beside:
        return "two empty lines"
    return None


def _chunks(text: str) -> Iterator[Chunk]:
    """Split into statements at the left margin. A line there goes on with one if that is still open."""
    start = position = 0
    gap = blank = 0
    open_text = ""
    for line in _lines(text):
        if not line.strip():
            blank += 1
        else:
            margin = not line[0].isspace() and not CONTINUES.match(line)
            if margin and open_text.strip() and not _open(open_text):
                yield Chunk(start, open_text, gap)
                start, gap, open_text = position, blank, ""
            elif not open_text.strip():
                start, gap, open_text = position, blank, ""
            blank = 0
        open_text += line
        position += len(line)
    if open_text.strip():
        yield Chunk(start, open_text, gap)


def parses(source: str) -> bool:
    """Whether `source` is whole, valid Python. Nothing is run."""
    try:
        _parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _open(source: str) -> bool:
    """Whether more lines could still make `source` valid: an open bracket, an open string, a header alone."""
    try:
        _parse(source, ALLOW_INCOMPLETE)
    except SyntaxError as error:  # CPython forgets to call an open triple-quoted f-string incomplete
        return "incomplete input" in str(error) or "unterminated triple-quoted" in str(error)
    except (ValueError, RecursionError, MemoryError):
        return False
    return False


def _parse(source: str, flags: int = 0) -> None:
    with warnings.catch_warnings(action="ignore"):  # such as invalid escapes; running the program says so
        compile(source, "<turn>", "exec", ast.PyCF_ONLY_AST | flags)  # parses, runs nothing


def _names_defined(chunk: str) -> set[str]:
    """The function or class that a chunk defines, behind its decorators."""
    lines = (line for line in _lines(chunk) if line.strip() and not line.startswith("@"))
    match = DEFINITION.match(next(lines, ""))
    return {match[2]} if match else set()


def _calls(chunk: str, names: set[str]) -> bool:
    return bool(names & set(re.findall(r"\w+", chunk)))


def _without_unfinished(text: str) -> str:
    """Drop lines from the end of the last statement until it parses, if need be all of them.

    A last line without its line end is dropped even if it parses: `x = 12` may have been to become `x = 123`.
    """
    start, last = 0, ""
    for chunk in _chunks(text):
        start, last = chunk.start, chunk.text
    lines = _lines(last)
    whole = len(lines) if last.endswith("\n") else len(lines) - 1
    kept = ("".join(lines[:count]) for count in range(whole, 0, -1))
    return text[:start] + next((part for part in kept if parses(part)), "")


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _tidy(code: str) -> str:
    """Without empty lines at either end; the indentation of the first line stays."""
    lines = code.rstrip().split("\n")
    while lines and not lines[0].strip():
        lines.pop(0)
    return "\n".join(lines)
