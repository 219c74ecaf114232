"""Runs many programs of our own making one after another in one child: thousands per second.

For programs that we generated and only need to verify, a process each costs a hundred times what the program
does. Here each gets a fresh namespace in a shared process. What goes wrong stays with the program that did
it: a crash, a hang or a limit kills the child, and another goes on with the rest; so does one that leaves
threads or processes.

What is shared, and why this is not for programs of unknown origin: the standard library's own state (a seeded
generator, a patched module), the working folder with the files in it, and the pipe of results. Only text
written through `sys.stdout` and `sys.stderr` is recorded, not what goes to the descriptors behind them. stdin
is empty.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .limits import DEFAULT_LIMITS, Limits, SandboxError
from .process import run_child
from .result import Result, in_time, read_outcome, without_outcome

_PROGRAMS_PER_CHILD = 512  # so that neither leaks nor a lost request grow with the number of programs


def run_batch(sources: Sequence[str], limits: Limits = DEFAULT_LIMITS) -> list[Result]:
    """Run programs in a shared child. Returns their results in order; the limits are those of each program.

    memory_mb in a result is the peak of the shared process up to then. SandboxError for a program that is not
    text.
    """
    if not all(isinstance(source, str) for source in sources):
        raise SandboxError("a program must be text: decode bytes before running them")
    results: list[Result] = []
    while len(results) < len(sources):
        part = list(sources[len(results) : len(results) + _PROGRAMS_PER_CHILD])
        done, layers = _run_part(part, limits)
        results += done
        if not layers:  # no child can be started: neither could the next one
            results += [done[-1]] * (len(sources) - len(results))
    return results


def _run_part(part: list[str], limits: Limits) -> tuple[list[Result], tuple[str, ...]]:
    """The results of one or more programs from the first on, and the layers (none: no child started)."""
    done: list[Result] = []
    spoilt = False

    def take(frame: dict[str, Any]) -> None:
        nonlocal spoilt
        done.append(in_time(read_outcome(frame), limits))
        spoilt = frame["spoilt"]

    ending = run_child(part, limits, take, batch=True)
    done = [replace(result, layers=ending.layers) for result in done]
    stopped_itself = spoilt and ending.status == 0
    stopped_by_mistake = ending.late and bool(done)
    if len(done) < len(part) and not stopped_itself and not stopped_by_mistake:
        # The pipes are shared by all programs of the part, so what came through them is not this one's alone.
        done.append(replace(without_outcome(ending, limits), stdout="", stderr=""))
    return done, ending.layers
