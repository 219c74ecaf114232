"""Runs many programs of our own making one after another in one child: thousands per second.

For programs that we generated and only need to verify, a process each costs a hundred times what the program
does. Here each gets a fresh namespace in a shared process. What goes wrong stays with the program that did
it: a crash, a hang or a limit kills the child, and another goes on with the rest; so does one that leaves
threads or processes.

What is shared, and why this is not for programs of unknown origin: the standard library's own state (a seeded
generator, a patched module), the working folder with the files in it, and the file of results. Only text
written through `sys.stdout` and `sys.stderr` is recorded, not what goes to the descriptors behind them. stdin
is empty.
"""

from collections.abc import Sequence
from dataclasses import replace
from signal import SIGALRM, SIGPROF

from .limits import DEFAULT_ISOLATION, DEFAULT_LIMITS, Isolation, Limits, SandboxError
from .pool import Pool, shared_pool
from .result import Result, in_time, read_frames, without_outcome
from .worker import Task

_PROGRAMS_PER_CHILD = 512  # so that neither leaks nor a lost request grow with the number of programs


def run_batch(
    sources: Sequence[str], limits: Limits = DEFAULT_LIMITS, isolation: Isolation = DEFAULT_ISOLATION
) -> list[Result]:
    """Run programs in a shared child. Returns their results in order; the limits are those of each program.

    memory_mb in a result is the peak of the shared process up to then. SandboxError for a program that is not
    text, and where this host does not give the isolation.
    """
    if not all(isinstance(source, str) for source in sources):
        raise SandboxError("a program must be text: decode bytes before running them")
    results: list[Result] = []
    with shared_pool(isolation, limits.memory_mb) as pool:
        while len(results) < len(sources):
            results += _run_part(list(sources[len(results) : len(results) + _PROGRAMS_PER_CHILD]), limits, pool)
    return results


def _run_part(part: list[str], limits: Limits, pool: Pool) -> list[Result]:
    """The results of one or more programs from the first on."""
    request = {
        "mode": "batch",
        "programs": part,
        "output_bytes": limits.output_bytes,
        "cpu_s": limits.cpu_s,
        "wall_s": limits.wall_clock_s,
    }
    ((ending,),) = pool.run([Task((request,), limits)])
    done, flaw = read_frames(ending, len(part), limits)
    done = [replace(in_time(result, limits), layers=ending.layers) for result in done]
    if ending.trouble:
        return [without_outcome(ending, limits)] * len(part)
    stopped_itself = bool(done) and ending.status == 0 and not flaw
    if len(done) < len(part) and not stopped_itself:
        # What was seen is of all programs so far; of this one, only how it ended.
        status = 128 - ending.status if ending.status > 128 else ending.status  # `child._leave_first_process`
        last = replace(ending, status=status, cpu_s=0.0, overspent=status == -SIGPROF, overdue=status == -SIGALRM)
        done.append(replace(without_outcome(last, limits, flaw), stdout="", stderr=""))
    return done
