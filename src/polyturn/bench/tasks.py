"""Benchmarks of test functions: HumanEval, HumanEval+ and MBPP, read from the files that their makers publish.

    tasks = read_tasks("HumanEval.jsonl.gz", "humaneval")
    tasks.items[0].program(completion)     # what is run and tested

The file is an input: this package ships none of them. What is read of a line:

- humaneval: `task_id`, `prompt`, `entry_point`, `test` (which defines `check(candidate)`), `canonical_solution`.
  HumanEval+ in its published form with a `test` has the same fields.
- mbpp: `task_id`, `text` or `prompt`, `code`, `test_list` or `test`, `test_imports` or `test_setup_code`. Its tests
  call the function by its name, so the entry point is the function of `code` that they call.
"""

import ast
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from polyturn.sandbox import FunctionJob
from polyturn.synthesis.truncate import parses
from polyturn.utils.errors import UserError
from polyturn.utils.jsonl import read_jsonl

type TaskSet = Literal["humaneval", "mbpp"]

STOPS: Mapping[TaskSet, tuple[str, ...]] = {
    # Chen et al. 2021 (Codex), section 2.3
    "humaneval": ("\nclass", "\ndef", "\n#", "\nif", "\nprint"),
    # a program of its own, which may have several functions: it ends where it begins to test or to explain itself
    "mbpp": ('\n"""', "\nassert", "\nprint", "\nif", "\n#"),
}
"""Where a completion ends: before the first of these strings."""


@dataclass(frozen=True)
class Task:
    """A function to be written.

    prompt: what the model continues. tests: text that defines `check(candidate)`. prelude: trusted text that the tests
    may use. solution: a right completion of the prompt, if the file has one.
    """

    id: str
    prompt: str
    tests: str
    entry_point: str
    prelude: str
    solution: str | None
    stops: tuple[str, ...]
    continues: bool  # the completion goes on inside the prompt's last function; else it is a program of its own

    def program(self, completion: str) -> str:
        """The program that a completion makes.

        One that defines the whole function takes the place of the prompt's, behind what the prompt has before it.
        """
        if not self.continues:
            return completion
        if self.whole(completion):
            found = self._definition(self.prompt)
            return self.prompt[: found.start()] + completion if found else completion
        return self.prompt + completion

    def whole(self, text: str) -> bool:
        """Whether a text is a program by itself that defines the function, as chat models like to answer."""
        return self._definition(text) is not None and parses(text)

    def _definition(self, text: str) -> re.Match[str] | None:
        """Where a text defines the function, at the left margin."""
        return re.search(rf"^(?:async[ \t]+)?def[ \t]+{re.escape(self.entry_point)}\b", text, re.MULTILINE)

    def job(self, program: str) -> FunctionJob:
        """How a program is tested."""
        return FunctionJob(program, self.tests, self.entry_point, self.prelude)

    def cut(self, text: str) -> str:
        """A completion up to the first stop string."""
        ends = [at for at in map(text.find, self.stops) if at >= 0]
        return text[: min(ends)] if ends else text


@dataclass(frozen=True)
class Tasks:
    """A file of tasks; digest: SHA-256 of its bytes as they are on the disk, in hex."""

    items: tuple[Task, ...]
    digest: str


def read_tasks(path: str | Path, task_set: TaskSet) -> Tasks:
    """The tasks of a file, `.jsonl` or `.jsonl.gz`, in its order.

    Raises:
        UserError: it cannot be read, a line lacks something, tests are not Python, or an id comes twice.
    """
    read = {"humaneval": _humaneval, "mbpp": _mbpp}[task_set]
    items: dict[str, Task] = {}
    for number, record in read_jsonl(path):
        task = _read(read, record, f"Line {number} of {path}")
        if task.id in items:
            raise UserError(f"Line {number} of {path} has the id {task.id} for the second time; remove one of them.")
        items[task.id] = task
    if not items:
        raise UserError(f"{path} holds no tasks; give the benchmark's own file.")
    return Tasks(tuple(items.values()), hashlib.sha256(Path(path).read_bytes()).hexdigest())


def _read(read: Callable[[Mapping[str, Any]], Task], record: Mapping[str, Any], where: str) -> Task:
    try:
        task = read(record)
    except KeyError as error:
        raise UserError(f"{where} has no {error.args[0]!r}; give the benchmark's own file.") from None
    except (TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{where} is not a task ({error}); give the benchmark's own file.") from None
    for name, text in (("tests", task.tests), ("prelude", task.prelude)):
        if not parses(text):
            raise UserError(f"{where}: the {name} of {task.id} are not Python; give the benchmark's own file.")
    return task


def _humaneval(record: Mapping[str, Any]) -> Task:
    prompt, tests = _text(record, "prompt"), _text(record, "test")
    return Task(
        id=str(record["task_id"]),
        prompt=prompt,
        tests=tests,
        entry_point=_text(record, "entry_point"),
        prelude=prompt,
        solution=_text(record, "canonical_solution") if "canonical_solution" in record else None,
        stops=STOPS["humaneval"],
        continues=True,
    )


def _mbpp(record: Mapping[str, Any]) -> Task:
    code = _text(record, "code")
    imports = record.get("test_imports") or record.get("test_setup_code") or ""
    prelude = imports if isinstance(imports, str) else "\n".join(imports)
    asserts = record.get("test_list") or []
    tests = _text(record, "test") if record.get("test") else "\n".join(asserts)
    if not tests.strip():
        raise KeyError("test_list")
    wish = _text(record, "text" if "text" in record else "prompt").strip()
    shown = "\n".join(asserts[:3])
    # the description and the tests as a docstring, after Fried et al. 2022 (InCoder), appendix
    return Task(
        id=str(record["task_id"]),
        prompt=f'"""\n{wish}\n{shown}\n"""\n',
        tests="def check(candidate):\n" + "".join(f"    {line}\n" for line in _lines(tests)),
        entry_point=_called(code, tests),
        prelude=prelude,
        solution=code.replace("\r\n", "\n"),
        stops=STOPS["mbpp"],
        continues=False,
    )


def _lines(source: str) -> list[str]:
    """The lines of a source, each statement on lines that may be indented without changing a string in it."""
    return ast.unparse(ast.parse(source)).split("\n")


def _called(code: str, tests: str) -> str:
    """The function of `code` that `tests` name, the last one defined if they name several."""
    named = set(re.findall(r"\w+", tests))
    defined = [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    found = [name for name in defined if name in named]
    if not found:
        raise ValueError("its tests call no function of its code")
    return found[-1]


def _text(record: Mapping[str, Any], field: str) -> str:
    value = record[field]
    if not isinstance(value, str):
        raise TypeError(f"{field} is not text")
    return value
