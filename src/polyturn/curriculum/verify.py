"""Runs composed programs and keeps those that are worth learning from, with what they printed.

Programs run in the sandbox's shared child, never in this process.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from polyturn.curriculum.draft import Program
from polyturn.sandbox import UNSET, Isolation, Limits, Result, SandboxError, run_batch
from polyturn.synthesis.turns import program_source

MAX_OUTPUT = 300
"""Characters that a program may print. Longer outputs come from numbers and lists grown out of hand."""
LIMITS = Limits(cpu_s=2.0, memory_mb=256, output_bytes=1 << 16)
ISOLATION = Isolation(allow_weaker=True, packages=())  # the programs are of our own making

Fault = Literal["error", "limit", "long output", "nothing printed", "empty value", "no plain value"]
"""Why a program is dropped."""


@dataclass(frozen=True)
class Verified:
    """A program that ran, and what it printed."""

    program: Program
    stdout: str
    value: Any
    """What was printed last (`Result.last_value`)."""


def verify(programs: Sequence[Program], limits: Limits = LIMITS) -> list[Verified | Fault]:
    """Run programs; for each, in order, what it printed or why it is dropped.

    Raises SandboxError where the sandbox cannot run them on this host.
    """
    results = run_batch([program_source(program.turns) for program in programs], limits, ISOLATION)
    return [_judge(program, result) for program, result in zip(programs, results, strict=True)]


def _judge(program: Program, result: Result) -> Verified | Fault:
    if result.verdict == "internal-error":
        raise SandboxError(result.error.message if result.error else "the sandbox failed")
    if result.verdict != "passed":
        return "error" if result.verdict == "error" else "limit"
    value = result.last_value
    if value is UNSET:
        return "nothing printed"
    if len(result.stdout) > MAX_OUTPUT:
        return "long output"
    if not all(_is_plain(value) for call in result.printed for value in call):
        return "no plain value"
    if value in ("", [], {}, ()):
        return "empty value"  # too many wrong programs would print it as well
    return Verified(program, result.stdout, value)


def _is_plain(value: object) -> bool:
    """Whether a value prints the same on every run. A set does not: its order depends on how it was made."""
    return all(isinstance(part, str | int | float | list | tuple | dict | None) for part in _parts(value))


def _parts(value: object) -> Iterator[object]:
    """A value and everything in it."""
    yield value
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        for item in value:
            yield from _parts(item)
