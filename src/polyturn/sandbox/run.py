"""Runs programs, each in a child of its own: one, or many side by side."""

import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from .limits import DEFAULT_LIMITS, Limits, SandboxError
from .process import run_child
from .result import UNSET, Result, of_one, read_outcome


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
) -> Result:
    """Run one Python program and say what it did.

    With `expected`, the program must also print that value last: see `Result.judged`. Never raises for what
    the program does; SandboxError for arguments that are not text, and on a system that cannot run a child at
    all.
    """
    return _run(Job(source, stdin, expected), limits, None)


def run_programs(
    sources: Iterable[str], limits: Limits = DEFAULT_LIMITS, workers: int = 1
) -> Generator[Result, None, None]:
    """Run programs, `workers` at a time, and yield their results in the order of the programs.

    Programs are taken from `sources` as they are needed. Closing the generator kills what still runs.
    """
    return run_jobs((Job(source) for source in sources), limits, workers)


def run_jobs(jobs: Iterable[Job], limits: Limits, workers: int) -> Generator[Result, None, None]:
    """`run_programs` for programs with their own stdin and expected values."""
    check_workers(workers)
    return _run_jobs(jobs, limits, workers)


def check_workers(workers: int) -> None:
    """SandboxError unless that many programs can run side by side."""
    if workers < 1:
        raise SandboxError(f"workers is {workers}: give 1 or more")


def _run_jobs(jobs: Iterable[Job], limits: Limits, workers: int) -> Generator[Result, None, None]:
    cancel = threading.Event()
    ahead: deque[Future[Result]] = deque()
    # Threads, since they only wait for children. They outlive their children, which would otherwise be
    # killed: the death that PR_SET_PDEATHSIG announces is that of the thread which started the child.
    with ThreadPoolExecutor(workers, thread_name_prefix="sandbox") as pool:
        try:
            for job in jobs:
                ahead.append(pool.submit(_run, job, limits, cancel))
                if len(ahead) >= 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            cancel.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _run(job: Job, limits: Limits, cancel: threading.Event | None) -> Result:
    if not isinstance(job.source, str) or not isinstance(job.stdin, str):
        raise SandboxError("a program and its stdin must be text: decode bytes before running them")
    outcomes: list[Result] = []
    ending = run_child(
        [job.source],
        limits,
        lambda frame: outcomes.append(read_outcome(frame)),
        stdin=job.stdin,
        cancel=cancel,
    )
    result = of_one(outcomes[0] if outcomes else None, ending, limits)
    return result if job.expected is UNSET else result.judged(job.expected)
