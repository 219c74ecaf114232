"""What is shown of a turn: all of it, in a pipe as it was written."""

import io

import pytest

from polyturn.cli import show
from polyturn.sandbox import Result
from polyturn.sandbox.layers import LAYERS, required
from polyturn.synthesis.session import Step

LONG = "xs = [" + ", ".join(map(str, range(100))) + "]"


def shown(turn: Step, columns: int | None = None) -> str:
    console = show.Console()
    console.file = io.StringIO()
    if columns:
        console.width = columns
    show.step(console, 1, turn)
    return console.file.getvalue()


@pytest.mark.parametrize("columns", [None, 20])
def test_long_lines_are_whole_and_without_filling(columns: int | None) -> None:
    code = f"{LONG}\nif xs:\n\n    print('{'a b ' * 60}')"
    text = shown(
        Step("Say " + "very " * 50 + "much.", code, 0, None, Result("passed"), "word " * 50 + "end\n"), columns
    )
    lines = text.splitlines()
    assert [line.removeprefix("    ") for line in lines[2:6]] == code.split("\n")
    assert "very " * 50 in text
    assert "word " * 50 in text
    assert not any(line.endswith(" ") for line in lines)


@pytest.mark.parametrize(
    "missing", [set(), {"net-ns"}, {"user-ns", "pid-ns", "mount-ns", "ipc-ns", "uts-ns", "net-ns", "root", "tmpfs"}]
)
def test_isolation_is_told_in_80_columns(missing: set[str]) -> None:
    console = show.Console()
    console.file = file = io.StringIO()
    layers = sorted({*required("full"), "cgroup"} - missing)
    show.isolation(console, layers)
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert f" {len(layers)} layers" in text
    assert ("full" in text) == (not missing)
    assert {layer for layer in LAYERS if layer in text.replace(",", " ").replace(";", " ").split()} == missing


def test_a_turn_cut_by_the_length_limit_says_so() -> None:
    assert "length limit" in shown(Step("Do.", "x = [1,", 0, "length", Result("error"), ""))
    assert "wrote no code" in shown(Step("Do.", "", 0, "length", Result("passed"), ""))
    assert "length limit" in shown(Step("Do.", "x = 1", 0, "length"))
    assert "length limit" not in shown(Step("Do.", "x = 1", 0, "next intent", Result("passed")))
