"""The self-test must notice a sandbox that lets out, passes everything, or fails everything."""

import re
from pathlib import Path

import pytest

from polyturn.sandbox import (
    Isolation,
    Result,
    SandboxError,
    check,
    ensure_sound,
    lacking,
    layer_states,
    run_program,
    self_test,
)
from polyturn.sandbox.layers import required


def test_this_host_holds() -> None:
    states = layer_states()
    missing = [state.name for state in states if state.demanded and not state.engaged]
    if missing:
        pytest.skip(f"this host does not give {', '.join(missing)}: nothing was tested")
    assert [finding for finding in self_test() if not finding.ok] == []
    ensure_sound()


def test_without_namespaces_it_holds_too() -> None:
    assert [finding for finding in self_test(Isolation("light", allow_weaker=True)) if not finding.ok] == []


@pytest.mark.parametrize("verdict", ["passed", "wrong", "internal-error"])
def test_a_sandbox_with_one_verdict_for_all_is_found_out(verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "run_program", lambda *a, **k: Result(verdict))  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(check, "grade_function", lambda *a, **k: Result(verdict))  # pyright: ignore
    with pytest.raises(SandboxError, match="self-test"):
        ensure_sound()


def test_a_probe_that_gets_out_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:

    def leak(source: str, *rest: object, **more: object) -> Result:
        written = re.search("open\\('(.*)', 'w'\\)", source)
        if written:
            Path(written[1]).write_text("changed")
            return Result("passed", stdout="got 7\n")
        return run_program(source, *rest, **more)  # pyright: ignore[reportArgumentType, reportCallIssue]

    monkeypatch.setattr(check, "run_program", leak)
    failed = {finding.name for finding in self_test() if not finding.ok}
    assert failed == {"writing a host file", "the canary file is as it was"}


def test_lacking_names_what_is_not_there() -> None:
    assert lacking(required("full")) == ()
    assert lacking(set(required("full")) - {"seccomp", "net-ns"}) == ("net-ns", "seccomp")
