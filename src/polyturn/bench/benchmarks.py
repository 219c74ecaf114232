"""The benchmarks, each behind the same few questions: what to ask a model, how to grade what it wrote.

    benchmark = read_benchmark("mtpb", "mtpb.jsonl")
    benchmark.scripts("multi", "1", 1)

============== ============================================================= ====================== =================
name           data                                                          modes                  graders
============== ============================================================= ====================== =================
humaneval      HumanEval's file, or HumanEval+'s with a `test`               single                 tests, inproc
mbpp           MBPP's file, or MBPP+'s                                       single                 tests, inproc
mtpb           MTPB's file, or any of that form (docs/formats.md)            multi, single, concat, strict, original
                                                                             oracle
============== ============================================================= ====================== =================

`tests` keeps the program apart from its tests; `inproc` runs them in one process, as other graders do, and a program
can cheat it. `strict` and `original` are told apart in `docs/graders.md`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol, get_args

from polyturn.bench import errata, script
from polyturn.bench.baseline import Baseline, constant_guess
from polyturn.bench.mtpb import Problem, Problems, read_problems
from polyturn.bench.original import ALARM_S, grade_original, limits_in_force
from polyturn.bench.samples import Key, Sample
from polyturn.bench.script import Script
from polyturn.bench.strict import grade_strict
from polyturn.bench.tasks import Task, Tasks, read_tasks
from polyturn.sandbox import Isolation, Limits, Result, grade_functions
from polyturn.synthesis.turns import Turn, program_source
from polyturn.utils.errors import UserError
from polyturn.utils.jsonl import read_jsonl

type Name = Literal["humaneval", "mbpp", "mtpb"]
type Mode = Literal["multi", "single", "concat", "oracle"]
type Grader = Literal["tests", "inproc", "strict", "original"]

MODES: tuple[Mode, ...] = get_args(Mode.__value__)
GRADERS: tuple[Grader, ...] = ("strict", "original", "tests", "inproc")  # in the order of reports
MAX_TOKENS = 512  # of a function; HumanEval's longest reference takes about 400 tokens of GPT-2's tokenizer


class Benchmark(Protocol):
    """What the runner needs to know of a benchmark."""

    name: Name
    digest: str
    modes: tuple[Mode, ...]
    graders: tuple[Grader, ...]
    cases: Mapping[str, int]
    """Ids of the tasks, in order, and how many cases each has."""
    problems: Mapping[str, Problem]
    """Multi-turn problems by id; empty for other benchmarks."""
    max_tokens: int | None
    """The longest completion; None where each problem says it."""
    errata_version: int | None
    """Of the list of unfair cases, where it applies."""

    def scripts(self, mode: Mode, task: str, case: int) -> list[tuple[int, Script]]:
        """What to ask for a case (from 1), with the turn that it is for, or 0; nothing where the mode cannot ask it."""
        ...

    def grade(
        self, grader: Grader, samples: Iterable[Sample], limits: Limits, workers: int, isolation: Isolation
    ) -> Iterator[Result]:
        """The result of each sample, in order."""
        ...

    def fair(self, task: str, case: int) -> bool:
        """Whether a right program passes the case."""
        ...

    def limits(self, grader: Grader, limits: Limits) -> dict[str, object]:
        """What a grader holds a program to that is given these limits, as JSON values."""
        ...

    def baseline(self, grader: Grader, cases: Collection[tuple[str, int]]) -> Baseline | None:
        """What always guessing a problem's commonest answer scores on these cases; None where that has no meaning.

        A case is the id of its task and its number, from 1.
        """
        ...

    def references(self) -> list[Sample]:
        """The file's own solutions as samples, one for each case of the tasks that have one."""
        ...


def place(mode: str, grader: str) -> tuple[int, int]:
    """Where results stand among others: by grader, then by mode, in the orders above; unknown ones last."""
    known = (GRADERS.index(grader) if grader in GRADERS else len(GRADERS),)  # pyright: ignore[reportArgumentType]
    return (*known, MODES.index(mode) if mode in MODES else len(MODES))  # pyright: ignore[reportArgumentType]


def read_benchmark(name: Name, path: Path, max_tokens: int | None = None, chat: bool = False) -> Benchmark:
    """A benchmark from its file.

    Args:
        name: which benchmark.
        path: its file.
        max_tokens: the longest completion of a function; multi-turn problems say it themselves.
        chat: a chat model is to be asked, which may answer a function to complete with all of it.

    Raises:
        UserError: the file cannot be read, or is of another form; or max_tokens has no meaning.
    """
    if max_tokens is not None and max_tokens < 1:
        raise UserError(f"--max-tokens is {max_tokens}; give 1 or more.")
    if name == "mtpb" and max_tokens is not None:
        raise UserError("The problems of mtpb say how long a turn may get; leave --max-tokens out.")
    try:
        if name == "mtpb":
            return TurnBenchmark(name, read_problems(path))
        return TaskBenchmark(name, read_tasks(path, name), max_tokens or MAX_TOKENS, chat)
    except UserError:
        _check_kind(name, path)
        raise


def _check_kind(name: Name, path: Path) -> None:
    """Raise UserError where a file that is no good as one of this benchmark is something else altogether."""
    with suppress(OSError), path.open("rb") as file:
        start = file.read(64).lstrip()
        if start and not start.startswith((b"{", b"\x1f\x8b", b"\xef\xbb\xbf{")):
            raise UserError(f"{path} is not a file of JSON lines; give {name}'s own, .jsonl or .jsonl.gz.")
    fields: set[str] = set()
    with suppress(UserError):
        fields.update(*(record for _, record in islice(read_jsonl(path), 1)))
    for other, typical in _TYPICAL.items():
        if typical <= fields and other != name:
            raise UserError(
                f"{path} looks like a file of {other}, not of {name}; give the file of {name}, or say {other}."
            )


_TYPICAL: dict[Name, set[str]] = {
    "humaneval": {"task_id", "entry_point", "test"},
    "mbpp": {"task_id", "code"},
    "mtpb": {"prompts", "inputs"},
}


class TaskBenchmark:
    """Functions to complete, with tests."""

    modes: tuple[Mode, ...] = ("single",)
    graders: tuple[Grader, ...] = ("tests", "inproc")

    errata_version: int | None = None

    def __init__(self, name: Name, tasks: Tasks, max_tokens: int, chat: bool) -> None:
        self.name: Name = name
        self.digest = tasks.digest
        self.cases: Mapping[str, int] = {task.id: 1 for task in tasks.items}
        self.tasks: Mapping[str, Task] = {task.id: task for task in tasks.items}
        self.problems: Mapping[str, Problem] = {}
        self.max_tokens: int | None = max_tokens
        self._script = lambda task: script.task_script(task, max_tokens, chat)

    def scripts(self, mode: Mode, task: str, case: int) -> list[tuple[int, Script]]:
        """The one prompt of a task."""
        return [(0, self._script(self.tasks[task]))]

    def grade(
        self, grader: Grader, samples: Iterable[Sample], limits: Limits, workers: int, isolation: Isolation
    ) -> Iterator[Result]:
        """By the task's tests."""
        jobs = (self.tasks[s.key.task].job(self._program(s)) for s in samples)
        return grade_functions(jobs, limits, workers, isolation, inproc=grader == "inproc")

    def _program(self, sample: Sample) -> str:
        """A sample without codes is a whole program of another tool."""
        return self.tasks[sample.key.task].program(sample.completion) if sample.codes else sample.completion

    def fair(self, task: str, case: int) -> bool:
        """All of them are."""
        return True

    def limits(self, grader: Grader, limits: Limits) -> dict[str, object]:
        """Those given."""
        return asdict(limits)

    def baseline(self, grader: Grader, cases: Collection[tuple[str, int]]) -> Baseline | None:
        """A function cannot be guessed."""
        return None

    def references(self) -> list[Sample]:
        """Those of `canonical_solution` or `code`."""
        return [
            Sample(Key(task.id, 1, 0), task.solution, (task.solution,))
            for task in self.tasks.values()
            if task.solution is not None
        ]


class TurnBenchmark:
    """Programs to write turn by turn, and the value each must print."""

    modes: tuple[Mode, ...] = MODES
    graders: tuple[Grader, ...] = ("strict", "original")
    max_tokens: int | None = None

    def __init__(self, name: Name, problems: Problems) -> None:
        self.name: Name = name
        self.digest = problems.digest
        self.problems: Mapping[str, Problem] = {problem.id: problem for problem in problems.problems}
        self.cases: Mapping[str, int] = {problem.id: problem.cases for problem in problems.problems}
        self._all = problems
        self.errata_version = errata.errata().version if errata.is_mtpb(problems) else None

    def scripts(self, mode: Mode, task: str, case: int) -> list[tuple[int, Script]]:
        """One script, or one for each turn in `oracle`, for which the problem must have reference code."""
        problem = self.problems[task]
        if mode == "oracle":
            turns = range(len(problem.prompts)) if problem.reference else ()
            return [(turn + 1, script.oracle(problem, case, turn)) for turn in turns]
        build = {"multi": script.multi, "single": script.single, "concat": script.concat}[mode]
        return [(0, build(problem, case))]

    def grade(
        self, grader: Grader, samples: Iterable[Sample], limits: Limits, workers: int, isolation: Isolation
    ) -> Iterator[Result]:
        """By the value that the program prints."""
        jobs = ((s.completion, self.problems[s.key.task].gold(s.key.case)) for s in samples)
        grade = {"strict": grade_strict, "original": grade_original}[grader]
        return grade(jobs, limits, workers, isolation)

    def fair(self, task: str, case: int) -> bool:
        """Not those of the errata list."""
        return self.errata_version is None or not errata.unfair(task, case)

    def limits(self, grader: Grader, limits: Limits) -> dict[str, object]:
        """`original` has an alarm that interrupts a program, and clocks that do not end it before."""
        if grader == "original":
            return {**asdict(limits_in_force(limits)), "alarm_s": ALARM_S}
        return asdict(limits)

    def baseline(self, grader: Grader, cases: Collection[tuple[str, int]]) -> Baseline | None:
        """See `baseline.py`."""
        return constant_guess(self._all, grader, cases)  # pyright: ignore[reportArgumentType]

    def references(self) -> list[Sample]:
        """Those of `reference`, as the program of `multi`."""
        found = []
        for problem in self.problems.values():
            for case in range(1, problem.cases + 1) if problem.reference else ():
                codes = problem.reference_code(case)
                turns = [Turn(intent, code) for intent, code in zip(problem.intents(case), codes, strict=True)]
                found.append(Sample(Key(problem.id, case, 0), program_source(turns, problem.prefix), tuple(codes)))
        return found
