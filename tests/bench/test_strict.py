"""The strict grader: typed values, errors fail, the last bare expression counts. And how it differs."""

import json
import re
from pathlib import Path

import pytest
from disagreements import CLASSES, Seen, explanations
from grader_cases import recorded
from hypothesis import given
from hypothesis import strategies as st

from polyturn.bench.strict import accepts, grade_strict
from polyturn.sandbox import UNSET, Limits, Result, run_program

LIMITS = Limits(cpu_s=1, wall_s=5, memory_mb=512)
DOCS = Path(__file__).parents[2] / "docs" / "graders.md"


def graded(*jobs: tuple[str, object]) -> list[str]:
    return [result.verdict for result in grade_strict(jobs, LIMITS)]


def test_the_last_bare_expression_counts_as_at_the_prompt() -> None:
    assert graded(
        ("5", 5),
        ("print(4)\n5", 5),
        ("print(5)\n4", 5),
        ("x = [2, 1]\nprint(x)\nx.sort()", [2, 1]),  # None, as at the prompt
        ("print(5)\nNone", 5),
        ("if True:\n    5", 5),
        ("x = 5", 5),
        ("def print(*args): pass\n5", 5),
        ("from __future__ import annotations\nx: no_such_type = 5\nx", 5),
        ("print(5)\nyield 5", 5),
    ) == ["passed", "passed", "wrong", "passed", "passed", "wrong", "wrong", "passed", "passed", "error"]


def test_values_are_typed_and_errors_fail() -> None:
    assert graded(
        ("print(5.9)", 5),
        ("print('5')", 5),
        ("print(True)", 1),
        ("print((1, 2))", [1, 2]),
        ("print([0.1 + 0.2])", [0.3]),
        ("print({1: 'a'})", {"1": "a"}),
        ("print(None)", None),
        ("", None),
        ("print(5)\n1 / 0", 5),
        ("print(5", 5),
        ("print(5)\nwhile True: pass", 5),
    ) == [*["wrong"] * 3, *["passed"] * 4, "wrong", "error", "error", "timeout"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(JSON)
def test_a_json_value_is_accepted_where_it_is_expected(value: object) -> None:
    assert accepts(value, value)
    assert not accepts([value], value)
    assert not accepts(UNSET, value)


@given(st.dictionaries(KEYS, JSON, max_size=4))
def test_keys_are_compared_as_json_writes_them(value: dict[object, object]) -> None:
    written = json.loads(json.dumps(value))
    assert accepts([value], [written]) == (len(written) == len(value))


@pytest.mark.parametrize(
    "source",
    [
        "x = 1\n\nprint(x)\nx / 0",
        "1 / 0",
        "def f(n):\n    if n == 0:\n        raise ValueError('end')\n    f(n - 1)\n\nprint(1)\nf(2)\n",
        "x = 1\nx = = 2\n",
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    {}['a']",
        "import json\njson.loads('{')\n5",
        "x = 1\r\nx / 0\r\n",
        "raise SystemExit(3)",
        "print(5)\x00",
        "exec('1 / 0')",
    ],
)
def test_errors_are_told_as_if_the_program_had_run_by_itself(source: str) -> None:
    (ours,) = grade_strict([(source, 5)], LIMITS)
    alone = run_program(source, LIMITS)
    assert ours.error is not None
    assert alone.error is not None
    assert (ours.verdict, ours.stdout, ours.stderr, ours.printed) == (
        alone.verdict,
        alone.stdout,
        alone.stderr,
        alone.printed,
    )
    assert (ours.error.type, ours.error.message, ours.error.line) == (
        alone.error.type,
        alone.error.message,
        alone.error.line,
    )
    marks = re.compile(r"^ +[~^]+\n", re.M)  # below source lines; only the sandbox has them
    assert marks.sub("", ours.error.traceback) == marks.sub("", alone.error.traceback)


def test_lines_are_counted_as_python_counts_them() -> None:
    (result,) = grade_strict([("x = 'a\x0cb'\ny = 'c\u2028d'\r\nx / 0", 5)], LIMITS)
    assert result.error is not None
    assert result.error.line == 3
    assert "line 3, in <module>\n    x / 0\n" in result.error.traceback


def test_the_program_finds_the_namespace_of_a_script() -> None:
    source = "import __main__\nx = 1\nprint(sorted(vars(__main__)), __name__, vars() is vars(__main__))"
    (ours,) = grade_strict([(source, 5)], LIMITS)
    assert ours.printed == run_program(source, LIMITS).printed


@pytest.fixture(scope="module")
def disagreements(original_results: list[Result]) -> list[tuple[Seen, list[str]]]:
    """Every recorded program that the two graders judge differently, with the classes that explain it."""
    rows = recorded()
    jobs = [(source, gold) for source, gold, _ in rows]
    strict = list(grade_strict(jobs, LIMITS, workers=2))
    seen = [Seen(*row, o, s) for row, o, s in zip(rows, original_results, strict, strict=True)]
    return [(each, explanations(each)) for each in seen if each.released != (each.strict.verdict == "passed")]


@pytest.mark.slow
def test_it_disagrees_with_the_released_grader_where_documented_only(
    disagreements: list[tuple[Seen, list[str]]],
) -> None:
    assert [(seen.source, seen.gold, seen.released) for seen, classes in disagreements if not classes] == []


@pytest.mark.slow
def test_every_documented_disagreement_occurs(disagreements: list[tuple[Seen, list[str]]]) -> None:
    occurring = {name for _, classes in disagreements for name in classes}
    assert occurring == set(CLASSES)


def test_the_documented_disagreements_are_those_of_the_rules() -> None:
    table = re.findall(r"^\| \*\*(.+?)\*\* \|", DOCS.read_text(encoding="utf-8"), re.M)
    assert sorted(table) == sorted(CLASSES)
