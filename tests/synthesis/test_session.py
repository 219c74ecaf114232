"""Sessions: what a person does with a program under construction, against a model that answers by rule."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from polyturn.engine.types import Completion, FinishReason, Sampling, TextRequest
from polyturn.sandbox import run_program
from polyturn.synthesis import transcript
from polyturn.synthesis.session import Session, Step
from polyturn.utils.errors import UserError

FINISH: dict[str, FinishReason] = {"long": "length", "endless": "length", "too long": "context"}


class Scripted:
    """Continues by looking the last intent up; keeps what it was asked."""

    ANSWERS: ClassVar = {
        "set x": "x = {seed}\n\n# set y\ny = 2\n",
        "print x": "print(x)",
        "print x twice": "print(x)\nprint(x)",
        "break": "x = = 2\n\n# next",
        "long": "y = 1\nz = [1, 2",
        "endless": "z = [1, 2",
        "too long": "",
    }
    name, digest, width, context = "scripted", "", 1, None

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def complete_texts(self, requests: Sequence[TextRequest]) -> Iterator[tuple[int, Completion]]:
        for index, request in enumerate(requests):
            self.asked.append(list(request.pieces))
            intent = request.pieces[-1].removeprefix("# ").strip()
            text = self.ANSWERS[intent].replace("{seed}", str(request.sampling.seed))
            yield index, Completion([], text, FINISH.get(intent, "stop"), [], 0)


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
    step = session.turn("long")
    assert (step.code, step.ended_by) == ("y = 1", "length")
    step = session.turn("endless")
    assert (step.code, step.ended_by) == ("", "length")


def test_a_turn_that_does_not_fit_the_context_changes_nothing(session: Session) -> None:
    session.turn("set x")
    with pytest.raises(UserError, match="context"):
        session.turn("too long")
    with pytest.raises(UserError, match="context"):
        session.edit(1, intent="too long")
    assert [s.code for s in session.steps] == ["x = 5"]


@pytest.mark.parametrize("number", [0, -1, 3])
@pytest.mark.parametrize("change", [{"intent": "set x"}, {"code": "x = 1"}])
def test_an_edit_needs_a_turn_that_is_there(number: int, change: dict[str, str], session: Session) -> None:
    session.turn("set x")
    session.turn("print x")
    before = list(session.steps)
    with pytest.raises(UserError, match=f"no turn {number};"):
        session.edit(number, **change)
    assert session.steps == before


@pytest.mark.parametrize("prefix", ["import math", "import math\n", "import math\n\n"])
def test_a_prefix_stands_apart(prefix: str) -> None:
    session = Session(Scripted(), prefix=prefix)
    session.turn("set x")
    assert session.source == "import math\n\n# set x\nx = 0\n"
    assert isinstance(session.model, Scripted)
    assert session.model.asked == [["import math\n\n", "# set x\n"]]


def test_half_characters_are_refused(session: Session) -> None:
    with pytest.raises(UserError, match="half characters"):
        session.turn("set \ud800")
    session.turn("set x")
    with pytest.raises(UserError, match="half characters"):
        session.edit(1, code="x = '\udfff'")
    with pytest.raises(UserError, match="half characters"):
        Session(Scripted(), prefix="# \ud800")
    assert [s.code for s in session.steps] == ["x = 5"]


@pytest.mark.parametrize("action", ["undo", "retry"])
def test_nothing_to_take_back(session: Session, action: str) -> None:
    with pytest.raises(UserError, match="no turns"):
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
    other.rerun()
    assert [told(s) for s in other.steps] == [told(s) for s in session.steps]
    assert other.turn("print x").output == "5\n"


def told(step: Step) -> tuple[object, ...]:
    """A step without the times its run took."""
    assert step.result is not None
    return step.intent, step.code, step.seed, step.ended_by, step.output, step.result.verdict, step.result.stdout


def test_output_after_loading_is_what_the_turn_added(session: Session, tmp_path: Path) -> None:
    session.turn("set x")
    session.turn("print x")
    transcript.save(session, tmp_path / "s.json")
    other = Session(Scripted())
    transcript.restore(other, tmp_path / "s.json")
    assert other.turn("print x").output == "5\n"
    assert other.retry().output == "5\n"


def test_the_exported_file_is_the_program(session: Session, tmp_path: Path) -> None:
    session.turn("set x")
    session.turn("print x")
    transcript.export(session, tmp_path / "p.py")
    assert run_program((tmp_path / "p.py").read_text()).stdout == "5\n"


TURN = {"intent": "set x", "code": "x = 1", "seed": 0, "ended_by": None, "verdict": "passed", "output": ""}
SAVED = {"schema": 1, "prefix": "", "turns": [TURN]}
WRONG: dict[str, list[object]] = {
    "intent": [1, "", " \n", None, "\ud800"],
    "code": [None, 3, ["x"], "'\ud800'"],
    "seed": ["0", 1.5, True, None],
    "ended_by": [3, "\ud800"],
    "verdict": [0],
    "output": [None, {}, "\udfff"],
}
DAMAGED = [
    "",
    "[",
    "{}",
    "[1]",
    "null",
    "[" * 100_000,
    '{"schema": ' + "1" * 5000 + "}",
    *(json.dumps({**SAVED, **wrong}) for wrong in [{"schema": 2}, {"prefix": 1}, {"turns": {}}, {"turns": [3]}]),
    *(json.dumps({**SAVED, "turns": [TURN, {**TURN, field: bad}]}) for field, wrong in WRONG.items() for bad in wrong),
    *(json.dumps({**SAVED, "turns": [{k: v for k, v in TURN.items() if k != field}]}) for field in TURN),
    json.dumps({**SAVED, "prefix": "\udc80"}),
]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: content[-60:])
def test_a_damaged_session_is_one_sentence(content: str, session: Session, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(content)
    session.turn("set x")
    before = session.source
    with pytest.raises(UserError, match=r"s\.json"):
        transcript.restore(session, path)
    assert session.source == before


@pytest.mark.parametrize(
    ("name", "content", "prefix"),
    [
        ("t.txt", "# my turns\nset x\n\nprint x\n", ""),
        ("t.txt", "\ufeffset x\r\nprint x", ""),
        ("t.json", json.dumps(["set x", "print x"]), ""),
        ("t.json", "\ufeff" + json.dumps(["set x", "print x"]), ""),
        ("t.json", json.dumps({**SAVED, "turns": [TURN, {**TURN, "intent": "print x"}]}), ""),
        ("t.json", json.dumps({**SAVED, "prefix": "x = 0", "turns": [TURN, {**TURN, "intent": "print x"}]}), "x = 0"),
    ],
)
def test_turns_files(name: str, content: str, prefix: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert transcript.read_turns(tmp_path / name) == (["set x", "print x"], prefix)


@pytest.mark.parametrize(
    ("name", "content"),
    [("t.txt", b""), ("t.txt", b"# only a remark\n"), ("t.txt", b"\xff\xfe"), ("t.json", b"[1, 2]"), ("t.json", b"{"),
     ("t.json", b"7"), ("t.json", b'{"turns": 3}'), ("t.json", b"[]"), ("t.json", b'["set x", " "]'),
     ("t.json", b'["set x", "\\ud800"]'), ("t.json", b"[" * 100_000)],
)  # fmt: skip
def test_bad_turns_files(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        transcript.read_turns(tmp_path / name)
