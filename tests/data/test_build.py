"""Builds: the same shards whatever does the work and however often it is killed; every file accounted for."""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polyturn.data import build as building
from polyturn.data import shards
from polyturn.data.build import build, read_report
from polyturn.data.config import load
from polyturn.data.runner import RunnerName, open_runner
from polyturn.data.show import dropped, outcomes, samples, stages
from polyturn.hub.catalogue import DEFAULT, resolve
from polyturn.tokenizer import bpe
from polyturn.utils.errors import UserError
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


def program(number: int) -> str:
    """A file that is like no other."""
    chance = random.Random(number)
    names = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=8)) for _ in range(60)]
    body = "\n".join(
        f"    {a} = {b}({chance.randrange(999)}) + {c}" for a, b, c in zip(*[iter(names)] * 3, strict=True)
    )
    return f"# number {number}\ndef {names[0]}({names[1]}):\n{body}\n    return {names[2]}\n"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of two sources with one of each thing that is dropped, and its config."""
    folder = tmp_path_factory.mktemp("data")
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


@pytest.fixture(scope="module")
def built(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build by the reference runner."""
    folder = tmp_path_factory.mktemp("built") / "out"
    run(config, folder, "plain", 2)
    return folder


def run(config: Path, out: Path, runner: RunnerName = "plain", workers: int = 2) -> dict[str, object]:
    return build(load(str(config)), out, TOKENIZER, open_runner(runner, workers))


def bytes_of(folder: Path) -> dict[str, bytes]:
    """All that a build leaves and that must not depend on how it went."""
    kept = [folder / "report.json", *(folder / "train").iterdir(), *(folder / "validation").iterdir()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def test_every_file_is_kept_or_told(config: Path, built: Path) -> None:
    report = read_report(built)
    told = {row.id: row.reason for row in dropped(built)}
    assert told["corpus/package1/module7.py"] == "duplicate of corpus/copy.py"
    assert told["corpus/package2/module8.py"] == "near-duplicate of corpus/nearly.py"
    reasons = {Path(name).name: reason for name, reason in told.items()}
    assert reasons["heldout.py"] == "held-out"
    assert reasons["long.py"] == "mean-line"
    assert reasons["broken.py"] == "unparsable"
    assert reasons["binary.py"] == "binary"
    assert reasons["latin.py"] == "not-utf-8"
    assert reasons["image.png"] == "binary"
    files = sum(path.is_file() for path in (config.parent / "corpus").rglob("*"))
    assert sum(row.documents for row in outcomes(report)) == files + 37
    kept = sum(row.documents for row in outcomes(report) if row.outcome == "kept")
    assert kept == files + 37 - len(told)


def test_the_shards_hold_what_was_kept(built: Path) -> None:
    tokenizer = bpe.load(TOKENIZER)
    found: list[str] = []
    for name in ("train", "validation"):
        assert shards.verify(built / name) == []
        opened = shards.open(built / name)
        for number in range(len(opened)):
            packed = opened.packs[0]
            first, end = packed.starts[number : number + 2].tolist()
            at = 0
            for size in packed.lengths[first:end].tolist():
                found.append(tokenizer.decode(packed.tokens[number, at : at + size].tolist()))
                at += size
    whole = "".join(found)
    for number in range(40):
        if number != 8:
            assert program(number).split("\n")[1] in whole
    assert HELD_OUT not in whole
    assert read_report(built)["sets"]["validation"]["documents"]
    assert len(samples(built / "train", tokenizer, 2, seed=0)) == 2


def test_the_bytes_do_not_depend_on_the_number_of_workers_or_the_place(
    config: Path, built: Path, tmp_path: Path
) -> None:
    shutil.copytree(config.parent, tmp_path / "elsewhere")
    run(tmp_path / "elsewhere" / config.name, tmp_path / "out", "plain", 1)
    assert bytes_of(tmp_path / "out") == bytes_of(built)


COMMAND = [sys.executable, "-m", "polyturn.cli.main", "data", "build"]
SMALL = """
from polyturn.data import duplicates, stages
from polyturn.data.sources import folder, tables
folder.UNIT_BYTES = tables.UNIT_BYTES = 7_000
stages.GROUP_CHARACTERS, stages.HELD_CHARACTERS, stages.TOKEN_FILES = 3_000, 15_000, 9
duplicates.PASS_ROWS, duplicates.TASK_SIGNATURES = 50, 3
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which every process cuts everything into many pieces, as it would a large corpus."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "sitecustomize.py").write_text(SMALL)
    paths = [str(folder), str(Path(shards.__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def command(config: Path, out: Path, runner: str, workers: int) -> list[str]:
    return [*COMMAND, str(config), "--out", str(out), "--workers", str(workers), "--runner", runner]


def finish(config: Path, out: Path, runner: str, workers: int, environment: dict[str, str]) -> dict[str, bytes]:
    """Build in a process of its own: Daft leaves descriptors and threads behind."""
    done = subprocess.run(
        command(config, out, runner, workers), capture_output=True, text=True, timeout=240, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "files kept" in done.stdout
    assert not (out / "work").exists()
    return bytes_of(out)


@pytest.fixture(scope="module")
def built_small(config: Path, small: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return finish(config, tmp_path_factory.mktemp("built") / "out", "plain", 1, small)


@pytest.mark.slow
def test_pieces_of_any_size_keep_the_same_documents(built: Path, built_small: dict[str, bytes]) -> None:
    one, other = read_report(built), json.loads(built_small["report.json"])
    assert {name: one[name] for name in ("outcomes", "tokens", "characters")} == {
        name: other[name] for name in ("outcomes", "tokens", "characters")
    }
    assert bytes_of(built) != built_small  # other buckets


@pytest.mark.slow
@pytest.mark.parametrize(("runner", "workers"), [("native", 1), ("native", 4), ("ray", 2)])
def test_the_command_line_on_each_engine(
    config: Path, small: dict[str, str], built_small: dict[str, bytes], tmp_path: Path, runner: str, workers: int
) -> None:
    assert finish(config, tmp_path / "out", runner, workers, small) == built_small


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["plain", "native"])
def test_killed_after_any_part_a_build_ends_the_same(
    config: Path, small: dict[str, str], built_small: dict[str, bytes], tmp_path: Path, runner: str
) -> None:
    out = tmp_path / "out"
    for parts in (1, 15, 35, 50):
        process = subprocess.Popen(
            command(config, out, runner, 2),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=small,
        )
        while len(list(out.glob("work/*/*"))) < 2 * parts and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert finish(config, out, runner, 2, small) == built_small


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the worker in /proc")
@pytest.mark.parametrize("runner", ["plain", "native"])
def test_a_killed_worker_is_one_sentence(
    config: Path, small: dict[str, str], built_small: dict[str, bytes], tmp_path: Path, runner: str
) -> None:
    process = subprocess.Popen(
        command(config, tmp_path / "out", runner, 1),  # which has begun when a part is there
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=small,
    )
    while not list((tmp_path / "out").glob("work/read/*")):
        time.sleep(0.01)
    for worker in workers_of(process.pid):
        os.kill(worker, signal.SIGKILL)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 2, told
    assert told.strip().splitlines()[-1].startswith("polyturn data build: ")
    assert "Traceback" not in told
    assert "goes on where it was" in told
    assert finish(config, tmp_path / "out", runner, 2, small) == built_small


def workers_of(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            process, mother = int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])
            said = (stat.parent / "cmdline").read_text()
        except OSError:
            continue
        if mother == parent and ("udf_worker" in said or "spawn_main" in said):
            found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["plain", "native"])
def test_ctrl_c_ends_a_build_that_goes_on(
    config: Path, small: dict[str, str], built_small: dict[str, bytes], tmp_path: Path, runner: str
) -> None:
    process = subprocess.Popen(
        command(config, tmp_path / "out", runner, 2),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=small,
    )
    while not list((tmp_path / "out").glob("work/read/*")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert finish(config, tmp_path / "out", runner, 2, small) == built_small


@pytest.mark.slow
@pytest.mark.parametrize(("runner", "most"), [("plain", 2_000), ("plain", 9_000), ("native", 9_000)])
def test_a_full_disk_is_one_sentence(
    config: Path, small: dict[str, str], built_small: dict[str, bytes], tmp_path: Path, runner: str, most: int
) -> None:
    limited = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2); "
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, str(most), *command(config, tmp_path / "out", runner, 2)],
        capture_output=True,
        text=True,
        timeout=120,
        env=small,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("polyturn data build: ")
    assert finish(config, tmp_path / "out", runner, 2, small) == built_small


def test_mistakes_are_one_sentence(config: Path, built: Path, tmp_path: Path) -> None:
    other = config.with_name("other.toml")
    other.write_text(CONFIG.replace("row = 256", "row = 128"))
    with pytest.raises(UserError, match=r"another config\.pack\.row; choose another folder"):
        run(other, built)
    with pytest.raises(UserError, match="There are no -1 samples"):
        samples(built / "train", bpe.load(TOKENIZER), -1, seed=0)
    with pytest.raises(UserError, match="is not on one; give a folder"):
        run(config, Path("s3://bucket/out"))
    assert not Path("s3:").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match=r"letter\.txt"):
        run(config, tmp_path / "full")
    assert os.listdir(tmp_path / "full") == ["letter.txt"]
    other.write_text(CONFIG.replace('languages = ["Python", "Markdown"]', 'languages = ["Go"]'))
    with pytest.raises(UserError, match="Nothing is left after the filters"):
        run(other, tmp_path / "nothing")
    other.write_text(CONFIG.replace("row = 256", 'row = 100000\nhow = "cut"'))
    with pytest.raises(UserError, match="do not fill a row of 100000 tokens"):
        run(other, tmp_path / "long")
    with pytest.raises(UserError, match="workers"):
        open_runner("plain", 0)
    with pytest.raises(UserError, match="address"):
        open_runner("native", 1, "ray://somewhere")


def test_a_finished_build_is_not_built_again(config: Path, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (copied / "train").iterdir()}
    run(config, copied)
    assert "already built, and its sources are as they were" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (copied / "train").iterdir()} == before


@pytest.fixture
def copied(built: Path, tmp_path: Path) -> Path:
    return shutil.copytree(built, tmp_path / "copied")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda c: (c / "package0" / "module0.py").write_text("x = 1\n"),
            r"module0\.py has changed since the build in",
        ),
        (lambda c: os.utime(c / "package0" / "module0.py", (1, 1)), r"module0\.py has changed"),
        (lambda c: (c / "package0" / "module0.py").unlink(), r"module0\.py is gone"),
        (lambda c: (c / "package0" / "another.py").write_text("x = 1\n"), r"another\.py is new"),
        (lambda c: (c / "package0" / "zz.py").write_text("x = 1\n"), r"zz\.py is new"),
        (lambda c: (c.parent / "more.jsonl.gz").write_bytes(b""), r"more\.jsonl\.gz has changed"),
        (lambda c: (c / "package0" / "pyproject.toml").write_text("project.license = 'MIT'"), "another .* licence"),
    ],
)
@pytest.mark.parametrize("finished", [False, True])
def test_sources_that_have_changed_are_told(config: Path, tmp_path: Path, finished: bool, change, told: str) -> None:
    shutil.copytree(config.parent, tmp_path / "data")
    mine = tmp_path / "data" / config.name
    out = tmp_path / "out"
    begin(mine, out, finished)
    change(tmp_path / "data" / "corpus")
    before = contents(out)
    with pytest.raises(UserError, match=told + ".*choose another folder, or remove this one"):
        run(mine, out)
    assert contents(out) == before


def begin(config: Path, out: Path, finished: bool) -> None:
    """Claim a folder, as a build that is killed then; or do as if it were finished."""
    loaded = load(str(config))
    out.mkdir()
    building._claim(loaded, out, TOKENIZER)
    building._units(loaded, out)
    if finished:
        (out / "report.json").write_text('{"sets": {}}')


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != LOCK}


def test_files_that_are_not_opened_may_come_and_go(config: Path, tmp_path: Path) -> None:
    shutil.copytree(config.parent, tmp_path / "data")
    mine = tmp_path / "data" / config.name
    begin(mine, tmp_path / "out", finished=True)
    corpus = tmp_path / "data" / "corpus"
    (corpus / "image.png").unlink()
    (corpus / "package0" / "__pycache__").mkdir()
    (corpus / "package0" / "__pycache__" / "x.cpython-312.pyc").write_bytes(b"x")
    (corpus / "build.log").write_text("done")
    (corpus / "x.go").write_text("package x\n")
    assert run(mine, tmp_path / "out") == {"sets": {}}


def test_what_kills_leave_behind_is_removed(config: Path, built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    leave(out / ".build.json.0123abcd.part")  # by one that was killed at once

    class Stopped:
        def map(self, task: object, items: object) -> None:
            raise UserError("stopped here")

    with pytest.raises(UserError, match="stopped here"):
        build(load(str(config)), out, TOKENIZER, Stopped())  # pyright: ignore[reportArgumentType]
    leave(out / ".report.json.0123abcd.part")
    leave(out / ".train.0123abcd.part" / "00000.tokens")
    leave(out / ".train.4567cdef.old" / "index.json")
    leave(out / ".units.4567cdef.part" / "00000.json")
    leave(out / "dropped" / ".read-00000.parquet.0123abcd.part")
    leave(out / "work" / "read" / ".00000.json.0123abcd.part")
    run(config, out, workers=1)
    assert {path.name for path in out.rglob(".*")} == {LOCK}
    assert bytes_of(out) == bytes_of(built)


def leave(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("half")


def test_shards_that_are_gone_are_built_again(
    config: Path, built: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / "train" / "00000.tokens").write_bytes(b"")
    run(config, copied, workers=1)
    assert "train is missing or damaged: building it again" in capsys.readouterr().err
    assert bytes_of(copied) == bytes_of(built)


def test_files_and_bytes_add_up_in_every_stage_and_language(config: Path, built: Path) -> None:
    report = read_report(built)
    read, exact, near = stages(report)
    sizes = [path.stat().st_size for path in (config.parent / "corpus").rglob("*") if path.is_file()]
    with gzip.open(config.parent / "more.jsonl.gz", "rt") as file:
        sizes += [len(json.loads(line).get("text", "")) for line in file]
    sizes += [len(json.loads(line)["text"]) for line in (config.parent / "plain.jsonl").read_text().splitlines()]
    sizes += [len(program(400 + n)) for n in range(12)]
    assert (read.documents_in, read.size_in) == (len(sizes), sum(sizes))
    assert (read.documents, read.size) == (exact.documents_in, exact.size_in)
    assert (exact.documents, exact.size) == (near.documents_in, near.size_in)
    assert exact.documents_in - exact.documents == near.documents_in - near.documents == 1
    kept = {row.language: row for row in outcomes(report) if row.outcome == "kept"}
    assert near.documents == sum(row.documents for row in kept.values())
    assert near.size == sum(row.size for row in kept.values())
    of_sets = [shards.open(built / name).manifest["languages"] for name in ("train", "validation")]
    for language, row in kept.items():
        assert row.documents == sum(found.get(language, 0) for found in of_sets)
    gone = list(dropped(built))
    for row in outcomes(report):
        if row.outcome != "kept":
            mine = [
                each.size
                for each in gone
                if (each.language or "(unknown)") == row.language and each.reason.split(" of ")[0] == row.outcome
            ]
            assert (row.documents, row.size) == (len(mine), sum(mine))


def test_training_and_validation_are_counted_apart(built: Path) -> None:
    report = read_report(built)
    manifests = {name: shards.open(built / name).manifest for name in ("train", "validation")}
    for name, manifest in manifests.items():
        assert report["sets"][name] == {key: manifest[key] for key in report["sets"][name]}
        assert sum(manifest["languages"].values()) == sum(manifest["licences"].values()) == manifest["documents"]
        assert [each["kind"] for each in manifest["sources"]] == ["folder", "jsonl", "jsonl", "parquet"]
    assert manifests["train"]["languages"] != manifests["validation"]["languages"]
    assert 0 < manifests["validation"]["documents"] < manifests["train"]["documents"]


def test_two_builds_do_not_share_a_folder(config: Path, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "out").mkdir()
    with open(tmp_path / "out" / LOCK, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="Another process is building"):
            run(config, tmp_path / "out")
