"""A benchmark from one command: samples in every mode, grades, perplexity, report; killed, the same result."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROBLEMS = [
    {
        "id": "words",
        "name": "Long words",
        "category": "string",
        "prefix": "",
        "prompts": [
            "Create a list {name} with the value {words}.",
            "Reassign {name} to all strings in {name} longer than 4 characters.",
            "Print {name}.",
        ],
        "inputs": [
            {"name": "folder", "words": ["ranch", "silo", "cargo"]},
            {"name": "crate", "words": ["mask", "biscuit"]},
        ],
        "outputs": [["ranch", "cargo"], ["biscuit"]],
        "reference": ["{name} = {words}", "", ""],
        "max_gen_length": 24,
    },
    {
        "id": "sum",
        "name": "Sum of a list",
        "category": "math",
        "prefix": "",
        "prompts": ["Let g be {g}", "Print the sum of g"],
        "inputs": [{"g": [3, 4]}, {"g": [10, -2, 5]}],
        "outputs": [7, 13],
        "reference": ["g = {g}", "print(sum(g))"],
        "max_gen_length": 24,
    },
    {
        "id": "twice",
        "name": "Longer and longer words",
        "category": "string",
        "prefix": "",
        "prompts": [
            "Create a list {name} with the value {words}.",
            "Reassign {name} to all strings in {name} longer than 4 characters.",
            "Reassign {name} to all strings in {name} longer than 5 characters.",
            "Print {name}.",
        ],
        "inputs": [{"name": "box", "words": ["ranch", "journey"]}, {"name": "row", "words": ["mask", "biscuit"]}],
        "outputs": [["journey"], ["biscuit"]],
        "max_gen_length": 24,
    },
]


@pytest.fixture(autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one command has compiled, the next ones find: a folder for all tests here."""
    cache = tmp_path_factory.getbasetemp() / "compiled"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(cache))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    data = tmp_path / "problems.jsonl"
    records = [{k: v for k, v in p.items() if k != "reference" or p["id"] == "sum"} for p in PROBLEMS]
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    run = [sys.executable, "-m", "polyturn.cli.main", "bench", "run", "mtpb", "--data", str(data), "--n", "2"]
    return [*run, "--modes", "multi,single,concat,oracle", "--temperatures", "0.8", "--perplexity", "--out"]


def everything(folder: Path) -> dict[str, bytes]:
    """All that a run leaves but its grading journals, whose order depends on what was graded first."""
    files = [path for path in folder.rglob("*.json*") if path.parent.name != "graded"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def kill_at(command: list[str], path: Path, count: int, whole: int) -> None:
    """Kill a run once a file has so many lines, and see that it was killed, and before the file was whole."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and lines_of(path) < count:
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert count <= lines_of(path) < whole


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_killed_at_any_moment_a_run_ends_the_same(tmp_path: Path, command: list[str]) -> None:
    whole = subprocess.run([*command, str(tmp_path / "whole")], capture_output=True, text=True, timeout=300)
    assert whole.returncode == 0, whole.stderr
    assert "Loading polyturn-micro-mono." in whole.stderr
    assert "oracle: 2 of 3 problems" in whole.stderr
    # our engine tells samples in groups: in multi those of two turns, then those of three, then those of four
    moments = [("samples/multi-t0.8.jsonl", 2), ("samples/multi-t0.8.jsonl", 6), ("graded/multi-t0.8-strict.jsonl", 2)]
    for name, count in moments:
        least = len((tmp_path / "whole" / name).read_text().splitlines())
        kill_at([*command, str(tmp_path / "killed")], tmp_path / "killed" / name, count, least)
    done = subprocess.run([*command, str(tmp_path / "killed")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == whole.stdout
    assert everything(tmp_path / "killed") == everything(tmp_path / "whole")
    report = [
        sys.executable,
        "-m",
        "polyturn.cli.main",
        "bench",
        "report",
        str(tmp_path / "killed"),
        "--format",
        "json",
    ]
    runs = json.loads(subprocess.run(report, capture_output=True, text=True, check=True).stdout)["runs"]
    assert {run["mode"] for run in runs} == {"multi", "single", "concat", "oracle"}
    multi = next(run for run in runs if run["mode"] == "multi" and run["grader"] == "strict")
    assert multi["pass_rate"] > 0.5  # the built-in model knows programs like these


def test_a_server_around_the_engine_gives_the_same_samples(tmp_path: Path, command: list[str]) -> None:
    """Not the same count of tokens: a server says less of its samples than the engine."""
    command = [word for word in command if word not in ("--perplexity", "--out")]
    script = Path(__file__).parents[1] / "synthesis" / "openai_server.py"
    server = subprocess.Popen([sys.executable, str(script), "engine"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        for folder, where in (("engine", []), ("server", ["--endpoint", url, "--model", "polyturn-micro-mono"])):
            done = subprocess.run(
                [*command, "--no-grade", *where, "--out", str(tmp_path / folder)],
                capture_output=True,
                text=True,
                timeout=300,
                env=environment,
            )
            assert done.returncode == 0, done.stderr
    finally:
        server.kill()
        server.communicate()
    names = sorted(path.name for path in (tmp_path / "engine" / "samples").iterdir())
    assert len(names) == 4  # modes
    for name in names:
        ours, theirs = (written(tmp_path / folder / "samples" / name) for folder in ("engine", "server"))
        assert ours == theirs
        assert ours


def written(path: Path) -> list[dict[str, object]]:
    """The samples of a file without their counts of tokens."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in record.items() if name != "tokens"} for record in records]
