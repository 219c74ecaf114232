"""Runs programs, each in a child of its own: one, or many side by side."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import NamedTuple

from .limits import DEFAULT_ISOLATION, DEFAULT_LIMITS, Isolation, Limits, SandboxError
from .pool import Pool, shared_pool
from .result import UNSET, Result, of_one
from .worker import Task


class Job(NamedTuple):
    """One program to run: its text, what it reads on stdin, and the value it should print last, if any."""

    source: str
    stdin: str = ""
    expected: object = UNSET


def run_program(
    source: str,
    limits: Limits = DEFAULT_LIMITS,
    stdin: str = "",
    expected: object = UNSET,
    isolation: Isolation = DEFAULT_ISOLATION,
) -> Result:
    """Run one Python program and say what it did.

    With `expected`, the program must also print that value last: see `Result.judged`. Never raises for what the
    program does; SandboxError for arguments that are not text, and where this host does not give the isolation.
    The first call starts a worker, which later calls find warm.
    """
    job = Job(source, stdin, expected)
    with shared_pool(isolation, limits.memory_mb) as pool:
        (endings,) = pool.run([_task(job, limits)])
    return _result(job, of_one(endings[0], limits))


def run_programs(
    sources: Iterable[str],
    limits: Limits = DEFAULT_LIMITS,
    workers: int = 1,
    isolation: Isolation = DEFAULT_ISOLATION,
) -> Generator[Result, None, None]:
    """Run programs, `workers` at a time, and yield their results in the order of the programs.

    Programs are taken from `sources` as they are needed. Closing the generator kills what still runs.
    """
    return run_jobs((Job(source) for source in sources), limits, workers, isolation)


def run_jobs(
    jobs: Iterable[Job], limits: Limits, workers: int, isolation: Isolation = DEFAULT_ISOLATION
) -> Generator[Result, None, None]:
    """`run_programs` for programs with their own stdin and expected values."""
    return _run_jobs(jobs, limits, Pool(workers, isolation, limits.memory_mb))


def _run_jobs(jobs: Iterable[Job], limits: Limits, pool: Pool) -> Generator[Result, None, None]:
    taken: deque[Job] = deque()

    def tasks() -> Iterator[Task]:
        for job in jobs:
            taken.append(job)
            yield _task(job, limits)

    with closing(pool), closing(pool.run(tasks())) as ended:
        for endings in ended:
            yield _result(taken.popleft(), of_one(endings[0], limits))


def _task(job: Job, limits: Limits) -> Task:
    if not isinstance(job.source, str) or not isinstance(job.stdin, str):
        raise SandboxError("a program and its stdin must be text: decode bytes before running them")
    request = {"mode": "program", "programs": [job.source], "output_bytes": limits.output_bytes}
    return Task((request,), limits, job.stdin)


def _result(job: Job, result: Result) -> Result:
    return result if job.expected is UNSET else result.judged(job.expected)
