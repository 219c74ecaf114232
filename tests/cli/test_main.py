"""The command line as a user meets it: quick help, one sentence for a mistake, exit codes."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import polyturn.sandbox
from polyturn.cli.main import VERBS, main
from polyturn.utils.exits import exit_code


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_help_imports_no_jax(verb: str) -> None:
    code = (
        "import sys; from polyturn.cli.main import main\n"
        f"try: main({[*verb.split(), '--help']!r})\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        "assert 'jax' not in sys.modules and 'numpy' not in sys.modules, 'heavy import'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()


@pytest.mark.parametrize("arguments", [["fly"], ["tokenizer"], ["tokenizer", "fly"]])
def test_an_unknown_verb(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "no verb" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["sandbox", "tokenizer"])
def test_the_first_word_of_a_verb_has_help(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word, "--help"]) == 0
    shown = capsys.readouterr().out
    assert all((verb in shown) == verb.startswith(f"{word} ") for verb in VERBS if " " in verb)
    assert "chat" not in shown


def test_no_arguments_show_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "usage" in capsys.readouterr().out


MISTAKES = {
    "no such model": (["sample", "x", "--model", "no/such/model/here"], "no/such/model/here"),
    "an empty folder as model": (["sample", "x", "--model", "{tmp}"], "config.json"),
    "no turns file": (["synth", "{tmp}/none.txt"], "none.txt"),
    "an empty turns file": (["synth", "{tmp}/empty.txt"], "no intents"),
    "an odd output name": (["synth", "{tmp}/turns.txt", "--out", "{tmp}/x.doc"], "--out"),
    "no file to measure": (["perplexity"], "Name the text files"),
    "no such text": (["perplexity", "{tmp}/none.txt"], "none.txt"),
    "a text of another encoding": (["perplexity", "{tmp}/turns.txt", "{tmp}/latin.txt"], "latin.txt is not UTF-8"),
    "an empty text": (["perplexity", "{tmp}/turns.txt", "{tmp}/void.txt"], "void.txt is empty"),
    "a text of one token": (["perplexity", "{tmp}/turns.txt", "{tmp}/one.txt"], "one.txt is a single token"),
    "no such recipe": (["train", "none", "--out", "{tmp}/run"], "no recipe none"),
    "a wrong override": (["train", "polyturn_micro_mono", "--out", "{tmp}/run", "--set", "speed=9"], "speed"),
    "a job of no place": (["train", "polyturn_micro_mono", "--out", "{tmp}/run", "--processes", "2"], "--coordinator"),
    "a wrong time": (["train", "polyturn_micro_mono", "--out", "{tmp}/run", "--stop-after", "soon"], "soon"),
    "too few rows": (["tokenizer", "train", "--out", "{tmp}/t", "--rows", "100"], "512"),
    "no such source": (["tokenizer", "train", "--out", "{tmp}/t", "--source", "{tmp}/none"], "none"),
    "no programs file": (["exec", "{tmp}/none.jsonl", "--out", "{tmp}/r.jsonl"], "none.jsonl"),
}


@pytest.mark.parametrize(("arguments", "said"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_sentence_and_code_2(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "turns.txt").write_text("Print 1.\n")
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    (tmp_path / "void.txt").write_text("")
    (tmp_path / "one.txt").write_text("x")
    before = sorted(tmp_path.iterdir())
    assert main([a.replace("{tmp}", str(tmp_path)) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ["no such recipe", "a wrong override", "a wrong time"])
def test_a_mistake_is_told_before_the_training_extra_is_needed(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "polyturn.recipes.run", None)  # which imports that extra
    arguments, said = MISTAKES[kind]
    assert main([a.replace("{tmp}", str(tmp_path)) for a in arguments]) == 2
    assert said in capsys.readouterr().err


def test_exec_runs_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ['{"id": 1, "program": "print(1)", "expected": 1}', "not json", '{"id": 2, "program": "1/0"}']
    (tmp_path / "p.jsonl").write_text("\n".join(lines) + "\n")
    arguments = ["exec", str(tmp_path / "p.jsonl"), "--out", str(tmp_path / "r.jsonl")]
    assert main(arguments) == 1
    first = (tmp_path / "r.jsonl").read_text()
    shown = capsys.readouterr()
    assert "line 2" in shown.err
    assert "kept" not in shown.out
    assert shown.out.endswith("left out: 1\n")
    assert '"verdict": "passed"' in first.splitlines()[0].replace('":"', '": "')
    assert main(arguments) == 1
    assert (tmp_path / "r.jsonl").read_text() == first
    assert "2 results" in (out := capsys.readouterr().out)
    assert "2 kept from an earlier run" in out


def test_exec_stopped_by_ctrl_c_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(vars(polyturn.sandbox), "exec_file", stopped)
    assert main(["exec", "p.jsonl", "--out", "r.jsonl"]) == 130
    error = capsys.readouterr().err
    assert "the same command runs the rest" in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])  # the pipe breaks at the end, or at the first line
@pytest.mark.parametrize("arguments", ["--help", "exec --help", "models", "fly 2>&1"])
def test_a_closed_pipe_is_no_error(arguments: str, unbuffered: str) -> None:
    late = f"(sleep .3; {sys.executable} -m polyturn.cli.main {arguments}; echo code $? >&3) 3>&2 | true"
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(late, shell=True, capture_output=True, text=True, env=environment)
    assert done.stderr == "code 0\n"


def test_a_broken_pipe_of_our_own_is_not_hidden() -> None:
    code = "from polyturn.utils.exits import exit_code\ndef run(): raise BrokenPipeError\nexit_code('polyturn', run)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "BrokenPipeError" in done.stderr


@pytest.mark.parametrize(("module", "extra"), [("orbax.checkpoint", "train"), ("daft", "data")])
def test_a_missing_extra_is_named(module: str, extra: str, capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> int:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    assert exit_code("polyturn train", run) == 2
    error = capsys.readouterr().err
    assert f"polyturn[{extra}]" in error
    assert len(error.splitlines()) == 1


def test_any_other_missing_module_is_an_error_of_ours() -> None:
    def run() -> int:
        raise ModuleNotFoundError("No module named 'polyturn.nothing'", name="polyturn.nothing")

    with pytest.raises(ModuleNotFoundError):
        exit_code("polyturn train", run)


def test_ctrl_c_is_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> int:
        raise KeyboardInterrupt

    assert exit_code("polyturn", run) == 130


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize(("code", "expected"), [("print(1)", 0), ("1 / 0", 1)])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_synth_fails_where_its_program_does(
    code: str, expected: int, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "turns.txt").write_text(f"First: x = 1\nThen: {code}\n")
    place = tmp_path / "p.json"
    assert main(["synth", str(tmp_path / "turns.txt"), "--out", str(place), *options]) == expected
    assert json.loads(place.read_text())["turns"][1]["code"] == code  # written all the same


@pytest.mark.usefixtures("loaded")
def test_synth_fails_where_a_turn_was_left_unwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "turns.txt").write_text("First: x = 1\nThen: <|endoftext|>\n")
    assert main(["synth", str(tmp_path / "turns.txt"), "--json"]) == 1
    turns = json.loads(capsys.readouterr().out)["turns"]
    assert [(turn["code"], turn["verdict"]) for turn in turns] == [("x = 1", "passed"), ("", "passed")]


@pytest.mark.usefixtures("loaded")
def test_synth_takes_a_sessions_prefix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    (tmp_path / "turns.txt").write_text("Use it: print(math.floor(2.5))\n")
    assert main(["synth", str(tmp_path / "turns.txt"), "--prefix", "import math", "--out", str(first)]) == 0
    assert main(["synth", str(first), "--out", str(second)]) == 0
    assert second.read_text() == first.read_text()
    assert main(["synth", str(first), "--prefix", "import re"]) == 2
    assert "prefix of its own" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("prompt", "stdin", "said"),
    [("-", b"\xff\xfe", "not UTF-8"), ("\udcff", b"", "not UTF-8"), ("", b"", "empty"), ("-", b"", "empty")],
)
def test_sample_wants_text(
    prompt: str, stdin: bytes, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    assert main(["sample", prompt]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
