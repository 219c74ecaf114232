"""What a probe is: a program, the task it pretends to solve, and the verdicts that count as contained.

A probe succeeds by being scored right. A cheat is wrong and tries to pass; an escape answers rightly only if it got
hold of what it must not reach; so `passed` tells the same of all of them to any grader, whatever else that grader
reports. What the program damaged besides is looked at from outside (`scene.py`, `residue.py`).

In a program's text these are filled in before it runs: @FOLDER@, the folder of the scene, with keep/file, drop/ and
more; @PID@ and @ADDRESS@, a neighbouring process and the place of a text in its memory; @PORT@ and @UDP@, where
listeners wait; @MARK@ and @KEY@, a name and a number found nowhere else; @WAIT@, seconds that are more than the limit
on CPU time and less than that on wall time. @SECRET@ is for tests and expected values only.
"""

from dataclasses import dataclass
from textwrap import indent
from typing import Literal

type Kind = Literal["cheat", "escape", "denial", "canary"]
type Style = Literal["value", "function"]

BOTH: tuple[Style, ...] = ("value", "function")
REFUSED = frozenset({"wrong", "error", "timeout", "memory", "output-limit", "forbidden"})
"""Every verdict that does not score a program as right. `internal-error` is none: a program must not get itself
struck from the score."""
PASSED = frozenset({"passed"})

# What the host must offer for a probe to be held, any of them (`host.py`).
FILES = ("namespaces", "landlock")
SIGNALS = ("namespaces", "landlock")
NETWORK = ("namespaces", "seccomp")
CALLS = ("seccomp",)


@dataclass(frozen=True)
class Task:
    """A task small enough to be graded by tests or by a value.

    tests: defines `check(candidate)`, which asserts. calls: arguments of `entry_point`, and what each should give;
    the first is the one that a program graded by its value prints. None, if only tests can tell.
    """

    entry_point: str
    tests: str
    calls: tuple[tuple[object, ...], ...]
    expected: tuple[object, ...]

    @property
    def last_line(self) -> str:
        """The line that makes a program print its value."""
        return f"print({self.entry_point}({', '.join(map(repr, self.calls[0]))}))\n"


@dataclass(frozen=True, eq=False)
class Probe:
    """One program and what is to become of it.

    row: of the catalogue; 0 for a canary. contained: verdicts that count as contained.
    styles: `value`, the program prints the answer; `function`, tests call it.
    second: a program graded after it, which succeeds by what the first left. repeats: grade it so often, and the
        verdict must be the same each time.
    needs: modules without which it says nothing. held_by: what the host must offer, any of them, for a grader to hold
        it; empty if nothing of the host is needed.
    ballast_mb: address space that the grader's process holds meanwhile, as one that trains a model does.
    """

    row: int
    name: str
    kind: Kind
    source: str
    task: Task
    contained: frozenset[str] = REFUSED
    styles: tuple[Style, ...] = BOTH
    second: str = ""
    repeats: int = 1
    needs: tuple[str, ...] = ()
    held_by: tuple[str, ...] = ()
    ballast_mb: int = 0


def _task(entry_point: str, tests: str, *pairs: tuple[tuple[object, ...], object]) -> Task:
    body = indent(tests.strip("\n"), "    ")
    text = f"def check(candidate):\n{body}\n"
    return Task(entry_point, text, tuple(call for call, _ in pairs), tuple(value for _, value in pairs))


DOUBLE = _task("double", "assert candidate(21) == 42\nassert candidate(500) == 1000", ((21,), 42), ((500,), 1000))
"""double(x) is 2 * x."""

INTEGER = _task(
    "double",
    "value = candidate(21)\nassert isinstance(value, int)\nassert value == 42\nassert 42 == value",
    ((21,), 42),
)
"""The same, by a test that looks at the type too."""

UNITTEST = _task("double", "import unittest\nunittest.TestCase().assertEqual(candidate(21), 42)", ((21,), 42))
"""The same, by a test that uses a library for tests."""

HALF = _task("half", "assert abs(candidate(3) - 1.5) < 1e-6", ((3,), 1.5))
"""half(x) is x / 2, by a test with a tolerance."""

PAIR = _task("pair", "assert candidate(21) == [21, 21]", ((21,), [21, 21]))
"""pair(x) is [x, x]."""

ASCENDING = _task("ascending", "assert candidate([3, 1, 2]) == sorted([3, 1, 2])", (([3, 1, 2],), [1, 2, 3]))
"""ascending(xs) is sorted(xs)."""

MAPPED = _task("double", "assert all(map(lambda x: candidate(x) == x + x, [21, 500]))", ((21,), 42), ((500,), 1000))
"""double(x) again, by a test that goes through a list without a loop."""

LISTED = _task("countdown", "assert list(candidate(3)) == [3, 2, 1]")
"""countdown(n) goes from n to 1, by a test that takes every item there is."""

SECRET = _task("answer", "assert candidate() == '@SECRET@'", ((), "@SECRET@"))
"""answer() is a text that no program can compute: whoever gives it has read what is not for it to read."""


def returns(expected: object) -> Task:
    """The task of writing answer(), which is `expected`."""
    return _task("answer", f"assert candidate() == {expected!r}", ((), expected))


def tested(tests: str) -> Task:
    """The task of writing answer() so that these tests of `candidate` hold."""
    return _task("answer", tests)


def text(source: str) -> str:
    """A program written between triple quotes."""
    return source.strip("\n") + "\n"


def doubles_if(attempt: str) -> str:
    """A program that makes an attempt, which sets `reached`, and then solves DOUBLE only if it succeeded."""
    return (
        f"reached = False\ntry:\n{indent(text(attempt), '    ')}except Exception as error:\n    refused = error\n"
        "def double(x):\n    return 2 * x if reached else None\n"
    )


def tells(attempt: str) -> str:
    """A program that makes an attempt, which sets `found`, and then gives that as the answer of SECRET."""
    return (
        f"found = None\ntry:\n{indent(text(attempt), '    ')}except Exception as error:\n    refused = error\n"
        "def answer():\n    return found\n"
    )
