"""A benchmark from one command: samples in every mode, grades, perplexity, report; killed, the same result."""

import json
import random
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
        "max_gen_length": 48,
    },
    {
        "id": "sum",
        "name": "Sum of a list",
        "category": "math",
        "prompts": ["Let g be {g}", "Print the sum of g"],
        "inputs": [{"g": [3, 4]}, {"g": [10, -2, 5]}],
        "outputs": [7, 13],
        "reference": ["g = {g}", "print(sum(g))"],
        "max_gen_length": 48,
    },
]


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    data = tmp_path / "problems.jsonl"
    records = [{k: v for k, v in p.items() if k != "reference" or p["id"] == "sum"} for p in PROBLEMS]
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    run = [sys.executable, "-m", "polyturn.cli.main", "bench", "run", "mtpb", "--data", str(data), "--n", "6"]
    return [*run, "--modes", "multi,single,concat,oracle", "--temperatures", "0.2,0.8", "--perplexity", "--out"]


def everything(folder: Path) -> dict[str, bytes]:
    """All that a run leaves but its grading journals, whose order depends on what was graded first."""
    files = [path for path in folder.rglob("*.json*") if path.parent.name != "graded"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_killed_at_random_moments_a_run_ends_the_same(tmp_path: Path, command: list[str]) -> None:
    begun = time.monotonic()
    whole = subprocess.run([*command, str(tmp_path / "whole")], capture_output=True, text=True, timeout=300)
    took = time.monotonic() - begun
    assert whole.returncode == 0, whole.stderr
    assert "oracle: 1 of 2 problems" in whole.stderr
    chance = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen([*command, str(tmp_path / "killed")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(took * chance.uniform(0.3, 0.9))
        process.kill()
        process.communicate()
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
