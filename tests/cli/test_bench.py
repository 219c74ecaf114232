"""`polyturn bench`: what is refused before anything is drawn or written, and `bench check`."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polyturn.bench.samples import Settings, open_run, samples_path
from polyturn.cli.main import main
from polyturn.hub.catalogue import DEFAULT

TASK = {
    "task_id": "made/0",
    "prompt": 'def one():\n    "The number."\n',
    "entry_point": "one",
    "canonical_solution": "    return 1\n",
    "test": "def check(candidate):\n    assert candidate() == 1\n",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(TASK) + "\n")
    return path


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--top-p", "0"], "top_p is 0"),
        (["--top-p", "1.5"], "top_p is 1.5"),
        (["--temperatures", "0.2,-1"], "temperature is -1"),
        (["--temperatures", "nan"], "temperature is nan"),
        (["--workers", "-1"], "--workers is -1"),
        (["--cpu-s", "0"], "cpu_s is 0"),
        (["--memory-mb", "-5"], "memory_mb is -5"),
        (["--packages", "no-such-package"], "no-such-package, which is not installed"),
        (["--max-tokens", "0"], "--max-tokens is 0"),
        (["--shard", "2/2"], "The shard is '2/2'"),
        (["--chat"], "--chat is a way to ask an endpoint"),
        (["--perplexity", "--no-grade"], "needs scores"),
        (["--endpoint", "http://127.0.0.1:9/v1", "--model", "m", "--perplexity"], "Endpoints do not tell"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert main(["bench", "run", "humaneval", "--data", str(data), "--out", str(tmp_path / "run"), *words]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_wrong_out_is_refused_before_the_model_is_loaded(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("dear")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one.txt").write_text("dear")
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    other = Settings("humaneval", digest, DEFAULT, "of the model", None, 0.95, 512, seed=5)
    open_run(tmp_path / "run", other)
    samples_path(tmp_path / "run", "single", 0.2).parent.mkdir()
    samples_path(tmp_path / "run", "single", 0.2).write_text("{}\n")
    says = {"file": "is a file; name a folder", "letters": "holds files but no run", "run": "run with seed 5, not 0"}
    for name, said in says.items():
        assert main(["bench", "run", "humaneval", "--data", str(data), "--out", str(tmp_path / name)]) == 2
        told = capsys.readouterr().err
        assert said in told
        assert len(told.splitlines()) == 1  # no word of loading


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_grading_with_a_word_on_how_to_go_on(
    tmp_path: Path, data: Path, number: signal.Signals, code: int
) -> None:
    samples = tmp_path / "samples.jsonl"
    loops = [{"task_id": "made/0", "completion": f"    while {n}: pass\n"} for n in range(1, 3)]
    quick = [{"task_id": "made/0", "completion": "    return 1\n"}]
    samples.write_text("".join(json.dumps(record) + "\n" for record in quick + loops))
    grade = ["bench", "grade", str(samples), "--benchmark", "humaneval", "--data", str(data)]
    options = ["--out", str(tmp_path / "run"), "--workers", "1", "--cpu-s", "60"]
    command = [sys.executable, "-m", "polyturn.cli.main", *grade, *options]
    journal = tmp_path / "run" / "graded" / "given-tests.jsonl"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (journal.exists() and journal.stat().st_size):
            time.sleep(0.05)
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
    assert process.returncode == code
    assert told.strip() == "Stopped; nothing that was finished is lost, and the same command goes on."
    assert len(journal.read_text().splitlines()) == 1


def test_a_file_whose_own_solutions_pass(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "check", "humaneval", "--data", str(data)]) == 0
    assert "tests: 1 of 1 solutions pass." in capsys.readouterr().out
    wrong = {**TASK, "task_id": "made/1", "canonical_solution": "    return 2\n"}
    none = {name: value for name, value in TASK.items() if name != "canonical_solution"} | {"task_id": "made/2"}
    data.write_text("".join(json.dumps(record) + "\n" for record in (TASK, wrong, none)))
    assert main(["bench", "check", "humaneval", "--data", str(data)]) == 1
    told = capsys.readouterr().out
    assert "made/1: wrong" in told
    assert "tests: 1 of 2 solutions pass." in told
    assert "1 of 3 problems have no solution" in told
    data.write_text(json.dumps(none) + "\n")
    assert main(["bench", "check", "humaneval", "--data", str(data)]) == 2
