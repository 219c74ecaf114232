"""The released grader's emulation: its verdicts are the released script's; what it does not share, it does not share.

With the script itself (grader_cases.py says which, and what runs it), on fresh programs:

    python -m pytest tests/bench/test_original.py --released-grader mtpb_exec.py --released-python PYTHON
"""

from pathlib import Path

import pytest
from grader_cases import LIMIT_S, Case, cases, recorded, released_verdicts

from polyturn.bench.original import accepts, grade_original
from polyturn.sandbox import Limits, Result

LIMITS = Limits(cpu_s=1, wall_s=5, memory_mb=512)


def graded(jobs: list[Case], alarm_s: float = LIMIT_S) -> list[Result]:
    return list(grade_original(jobs, LIMITS, workers=2, alarm_s=alarm_s))


def differing(jobs: list[Case], results: list[Result], released: list[bool]) -> list[tuple[Case, bool]]:
    assert not [result.error for result in results if result.verdict == "internal-error"]
    ours = [result.verdict == "passed" for result in results]
    return [(job, theirs) for job, theirs, verdict in zip(jobs, released, ours, strict=True) if theirs != verdict]


def test_recorded_programs_are_those_of_the_generator() -> None:
    assert repr([(source, gold) for source, gold, _ in recorded()]) == repr(cases())  # repr, for NaN


@pytest.mark.slow
def test_agrees_with_the_recorded_verdicts_of_the_released_grader(original_results: list[Result]) -> None:
    rows = recorded()
    assert len(rows) >= 3000
    assert 0.2 < sum(passed for *_, passed in rows) / len(rows) < 0.5
    jobs = [(source, gold) for source, gold, _ in rows]
    assert differing(jobs, original_results, [passed for *_, passed in rows]) == []


@pytest.mark.slow
@pytest.mark.released
@pytest.mark.parametrize("seed", [23, 5])
def test_agrees_with_the_released_grader(seed: int, request: pytest.FixtureRequest) -> None:
    script, python = (request.config.getoption(f"--released-{name}") for name in ("grader", "python"))
    assert isinstance(script, Path)
    assert isinstance(python, Path), "give --released-python too"
    wanted = cases(seed)
    verdicts = released_verdicts(wanted, script.resolve(), python.absolute())
    assert differing(wanted, graded(wanted), verdicts) == []


def test_says_what_went_wrong() -> None:
    sources = ["print(4)", "x = 1\nprint(4)\nx / 0", "print(5)\nwhile True: pass", "print(4", "x = 1\nif x: pass"]
    results = graded([(source, 7) for source in sources])
    assert [result.verdict for result in results] == ["wrong", "error", "timeout", "error", "wrong"]
    assert [result.error and (result.error.type, result.error.line) for result in results] == [
        None,
        ("ZeroDivisionError", 3),
        ("TimeoutException", 2),
        ("SyntaxError", 1),
        None,
    ]
    assert [result.last_text for result in results] == ["4", "4", "5", "", ""]
    assert results[1].stdout == "4\n"


def test_a_program_that_leaves_fails_and_the_next_is_graded() -> None:
    # The released run ended there, with exit code 0 and no score.
    results = graded(
        [("print(5)\nimport sys\nsys.exit()", 5), ("import os\nprint(5)\nos._exit(0)", 5), ("print(5)", 5)]
    )
    assert [result.verdict for result in results] == ["error", "error", "passed"]


def test_programs_do_not_spoil_the_next() -> None:
    spoilers = [
        "import builtins\nbuiltins.print = None",
        "import sys\nsys.modules['__main__'].accepts = None",
        "del print",
    ]
    jobs: list[Case] = [job for spoiler in spoilers for job in ((spoiler, 1), ("print(5)", 5), ("print(4)", 5))]
    assert [result.verdict for result in graded(jobs)][1::3] == ["passed"] * 3
    assert [result.verdict for result in graded(jobs)][2::3] == ["wrong"] * 3


def test_an_object_that_equals_everything_passes_nothing() -> None:
    liar = "class Liar:\n    def __eq__(self, other):\n        return True\n"
    assert [r.verdict for r in graded([(liar + "print([Liar()])", [1]), (liar + "print(Liar())", 1)])] == ["wrong"] * 2


def test_the_expected_value_is_not_in_the_child() -> None:
    gold = "needle-in-the-supervisor"
    source = f"""import gc, sys
frame, seen = sys._getframe(), []
while frame:
    seen += [repr(frame.f_globals), repr(frame.f_locals)]
    frame = frame.f_back
seen += [repr(o) for o in gc.get_objects() if isinstance(o, (dict, tuple, list))]
needle = bytes.fromhex({gold.encode().hex()!r}).decode()
print("".join(seen).count(needle), "".join(seen).count("alarm_s") > 0)"""
    (result,) = graded([(source, gold)])
    assert result.stdout == "0 True\n"  # the grader's frames were looked through


@pytest.mark.parametrize(
    "report",
    [
        "('original-grader',)",
        "('original-grader', None, '', None, None)",
        "('original-grader', None, '', (('5',), (5,), (5.0,), ([5],)), None)",
        "('original-grader', None, '', ((5,), ('x',), ('x',), ('x',)), None)",
        "('original-grader', ('a', 'b', 'c'), '', None, None)",
        "('original-grader', None, '', ((), (), (), (5,)), None)",
        "('original-grader', None, '', ((), (), (), ([('array', 'float64', (10**12,), [1])],)), None)",
        "('original-grader', None, '', ((), (), (), ([('array', 'float64', (1, -1, -1), ['x'])],)), None)",
        "('original-grader', None, '', None, ('array', 'float64', (1,), [None]))",
        "('original-grader', None, '', None, (1, 2))",
    ],
)
@pytest.mark.parametrize("gold", [7, [7], 7.0])
def test_a_forged_report_is_a_wrong_answer(report: str, gold: object) -> None:
    source = f"import builtins, sys\nsys.stdout = sys.__stdout__\nbuiltins.print({report})\nsys.exit()"
    (result,) = graded([(source, gold)])
    assert result.verdict in ("wrong", "error")


@pytest.mark.slow
def test_a_program_that_swallows_the_alarm_is_stopped_by_the_sandbox() -> None:
    source = "print(5)\nwhile True:\n    try:\n        for i in iter(int, 1): i += 1\n    except BaseException: pass"
    (result,) = graded([(source, 5)], alarm_s=0.2)
    assert result.verdict == "timeout"


def test_plain_values_are_accepted_as_when_printed() -> None:
    values = [(5.9, 5), ("5", 5), (True, 1), (1, True), ("True", True), ("abc", ["a", "b", "c"]), ({"a": 1}, ["a"])]
    values += [([0.1 + 0.2], [0.3]), (0.1 + 0.2, 0.3), (None, None), ({"a": 1}, {"a": 1}), (5, "5"), ([1.0], [1])]
    printed = graded([(f"print({value!r})", gold) for value, gold in values])
    assert [accepts(value, gold) for value, gold in values] == [result.verdict == "passed" for result in printed]
