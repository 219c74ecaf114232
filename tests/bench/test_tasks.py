"""Benchmarks of test functions: read, cut, graded by their own tests."""

from pathlib import Path

import pytest
from made import TASKS, tasks_file, write_lines

from polyturn.bench.tasks import read_tasks
from polyturn.sandbox import grade_functions
from polyturn.utils.errors import UserError

MBPP = [
    {
        "task_id": 7,
        "text": "Write a function that joins words by dashes.",
        "code": "def helper(w):\r\n    return w\r\ndef dashed(words):\r\n    return '-'.join(map(helper, words))",
        "test_list": ["assert dashed(['a', 'b']) == 'a-b'", "assert dashed([]) == ''"],
        "test_setup_code": "",
    },
    {
        "task_id": 8,
        "prompt": "Write a function that gives the square root.",
        "code": "import math\ndef root(x):\n    return math.sqrt(x)",
        "test_imports": ["import math"],
        "test_list": ["assert math.isclose(root(2), 1.4142135623730951)"],
    },
]


def test_reference_solutions_pass(tmp_path: Path) -> None:
    for name, records in (("humaneval", TASKS), ("mbpp", MBPP)):
        tasks = read_tasks(write_lines(tmp_path / f"{name}.jsonl", records), name)  # pyright: ignore[reportArgumentType]
        jobs = [task.job(task.program(task.solution or "")) for task in tasks.items]
        assert [result.verdict for result in grade_functions(jobs)] == ["passed"] * len(records)


def test_wrong_functions_do_not_pass(tmp_path: Path) -> None:
    tasks = read_tasks(tasks_file(tmp_path), "humaneval").items
    bodies = ["    return xs\n", "    return xs[0]\n"]  # the second raises another exception
    results = grade_functions([task.job(task.program(body)) for task, body in zip(tasks, bodies, strict=True)])
    assert [result.verdict for result in results] == ["wrong", "error"]


@pytest.mark.parametrize("stop", ["\nclass A:", "\ndef f():", "\n# next", "\nif x:", "\nprint(1)"])
def test_a_completion_ends_where_codex_ended_it(tmp_path: Path, stop: str) -> None:
    task = read_tasks(tasks_file(tmp_path), "humaneval").items[0]
    assert task.cut(f"    return 1{stop}\nmore") == "    return 1"
    assert task.cut("    return 1\n    # inside") == "    return 1\n    # inside"


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({key: value for key, value in TASKS[0].items() if key != "test"}, "no 'test'"),
        ({**TASKS[0], "test": "def check(:"}, "not Python"),
        ({**TASKS[0], "prompt": 3}, "prompt is not text"),
        (TASKS[1], "second time"),
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, record: dict[str, object], says: str) -> None:
    path = write_lines(tmp_path / "tasks.jsonl", [TASKS[1], record])
    with pytest.raises(UserError, match=rf"Line 2 of .*{says}"):
        read_tasks(path, "humaneval")


def test_mbpp_shows_the_wish_and_the_tests(tmp_path: Path) -> None:
    task = read_tasks(write_lines(tmp_path / "mbpp.jsonl", MBPP), "mbpp").items[0]
    assert task.entry_point == "dashed"
    assert task.prompt.startswith('"""\nWrite a function that joins')
    assert "assert dashed([]) == ''" in task.prompt
