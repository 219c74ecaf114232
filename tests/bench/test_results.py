"""Scores of made-up outcomes against arithmetic by hand, and the file: stable, whole, refused when damaged."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from polyturn.bench.results import Outcome, Run, read_results, summarise, write_results
from polyturn.utils.errors import UserError

EXPECTED = {"1": 2, "2": 1}
PASSED = {("1", 1): "1100", ("1", 2): "1000", ("2", 1): "1111"}  # of four samples each


def outcomes(passed: Mapping[tuple[str, int], str] = PASSED, unfair: Iterable[tuple[str, int]] = ()) -> list[Outcome]:
    return [
        Outcome(problem, case, sample, mark == "1", (problem, case) not in unfair, "passed" if mark == "1" else "wrong")
        for (problem, case), marks in passed.items()
        for sample, mark in enumerate(marks)
    ]


def summed(samples: list[Outcome], **other: Any) -> Run:
    given: dict[str, Any] = {
        "benchmark": "mtpb",
        "model": "m",
        "mode": "multi",
        "grader": "strict",
        "temperature": 0.2,
        "n": 4,
        "ks": (1, 2, 4, 10),
        "expected": EXPECTED,
        "settings": {"seed": 0, "digest": "abc"},
    }
    return summarise(samples, **(given | other))


def test_every_problem_counts_the_same_and_every_case_of_it() -> None:
    run = summed(outcomes())
    assert run.scores == {"1": 0.375, "2": 1.0}  # (2/4 + 1/4) / 2, and 4/4
    assert run.pass_rate == 0.6875
    assert (run.problems, run.cases, run.samples, run.missing, run.partial) == (2, 3, 12, 0, False)
    assert run.verdicts == {"passed": 7, "wrong": 5}
    assert run.ci95[0] < run.pass_rate < run.ci95[1]


def test_pass_at_k_is_estimated_for_each_case() -> None:
    run = summed(outcomes())
    # of 6 pairs of samples 5 hold a pass in the first case, 3 in the second
    assert run.pass_at == {"1": 0.6875, "2": round(((5 / 6 + 3 / 6) / 2 + 1) / 2, 6), "4": 1.0}
    assert run.pass_at_ci95.keys() == run.pass_at.keys()
    assert run.pass_at["1"] == run.pass_rate


def test_a_k_for_which_any_case_has_too_few_samples_is_absent() -> None:
    assert list(summed(outcomes({**PASSED, ("2", 1): "111"})).pass_at) == ["1", "2"]


def test_unfair_cases_leave_the_fair_score_alone() -> None:
    run = summed(outcomes(unfair=[("1", 2)]))
    assert (run.pass_rate, run.fair_scores, run.fair_pass_rate) == (0.6875, {"1": 0.5, "2": 1.0}, 0.75)
    whole_problem = summed(outcomes(unfair=[("1", 1), ("1", 2)]))
    assert (whole_problem.fair_scores, whole_problem.fair_pass_rate) == ({"2": 1.0}, 1.0)
    assert summed(outcomes(unfair=PASSED)).fair_pass_rate is None
    assert summed(outcomes()).fair_pass_rate is None  # nothing to leave out


def test_missing_samples_are_counted_and_not_scored() -> None:
    run = summed(outcomes({("1", 1): "11", ("1", 2): "1000"}))
    assert (run.missing, run.partial, run.samples) == (12 - 6, True, 6)
    assert (run.problems, run.cases, run.scores) == (1, 2, {"1": 0.625})
    more = summed(outcomes({**PASSED, ("1", 1): "11001111", ("2", 1): "11"}))
    assert more.missing == 2  # four too many of one case replace none of another


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "no sample"),
        (outcomes() + outcomes()[:1], "Sample 0 of problem 1, case 1, was graded twice"),
        (outcomes({("9", 1): "1"}), "problem 9"),
        (outcomes({("2", 1): "1", ("2", 2): "1"}), "2 cases of problem 2 were graded, but mtpb has 1"),
    ],
)
def test_outcomes_that_cannot_be_scored(samples: list[Outcome], message: str) -> None:
    with pytest.raises(UserError, match=message):
        summed(samples)


# ---- the file


def test_equal_runs_give_equal_bytes_whatever_their_order(tmp_path: Path) -> None:
    shuffled = outcomes(unfair=[("1", 2)])
    Random(0).shuffle(shuffled)
    warm, cold, unknown = (summed(outcomes(unfair=[("1", 2)]), temperature=t, n=6) for t in (0.8, 0.2, None))
    one = write_results(tmp_path / "one", [warm, cold, unknown]).read_bytes()
    other = [unknown, summed(shuffled, temperature=0.2, n=6), warm]
    assert write_results(tmp_path / "other", other).read_bytes() == one


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    runs = (
        summed(outcomes(), baseline=1 / 3, model="a"),
        summed(outcomes({("1", 1): "100"}, unfair=[("1", 1)]), temperature=None, model="b"),
    )
    write_results(tmp_path, reversed(runs))
    assert read_results(tmp_path) == runs
    assert json.loads((tmp_path / "results.json").read_text())["runs"][0]["baseline"] == 0.333333


def test_two_runs_of_one_key_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"two runs of mtpb by m, mode multi at temperature 0\.2, grader strict"):
        write_results(tmp_path, [summed(outcomes()), summed(outcomes())])
    assert not list(tmp_path.iterdir())


def change(field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["runs"][0].update({field: value})


DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "schema 2 .* grade the samples again": lambda content: content.update(schema=2),
    "has no schema": lambda content: content.pop("schema"),
    "no list of runs": lambda content: content.pop("runs"),
    "run 1 is not an object": lambda content: content.update(runs=[1]),
    "scores of run 1 is not there": lambda content: content["runs"][0].pop("scores"),
    "n of run 1 is of another type": change("n", True),
    "run 1 has a rate": change("pass_rate", 1.5),
    "run 1 has a rate that": change("scores", {"1": "high"}),
    "run 1 has an interval": change("ci95", [0.5]),
    "run 1 has an interval that": change("fair_ci95", [0.9, 0.1]),
    "differ in k": change("pass_at", {}),
}


@pytest.mark.parametrize(("message", "damage"), DAMAGES.items())
def test_a_damaged_file_is_named(tmp_path: Path, message: str, damage: Callable[[dict[str, Any]], Any]) -> None:
    path = write_results(tmp_path, [summed(outcomes())])
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"results.json .*{message}"):
        read_results(tmp_path)


def test_a_file_that_is_cut_or_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No such file.*bench grade"):
        read_results(tmp_path)
    path = write_results(tmp_path, [summed(outcomes())])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"results.json is damaged \(it is not JSON\).*bench grade"):
        read_results(tmp_path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is not JSON"):
        read_results(tmp_path)


def test_fields_of_later_versions_are_skipped(tmp_path: Path) -> None:
    path = write_results(tmp_path, [summed(outcomes())])
    content = json.loads(path.read_text())
    change("colour", "blue")(content)
    path.write_text(json.dumps(content))
    assert read_results(tmp_path) == (summed(outcomes()),)
