"""Verification keeps the programs that run and says why it drops the others."""

import sys

import pytest

from polyturn.curriculum.compose import copy_program, program
from polyturn.curriculum.draft import Program
from polyturn.curriculum.verify import Verified, verify
from polyturn.sandbox import SandboxError
from polyturn.sandbox.pool import close_idle
from polyturn.synthesis.turns import Turn


def of(*codes: str) -> Program:
    return Program(tuple(Turn("Do it.", code) for code in codes), (), ())


@pytest.mark.parametrize(
    ("codes", "stdout", "value"),
    [
        (["x = 3", "print(x + 4)"], "7\n", 7),
        (["x = [3, 1]", "print(sorted(x))"], "[1, 3]\n", [1, 3]),
        (["print('a', 2)"], "a 2\n", "a 2"),
        (["print(1)", "print({'a': (1, 2.5)})"], "1\n{'a': (1, 2.5)}\n", {"a": (1, 2.5)}),
        (["for x in 'ab':\n    print(x)"], "a\nb\n", "b"),
        (["print(0)"], "0\n", 0),
        (["print(False)"], "False\n", False),
    ],
)
def test_a_program_that_prints_is_kept_with_what_it_printed(codes, stdout, value):
    (kept,) = verify([of(*codes)])
    assert isinstance(kept, Verified)
    assert kept.stdout == stdout
    assert kept.value == value
    assert type(kept.value) is type(value)


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("print([][0])", "error"),
        ("print(", "error"),
        ("x = 1", "nothing printed"),
        ("print()", "nothing printed"),
        ("print('x' * 1000)", "long output"),
        ("print({1, 2})", "no plain value"),
        ("print([{1, 2}])", "no plain value"),
        ("print(len)", "no plain value"),
        ("print([])", "empty value"),
        ("print('')", "empty value"),
    ],
)
def test_a_program_that_teaches_nothing_is_dropped(code, fault):
    assert verify([of(code)]) == [fault]


def test_a_sandbox_that_runs_nothing_is_no_fault_of_the_programs(monkeypatch):
    close_idle()  # or a worker that is there already would do
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SandboxError, match="cannot start a worker"):
        verify([of("print(1)")])


def test_results_stand_in_order():
    kept = verify([of("print(1)"), of("1 / 0"), of("print(2)")])
    assert [item.value if isinstance(item, Verified) else item for item in kept] == [1, "error", 2]


def test_hardly_any_composed_program_is_dropped():
    outcomes = verify([program(11, index) for index in range(800)])
    faults = [outcome for outcome in outcomes if not isinstance(outcome, Verified)]
    assert faults.count("error") < 0.02 * len(outcomes)
    assert len(faults) < 0.05 * len(outcomes)
    assert {fault for fault in faults} <= {"error", "empty value", "nothing printed", "long output"}


def test_warm_up_programs_never_fail():
    outcomes = verify([copy_program(11, index) for index in range(200)])
    assert all(isinstance(outcome, Verified) for outcome in outcomes)
