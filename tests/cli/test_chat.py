"""The chat, driven line by line: nothing that is typed ends it by mistake or loses the program."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polyturn.cli.main import main
from polyturn.sandbox import SandboxError
from polyturn.synthesis.session import Session

type Typed = str | type[BaseException]
type Chat = Callable[..., str]

pytestmark = pytest.mark.usefixtures("loaded")


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Chat:
    """Type lines, or keys such as EOFError for Ctrl-D, into a chat; returns what it showed. All must be read."""

    def run(*typed: Typed, arguments: tuple[str, ...] = ()) -> str:
        lines: Iterator[Typed] = iter(typed)

        def read() -> str:
            line = next(lines)
            if isinstance(line, str):
                return line
            raise line

        monkeypatch.setattr("builtins.input", read)
        assert main(["chat", *arguments]) == 0
        assert not list(lines), "the chat ended early"
        shown = capsys.readouterr()
        assert shown.err == ""
        return shown.out

    return run


def test_a_program_grows_turn_by_turn(chat: Chat) -> None:
    shown = chat("Let x be 3: x = 3", "Show it: print(x)", "/show", "/quit", "/quit")
    assert "→ 3" in shown
    assert "# Let x be 3: x = 3\nx = 3\n\n# Show it: print(x)\nprint(x)\n" in shown


@pytest.mark.parametrize("text", ["xs = ['[/b]', '[a]', ':smile:']", "xs = '[red]no[/red]'", "xs = d[a:smile:b]"])
def test_text_is_shown_as_it_is(text: str, chat: Chat, tmp_path: Path) -> None:
    place = tmp_path / "[b].py"
    shown = chat(f"Say [/i] [b]: {text}", "/show", f"/save {place}", "/load [/i].json", "/[/x]", "/undo", EOFError)
    assert shown.count(text) == 5  # intent and code as a turn, intent and code in the program, the intent taken back
    assert f"Saved {place}." in shown
    assert "no command /[/x]" in shown
    assert "Cannot read [/i].json" in shown
    assert shown.count("Say [/i] [b]") == 3


def test_ctrl_c_cancels_a_line_or_a_turn_and_keeps_the_program(chat: Chat) -> None:
    shown = chat("a: x = 1", KeyboardInterrupt, KeyboardInterrupt, "interrupt", "b: print(x + 1)", "/quit", "/quit")
    assert shown.count("Cancelled") == 3
    assert "[2] b: print(x + 1)" in shown
    assert "→ 2" in shown


def test_no_single_key_loses_the_program(chat: Chat, tmp_path: Path) -> None:
    assert "not saved" in chat("a: x = 1", EOFError, "/show", EOFError, EOFError)
    assert "not saved" not in chat(EOFError)
    saved = str(tmp_path / "p.json")
    assert "not saved" not in chat("a: x = 1", f"/save {saved}", EOFError)
    assert "not saved" not in chat(EOFError, arguments=("--load", saved))
    assert "not saved" in chat("b: y = 2", f"/load {saved}", "/show", "/quit", "/quit")


def test_load_wants_a_name(chat: Chat) -> None:
    shown = chat("a: x = 1", "/load", "/show", "/quit", "/quit")
    assert "Name a saved session" in shown
    assert "# a: x = 1\nx = 1\n" in shown


@pytest.mark.parametrize("command", ["/edit 1 new: x = 2", "/edit 2 new: y = 2", "/retry"])
def test_code_typed_by_hand_is_not_dropped_unasked(command: str, chat: Chat) -> None:
    typed = ("a: x = 1", "b: y = 1", "/code 2", "y = 7", "")
    refused = chat(*typed, command, "/show", "/quit", "/quit")
    assert "the code you typed for turn 2" in refused
    assert "# a: x = 1\nx = 1\n\n# b: y = 1\ny = 7\n" in refused
    assert "y = 7" not in chat(*typed, command, command, "/show", "/quit", "/quit").rpartition("# ")[2]
    assert "you typed" not in chat("a: x = 1", "b: y = 1", command, "/quit", "/quit")
    assert "you typed" not in chat("a: x = 1", "/code 1", "x = 7", "", "b: y = 1", "/edit 2 c: y = 2", "/quit", "/quit")


def test_a_failed_load_keeps_the_program(chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = str(tmp_path / "p.json")
    chat("other: x = 1", f"/save {saved}", "/quit")

    def rerun(session: Session) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "rerun", rerun)
    shown = chat("mine: y = 2", f"/load {saved}", f"/load {saved}", "/show", "/quit", "/quit")
    assert "# mine: y = 2\ny = 2\n" in shown


def test_a_sandbox_that_cannot_run_does_not_end_the_chat(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    def turn(session: Session, intent: str) -> None:
        raise SandboxError("no processes are left: end some")

    monkeypatch.setattr(Session, "turn", turn)
    assert "no processes are left" in chat("a: x = 1", "/quit")


def test_code_by_hand(chat: Chat) -> None:
    shown = chat("a: x = 1", "/code 1", "if True:", "    x = 7", "", "b: print(x)", "/quit", "/quit")
    assert "→ 7" in shown


@pytest.mark.parametrize("end", ["", "  ", EOFError])
def test_what_ends_code_by_hand(end: Typed, chat: Chat) -> None:
    assert "[1] a: x = 1\n    x = 7\n" in chat("a: x = 1", "/code 1", "x = 7", end, "/quit", "/quit")


@pytest.mark.parametrize("ending", [("",), (EOFError,), (KeyboardInterrupt,), ("x = 7", KeyboardInterrupt)])
def test_code_that_was_not_typed_changes_nothing(ending: tuple[Typed, ...], chat: Chat) -> None:
    assert "# a: x = 1\nx = 1\n" in chat("a: x = 1", "/code 1", *ending, "/show", "/quit", "/quit")


@pytest.mark.parametrize("number", ["99", "0"])
def test_the_turn_is_looked_up_before_code_is_asked_for(number: str, chat: Chat) -> None:
    shown = chat("a: x = 1", f"/code {number}", "/quit", "/quit")
    assert f"no turn {number}" in shown
    assert "Type the code" not in shown


def test_home_folder(chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shown = chat("a: x = 1", "/save ~/demo.py", "/save ~/s.json", "/load ~/s.json", "/quit")
    assert (tmp_path / "demo.py").read_text() == "# a: x = 1\nx = 1\n"
    assert json.loads((tmp_path / "s.json").read_text())["turns"][0]["code"] == "x = 1"
    assert f"Saved {tmp_path / 'demo.py'}." in shown


def test_a_line_that_is_not_utf8(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    class Undecodable(UnicodeDecodeError):
        def __init__(self) -> None:
            super().__init__("utf-8", b"\xff", 0, 1, "invalid start byte")

    assert "not UTF-8" in chat(Undecodable, "/quit")


def test_a_saved_session_brings_its_own_prefix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], loaded: Callable[[], list[object]]
) -> None:
    assert main(["chat", "--load", str(tmp_path / "s.json"), "--prefix", "import re"]) == 2
    assert "--prefix" in capsys.readouterr().err
    assert loaded() == []  # said before the model is loaded
