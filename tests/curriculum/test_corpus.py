"""A corpus on disk: the same bytes however it was built, resumed where it stopped, read back as it was."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from polyturn.curriculum import corpus
from polyturn.curriculum.compose import program
from polyturn.curriculum.corpus import build, read
from polyturn.curriculum.verify import Verified, verify
from polyturn.data.overlap import runs
from polyturn.sandbox import SandboxError
from polyturn.sandbox.pool import close_idle
from polyturn.synthesis.turns import history_text
from polyturn.utils.errors import UserError


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(corpus, "PART", 100)


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_it_reads_back_as_it_was_verified(tmp_path):
    manifest = build(tmp_path / "corpus", programs=250, seed=4)
    expected = [item for item in verify([program(4, i) for i in range(250)]) if isinstance(item, Verified)]
    assert list(read(tmp_path / "corpus")) == expected
    assert manifest["complete"]
    assert manifest["kept"] == len(expected)
    assert manifest["kept"] + sum(manifest["dropped"].values()) == 250
    assert [part["file"] for part in manifest["parts"]] == [f"part-{i:05d}.jsonl" for i in range(3)]


def test_two_builds_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        build(tmp_path / name, programs=120, seed=4, split="heldout-pairs")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("parts_done", [1, 2])
def test_an_interrupted_build_goes_on_and_gives_the_same_bytes(tmp_path, monkeypatch, parts_done):
    build(tmp_path / "whole", programs=300, seed=4, split="copy")
    calls = []
    part = corpus._part

    def stopping(job):
        calls.append(job.start)
        if len(calls) > parts_done:
            raise KeyboardInterrupt
        return part(job)

    monkeypatch.setattr(corpus, "_part", stopping)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "stopped", programs=300, seed=4, split="copy")
    with pytest.raises(UserError, match="unfinished"):
        list(read(tmp_path / "stopped"))
    calls.clear()
    monkeypatch.setattr(corpus, "_part", lambda job: calls.append(job.start) or part(job))
    build(tmp_path / "stopped", programs=300, seed=4, split="copy")
    assert calls == [start for start in (0, 100, 200)][parts_done:]
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_workers_change_nothing_and_end_without_a_word(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(corpus, "PART", 20)  # more parts than workers
    build(tmp_path / "one", programs=200, seed=9, workers=1)
    for _ in range(3):
        build(tmp_path / "two", programs=200, seed=9, workers=2)
        assert contents(tmp_path / "one") == contents(tmp_path / "two")
        shutil.rmtree(tmp_path / "two")
    assert "Traceback" not in capfd.readouterr().err


def test_held_out_text_is_left_out_and_counted(tmp_path):
    texts = [history_text(program(4, i).turns) for i in range(100)]
    held = next(run for run in runs(texts[7]) if sum(run in runs(text) for text in texts) == 1)
    path = tmp_path / "digests.bin"
    path.write_bytes(hashlib.sha256(held.encode()).digest()[:8])
    plain = build(tmp_path / "plain", programs=100, seed=4)
    clean = build(tmp_path / "clean", programs=100, seed=4, overlap_path=path)
    assert clean["dropped"]["overlap"] == 1
    gone = {history_text(v.program.turns) for v in read(tmp_path / "plain")} - {
        history_text(v.program.turns) for v in read(tmp_path / "clean")
    }
    assert gone <= {texts[7]}
    assert plain["kept"] - clean["kept"] == len(gone)


def test_duplicates_are_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "compose", lambda split, seed, index: program(seed, index % 60, split))
    manifest = build(tmp_path / "corpus", programs=180, seed=4)
    texts = [history_text(item.program.turns) for item in read(tmp_path / "corpus")]
    assert len(texts) == len(set(texts)) <= 60
    assert manifest["dropped"]["duplicate"] >= 100


def test_another_corpus_in_the_folder_is_left_alone(tmp_path):
    build(tmp_path / "corpus", programs=50, seed=4)
    before = contents(tmp_path / "corpus")
    with pytest.raises(UserError, match="another seed"):
        build(tmp_path / "corpus", programs=50, seed=5)
    with pytest.raises(UserError, match="another programs"):
        build(tmp_path / "corpus", programs=60, seed=4)
    assert contents(tmp_path / "corpus") == before


def test_a_folder_without_a_corpus_is_refused(tmp_path):
    with pytest.raises(UserError, match="no corpus"):
        list(read(tmp_path))


def test_a_corpus_of_no_programs_is_a_corpus(tmp_path):
    assert build(tmp_path / "corpus", programs=0, seed=4)["complete"]
    assert list(read(tmp_path / "corpus")) == []
    assert build(tmp_path / "corpus", programs=0, seed=4)["kept"] == 0
    with pytest.raises(UserError, match="0 or more"):
        build(tmp_path / "other", programs=-1, seed=4)
    assert not (tmp_path / "other").exists()


def test_a_sandbox_that_runs_nothing_makes_no_corpus(tmp_path, monkeypatch):
    close_idle()  # or a worker that is there already would do
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SandboxError, match="cannot start a worker"):
        build(tmp_path / "corpus", programs=150, seed=4)
    with pytest.raises(UserError, match="no corpus"):
        list(read(tmp_path / "corpus"))


@pytest.mark.parametrize("moment", ["as workers start", "as they work"])
def test_ctrl_c_ends_the_workers_without_a_word(tmp_path, moment):
    code = (
        "from multiprocessing.context import SpawnProcess\n"
        "from polyturn.curriculum.corpus import build\n"
        "start = SpawnProcess.start\n"
        "SpawnProcess.start = lambda process: (start(process), print('started', flush=True))\n"
        "try:\n"
        f"    build({str(tmp_path / 'corpus')!r}, programs=100_000, seed=4, workers=2)\n"
        "except KeyboardInterrupt: raise SystemExit(130)"
    )
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the whole group of processes
    ) as process:
        assert process.stdout is not None
        assert [process.stdout.readline(), process.stdout.readline()] == [b"started\n"] * 2
        wanted = 0 if moment == "as workers start" else 2  # folders of sandboxed children
        end = time.monotonic() + 60
        while len(list(temporary.glob("polyturn-sandbox-*"))) < wanted and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr.decode()) == (130, "")
    assert list(temporary.iterdir()) == []


def test_lines_are_plain_json(tmp_path):
    build(tmp_path / "corpus", programs=20, seed=4)
    for line in (tmp_path / "corpus" / "part-00000.jsonl").read_text().splitlines():
        fields = json.loads(line)
        assert set(fields) == {"turns", "families", "pairs", "stdout", "value"}
        assert all(set(turn) == {"intent", "code"} for turn in fields["turns"])
