"""Grades a program by tests that call its functions, as HumanEval does, without showing it the tests.

The program runs in one child, the tests in another, and calls travel between them as plain values (`calls.py`). The
program is not given the text of the tests; it cannot patch what they use, nor return an object that equals everything.
It is told the names that they use and do not define; a helper that the prelude does not define is the program's own.
"""

import dis
import secrets
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

from .limits import DEFAULT_ISOLATION, DEFAULT_LIMITS, Isolation, Limits, SandboxError
from .pool import Pool, shared_pool
from .result import ProgramError, Result, of_one
from .values import shown
from .worker import Ending, Task

_GLOBAL_LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
INPROC = "inproc"  # in the layers of a result: the program shared a process with its tests


class FunctionJob(NamedTuple):
    """A program and how to test it.

    program: the whole text. tests: text that defines `check(candidate)`, which raises if the candidate is wrong.
    entry_point: the function of the program that is the candidate.
    prelude: trusted text whose imports and functions the tests may use, such as HumanEval's prompt. Names that it does
        not define are the program's.
    """

    program: str
    tests: str
    entry_point: str
    prelude: str = ""


def grade_function(
    program: str,
    tests: str,
    entry_point: str,
    limits: Limits = DEFAULT_LIMITS,
    prelude: str = "",
    isolation: Isolation = DEFAULT_ISOLATION,
    inproc: bool = False,
) -> Result:
    """Grade one program: see `FunctionJob`.

    `passed`: `check` returned. `wrong`: it raised, an assertion or otherwise. `error`: the program raised, in a call
    or before. Else as in `Result`. stdout and printed are the program's, error is of what came first.

    inproc: run program and tests in one process, which a program can cheat; `layers` then ends with "inproc".

    Raises SandboxError for tests or a prelude that are not Python, and like `run_program`.
    """
    job = FunctionJob(program, tests, entry_point, prelude)
    with shared_pool(isolation, limits.memory_mb) as pool:
        task = _task(job, limits, inproc)
        (endings,) = pool.run([task])
    return _judge(endings, limits, task)


def grade_functions(
    jobs: Iterable[FunctionJob],
    limits: Limits = DEFAULT_LIMITS,
    workers: int = 1,
    isolation: Isolation = DEFAULT_ISOLATION,
    inproc: bool = False,
) -> Generator[Result, None, None]:
    """Grade many, `workers` at a time, and yield the results in the order of the jobs. Else as `grade_function`."""
    pool = Pool(workers, isolation, limits.memory_mb)
    taken: deque[Task] = deque()

    def tasks() -> Iterator[Task]:
        for job in jobs:
            taken.append(_task(job, limits, inproc))
            yield taken[-1]

    with closing(pool), closing(pool.run(tasks())) as ended:
        for endings in ended:
            yield _judge(endings, limits, taken.popleft())


def _task(job: FunctionJob, limits: Limits, inproc: bool) -> Task:
    if not all(isinstance(text, str) for text in job):
        raise SandboxError("program, tests, entry point and prelude must be text")
    if not job.entry_point.isidentifier():
        raise SandboxError(f"the entry point {shown(job.entry_point)} is not the name of a function")
    names = _names("tests", job.tests)
    _names("prelude", job.prelude)
    check = f"{job.tests}\n\ncheck({job.entry_point})\n"
    common = {"output_bytes": limits.output_bytes}
    if inproc:
        # The last line cannot be known by a program that means to leave early; it can be found by one that looks.
        word = secrets.token_hex(16)
        source = f"{job.program}\n\n{check}\nprint({word!r})\n"
        return Task(({"mode": "program", "programs": [source], "word": word, **common},), limits)
    tests = {"mode": "tests", "programs": [check], "prelude": job.prelude, "entry_point": job.entry_point}
    return Task((tests | {"names": names, **common}, {"mode": "called", "programs": [job.program], **common}), limits)


@lru_cache(256)
def _names(what: str, text: str) -> tuple[str, ...]:
    """The global names that the text uses and does not define. SandboxError if it is not Python.

    A benchmark has the same few tests for many programs.
    """
    try:
        code = compile(text, what, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise SandboxError(f"the {what} are not Python: {error}; mend the benchmark's file") from None
    defined = {step.argval for step in dis.get_instructions(code) if step.opname == "STORE_NAME"}
    return tuple(sorted(_loaded(code) - defined))


def _loaded(code: CodeType) -> set[str]:
    """The names that a code object, and those inside it, look up beyond their own variables and attributes."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname in _GLOBAL_LOADS}
    return names.union(*[_loaded(inner) for inner in code.co_consts if isinstance(inner, CodeType)])


def _judge(endings: list[Ending], limits: Limits, task: Task) -> Result:
    first = of_one(endings[0], limits)
    if len(endings) == 1:
        return _judge_inproc(first, task.requests[0]["word"])
    tests, program = first, of_one(endings[1], limits, dismissed_is_well=True)
    if program.verdict != "passed" or tests.verdict == "internal-error":
        return program if tests.verdict != "internal-error" else tests
    cpu_s, wall_s = tests.cpu_s + program.cpu_s, max(tests.wall_s, program.wall_s)
    result = replace(program, verdict=tests.verdict, error=tests.error, cpu_s=cpu_s, wall_s=wall_s)
    if tests.error is not None and tests.error.type == "CannotSend" and not tests.error.remote:
        return replace(result, verdict="internal-error", error=ProgramError("SandboxError", tests.error.message))
    if tests.verdict == "error" and not (tests.error and tests.error.remote):
        return replace(result, verdict="wrong")
    return result


def _judge_inproc(result: Result, word: str) -> Result:
    result = replace(result, layers=(*result.layers, INPROC))
    if result.verdict == "passed":
        return result.judged(word)
    failed = result.error is not None and result.error.type == "AssertionError"
    return replace(result, verdict="wrong") if failed else result
