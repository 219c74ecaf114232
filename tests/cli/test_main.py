"""The command line as a user meets it: quick help, one sentence for a mistake, exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from polyturn.cli.main import VERBS, main


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


def test_no_arguments_show_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "usage" in capsys.readouterr().out


MISTAKES = {
    "no such model": (["sample", "x", "--model", "no/such/model/here"], "no/such/model/here"),
    "an empty folder as model": (["sample", "x", "--model", "{tmp}"], "config.json"),
    "no turns file": (["synth", "{tmp}/none.txt"], "none.txt"),
    "an empty turns file": (["synth", "{tmp}/empty.txt"], "no intents"),
    "an odd output name": (["synth", "{tmp}/turns.txt", "--out", "{tmp}/x.doc"], "--out"),
    "no such recipe": (["train", "none", "--out", "{tmp}/run"], "no recipe none"),
    "a wrong override": (["train", "polyturn_micro_mono", "--out", "{tmp}/run", "--set", "speed=9"], "speed"),
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
    before = sorted(tmp_path.iterdir())
    assert main([a.replace("{tmp}", str(tmp_path)) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_exec_runs_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ['{"id": 1, "program": "print(1)", "expected": 1}', "not json", '{"id": 2, "program": "1/0"}']
    (tmp_path / "p.jsonl").write_text("\n".join(lines) + "\n")
    arguments = ["exec", str(tmp_path / "p.jsonl"), "--out", str(tmp_path / "r.jsonl")]
    assert main(arguments) == 1
    first = (tmp_path / "r.jsonl").read_text()
    assert "line 2" in capsys.readouterr().err
    assert '"verdict": "passed"' in first.splitlines()[0].replace('":"', '": "')
    assert main(arguments) == 1
    assert (tmp_path / "r.jsonl").read_text() == first


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m polyturn.cli.main --help | head -1", shell=True, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr
