"""Grades programs by the value they print last, typed: what a benchmark of values should have measured.

A program passes if it ran to its end and the value printed last is the expected one, by the sandbox's comparison
(`polyturn.sandbox.same_value`): of the same kind, floats within 1e-6 relative, inside containers too. A bare
expression at the end counts as printed unless it is None, as at Python's prompt. docs/graders.md says how this differs
from the grader that was released with the paper, and why.
"""

import re
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace

from polyturn.bench.in_child import child_source
from polyturn.sandbox import UNSET, Isolation, Limits, Result, run_programs, same_value
from polyturn.sandbox.limits import DEFAULT_ISOLATION, DEFAULT_LIMITS

_FRAME = re.compile(r'  File "<program>", line (\d+), in .*')
_EMPTY = re.compile(r"^Traceback \(most recent call last\):\n(?!  File .*, in )", re.MULTILINE)


def grade_strict(
    jobs: Iterable[tuple[str, object]],
    limits: Limits = DEFAULT_LIMITS,
    workers: int = 1,
    isolation: Isolation = DEFAULT_ISOLATION,
) -> Generator[Result, None, None]:
    """Grade programs, each with its expected JSON value, and yield the results in order; they are the sandbox's.

    Raises SandboxError where this host does not give the isolation.
    """
    taken: deque[tuple[str, object]] = deque()

    def sources() -> Iterator[str]:
        for source, gold in jobs:
            taken.append((source, gold))
            yield child_source("strict_child.py", f"({source!r}, globals())", line=len(_lines(source)) + 1)

    with closing(run_programs(sources(), limits, workers, isolation)) as results:
        for result in results:
            source, gold = taken.popleft()
            result = _of_the_program(result, source)
            if result.verdict == "passed" and not accepts(result.last_value, gold):
                result = replace(result, verdict="wrong")
            yield result


def accepts(value: object, gold: object) -> bool:
    """Whether a program that printed `value` last (UNSET: nothing) passes where `gold`, a JSON value, is expected."""
    return value is not UNSET and same_value(_with_text_keys(value), gold)


def _with_text_keys(value: object) -> object:
    """The value, with the keys of its dicts as JSON would write them: it has no others. Two keys may not become one."""
    if isinstance(value, list | tuple):
        return [_with_text_keys(item) for item in value]
    if not isinstance(value, dict):
        return value
    keyed = {_key_text(key): _with_text_keys(item) for key, item in value.items()}
    return keyed if len(keyed) == len(value) else value


def _key_text(key: object) -> object:
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    return repr(key) if isinstance(key, int | float) else key


def _lines(source: str) -> list[str]:
    """Its lines as Python counts them; str.splitlines knows more kinds of ends."""
    return re.split("\r\n|\r|\n", source)


def _of_the_program(result: Result, source: str) -> Result:
    """The result with the error's line and traceback as if the program had run by itself."""
    error = result.error
    if error is None:
        return result
    lines, ours, kept = _lines(source), False, []
    for text in error.traceback.splitlines(keepends=True):
        frame = _FRAME.match(text)
        if frame:
            number = int(frame[1])
            ours = number > len(lines)
            if not ours:
                kept.append(f"{text}    {lines[number - 1].strip()}\n")
        else:
            ours = ours and text.startswith("    ")  # the source line of a frame, and the marks under it
            if not ours:
                kept.append(text)
    line = None if error.line is None or error.line > len(lines) else error.line
    traceback = _EMPTY.sub("", "".join(kept))
    return replace(result, error=replace(error, line=line, traceback=traceback))
