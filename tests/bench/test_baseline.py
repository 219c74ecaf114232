"""The constant guess: the best of a problem's expected values, judged as each grader judges."""

from polyturn.bench.baseline import Baseline, constant_guess
from polyturn.bench.mtpb import Problem, Problems


def problem(number: str, *outputs: object) -> Problem:
    return Problem(number, "n", "c", ("p",), ({},) * len(outputs), outputs)


def test_the_most_frequent_value_is_guessed() -> None:
    problems = Problems((problem("a", True, True, False, True), problem("b", 1, 2), problem("c", "x")), "digest")
    for grader in ("strict", "original"):
        expected = (3 / 4 + 1 / 2 + 1) / 3
        assert constant_guess(problems, grader) == Baseline(expected, expected)


def test_values_count_as_equal_where_the_grader_takes_one_for_the_other() -> None:
    problems = Problems((problem("a", 5, "5", 5.9, {"a": 1}),), "digest")
    assert constant_guess(problems, "strict").pass_rate == 1 / 4
    assert constant_guess(problems, "original").pass_rate == 2 / 4  # "5" is cast to 5, or 5 to "5"; no dict ever passes
    problems = Problems((problem("a", {"a": 1}, {"a": 1}, None),), "digest")
    assert constant_guess(problems, "strict").pass_rate == 2 / 3
    assert constant_guess(problems, "original").pass_rate == 0


def test_fair_rates_leave_out_what_the_errata_name() -> None:
    # In the shape of MTPB: in 41, cases 2 and 5 are unfair; in 89, all are.
    outputs: dict[str, tuple[object, ...]] = {"41": (1, None, 2, 1, None), "89": ({}, {}, {}, {}, {})}
    everything = [problem(str(n), *outputs.get(str(n), (1, 1, 1, 1, 1))) for n in range(1, 116)]
    guess = constant_guess(Problems(tuple(everything), "digest"), "strict")
    assert guess.pass_rate == (113 + 2 / 5 + 1) / 115
    # Without a fair case: 38, 46, 81, 17, 89.
    assert guess.fair_pass_rate == (109 + 2 / 3) / 110
