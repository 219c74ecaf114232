"""Small builds that the tests of this folder share: a corpus with its config, and ways to build it."""

import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from polyturn.data import shards
from polyturn.data.build import build
from polyturn.data.config import load
from polyturn.data.runner import RunnerName, open_runner
from polyturn.hub.catalogue import DEFAULT, resolve
from polyturn.utils.lock import LOCK

TOKENIZER = resolve(DEFAULT)
CONFIG = """
[data]
name = "mixed"
languages = ["Python", "Markdown"]
[[source]]
kind = "folder"
path = "corpus"
[[source]]
kind = "jsonl"
path = "more.jsonl.gz"
[[source]]
kind = "jsonl"
path = "plain.jsonl"
[[source]]
kind = "parquet"
path = "table.parquet"
[filter]
licences = []
comment_ratio = [0.0, 1.0]
[decontaminate]
files = ["heldout.txt"]
[pack]
row = 256
[shard]
validation = 0.2
"""
HELD_OUT = "alpha beta gamma delta epsilon zeta theta kappa lambda omega"
COMMAND = [sys.executable, "-m", "polyturn.cli.main", "data", "build"]
SMALL = """
from polyturn.data import duplicates, stages
from polyturn.data.sources import folder, tables
folder.UNIT_BYTES = tables.UNIT_BYTES = 7_000
stages.GROUP_CHARACTERS, stages.HELD_CHARACTERS, stages.TOKEN_FILES = 3_000, 15_000, 9
duplicates.PASS_ROWS, duplicates.TASK_SIGNATURES = 50, 3
"""


def program(number: int) -> str:
    """A file that is like no other."""
    chance = random.Random(number)
    names = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=8)) for _ in range(60)]
    body = "\n".join(
        f"    {a} = {b}({chance.randrange(999)}) + {c}" for a, b, c in zip(*[iter(names)] * 3, strict=True)
    )
    return f"# number {number}\ndef {names[0]}({names[1]}):\n{body}\n    return {names[2]}\n"


def make(folder: Path) -> Path:
    """A corpus of four sources with one of each thing that is dropped; returns its config."""
    corpus = folder / "corpus"
    for number in range(40):
        place = corpus / f"package{number % 3}" / f"module{number}.py"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(program(number))
    (corpus / "copy.py").write_text(program(7))
    (corpus / "nearly.py").write_text(program(8).replace("number 8", "the eighth").replace(") + ", ")  +  "))
    (corpus / "heldout.py").write_text(program(100) + f"# {HELD_OUT}\n")
    (corpus / "long.py").write_text(f"x = '{'y ' * 600}'\n")
    (corpus / "broken.py").write_text("def f(:\n    pass\n")
    (corpus / "binary.py").write_bytes(b"x = 1\0\n")
    (corpus / "latin.py").write_bytes("name = 'caf\xe9'\n".encode("latin-1"))
    (corpus / "image.png").write_bytes(b"\x89PNG")
    (corpus / "README.md").write_text("# Words\n\nSome words about it.\n")
    records = [{"text": program(200 + n), "path": f"extra/{n}.py", "repo": "some/one"} for n in range(12)]
    with gzip.open(folder / "more.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(record) + "\n" for record in [*records, {"path": "no text"}])
    records = [{"text": program(300 + n), "path": f"plain/{n}.py"} for n in range(12)]
    (folder / "plain.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    records = [{"text": program(400 + n), "path": f"table/{n}.py"} for n in range(12)]
    pytest.importorskip("pyarrow.parquet").write_table(
        pytest.importorskip("pyarrow").Table.from_pylist(records), folder / "table.parquet", row_group_size=5
    )
    (folder / "heldout.txt").write_text(HELD_OUT)
    path = folder / "mixed.toml"
    path.write_text(CONFIG)
    return path


def run(config: Path, out: Path, runner: RunnerName = "plain", workers: int = 2) -> dict[str, Any]:
    return build(load(str(config)), out, TOKENIZER, open_runner(runner, workers))


def bytes_of(folder: Path) -> dict[str, bytes]:
    """All that a build leaves and that must not depend on how or where it went."""
    kept = [folder / "report.json"]
    kept += [path for name in ("train", "validation", "dropped") for path in (folder / name).iterdir()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def in_pieces(folder: Path) -> dict[str, str]:
    """An environment in which every process cuts everything into many pieces, as it would a large corpus."""
    (folder / "sitecustomize.py").write_text(SMALL)
    paths = [str(folder), str(Path(shards.__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def command(config: Path, out: Path, runner: str, workers: int) -> list[str]:
    return [*COMMAND, str(config), "--out", str(out), "--workers", str(workers), "--runner", runner]


def finish(config: Path, out: Path, runner: str, workers: int, environment: dict[str, str]) -> dict[str, bytes]:
    """Build in a process of its own: Daft leaves descriptors and threads behind."""
    done = subprocess.run(
        command(config, out, runner, workers), capture_output=True, text=True, timeout=600, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "DeprecationWarning" not in done.stderr
    assert "files kept" in done.stdout
    assert not (out / "work").exists()
    assert {path.name for path in out.rglob(".*")} == {LOCK}  # nothing half-written
    return bytes_of(out)
