"""Sessions: what a person does with a program under construction, against a model that answers by rule."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from polyturn.engine.types import Complete, Completion, Sampling
from polyturn.sandbox import run_program
from polyturn.synthesis import transcript
from polyturn.synthesis.session import Session
from polyturn.utils.errors import UserError


class Scripted:
    """Continues by looking the last intent up; keeps what it was asked."""

    ANSWERS: ClassVar = {
        "set x": "x = {seed}\n\n# set y\ny = 2\n",
        "print x": "print(x)",
        "print x twice": "print(x)\nprint(x)",
        "break": "x = = 2\n\n# next",
        "long": "y = 1\nz = [1, 2",
    }

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def continue_text(self, pieces: Sequence[str], sampling: Sampling, complete: Complete) -> Completion:
        self.asked.append(list(pieces))
        intent = pieces[-1].removeprefix("# ").strip()
        text = self.ANSWERS[intent].replace("{seed}", str(sampling.seed))
        return Completion([], text, "length" if intent == "long" else "stop", [], 0)


@pytest.fixture
def session() -> Session:
    return Session(Scripted(), sampling=Sampling(seed=5))


def test_a_turn_is_cut_run_and_kept(session: Session) -> None:
    first = session.turn("set x")
    second = session.turn("print x")
    assert (first.code, first.ended_by, first.output) == ("x = 5", "next intent", "")
    assert second.result is not None
    assert (second.result.verdict, second.output) == ("passed", "5\n")
    assert session.source == "# set x\nx = 5\n\n# print x\nprint(x)\n"


def test_the_model_gets_the_history_in_the_same_pieces(session: Session) -> None:
    session.turn("set x")
    session.turn("print x")
    model = session.model
    assert isinstance(model, Scripted)
    assert model.asked[1] == ["# set x\n", "x = 5\n\n", "# print x\n"]


def test_output_is_what_the_turn_added(session: Session) -> None:
    session.turn("set x")
    session.turn("print x")
    assert session.turn("print x").output == "5\n"


def test_retry_draws_again_with_the_next_seed(session: Session) -> None:
    session.turn("set x")
    assert session.retry().code == "x = 6"
    assert len(session.steps) == 1


def test_undo_takes_back_one_turn(session: Session) -> None:
    session.turn("set x")
    session.turn("print x")
    assert session.undo().intent == "print x"
    assert [s.intent for s in session.steps] == ["set x"]


def test_an_edited_intent_rewrites_what_follows(session: Session) -> None:
    session.turn("break")
    session.turn("print x")
    assert session.steps[1].result is not None
    assert session.steps[1].result.verdict == "error"
    changed = session.edit(1, intent="set x")
    assert [s.output for s in changed] == ["", "5\n"]


def test_edited_code_is_kept_and_what_follows_runs_again(session: Session) -> None:
    session.turn("set x")
    session.turn("print x")
    session.edit(1, code="x = 'mine'")
    assert session.steps[0].ended_by == "edited"
    assert session.steps[1].output == "mine\n"


def test_a_failing_turn_reports_and_can_be_mended(session: Session) -> None:
    step = session.turn("break")
    assert step.result is not None
    assert step.result.error is not None
    assert step.result.error.type == "SyntaxError"
    session.undo()
    session.turn("set x")
    assert session.turn("print x").output == "5\n"


def test_a_turn_cut_by_length_keeps_whole_statements(session: Session) -> None:
    assert session.turn("long").code == "y = 1"


@pytest.mark.parametrize("action", ["undo", "retry"])
def test_nothing_to_take_back(session: Session, action: str) -> None:
    with pytest.raises(UserError, match="has 0"):
        getattr(session, action)()


def test_empty_intent(session: Session) -> None:
    with pytest.raises(UserError, match="empty"):
        session.turn("  \n")
    assert session.steps == []


def test_save_and_go_on(session: Session, tmp_path: Path) -> None:
    session.turn("set x")
    session.turn("print x")
    transcript.save(session, tmp_path / "s.json")
    other = Session(Scripted())
    transcript.restore(other, tmp_path / "s.json")
    assert other.source == session.source
    assert other.steps[1].result is None  # loading runs nothing
    assert other.rerun() == session.steps or [s.output for s in other.steps] == [
        s.output for s in session.steps
    ]
    assert other.turn("print x").output == "5\n"


def test_the_exported_file_is_the_program(session: Session, tmp_path: Path) -> None:
    session.turn("set x")
    session.turn("print x")
    transcript.export(session, tmp_path / "p.py")
    assert run_program((tmp_path / "p.py").read_text()).stdout == "5\n"


@pytest.mark.parametrize(
    "content", ["", "[", "{}", '{"schema": 1, "prefix": "", "turns": [{"intent": 1}]}', "[1]"]
)
def test_a_damaged_session_is_one_sentence(content: str, session: Session, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(content)
    session.turn("set x")
    with pytest.raises(UserError, match=r"s\.json"):
        transcript.restore(session, path)
    assert len(session.steps) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.txt", "# my turns\nset x\n\nprint x\n"),
        ("t.json", json.dumps(["set x", "print x"])),
        ("t.json", json.dumps({"schema": 1, "turns": [{"intent": "set x"}, {"intent": "print x"}]})),
    ],
)
def test_turns_files(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    assert transcript.read_intents(tmp_path / name) == ["set x", "print x"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("t.txt", b""), ("t.txt", b"# only a remark\n"), ("t.txt", b"\xff\xfe"), ("t.json", b"[1, 2]"), ("t.json", b"{"),
     ("t.json", b"7"), ("t.json", b'{"turns": 3}')],
)  # fmt: skip
def test_bad_turns_files(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        transcript.read_intents(tmp_path / name)
