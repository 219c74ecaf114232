"""Builds: the same shards however they are cut and wherever they lie; every file accounted for."""

import gzip
import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_builds import CONFIG, HELD_OUT, TOKENIZER, bytes_of, program, run

from polyturn.data import build as building
from polyturn.data import shards
from polyturn.data.build import build, read_report
from polyturn.data.config import load
from polyturn.data.runner import open_runner
from polyturn.data.show import dropped, outcomes, samples, stages
from polyturn.tokenizer import bpe
from polyturn.utils.errors import UserError
from polyturn.utils.lock import LOCK


@pytest.fixture(scope="module")
def built(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build by the reference runner."""
    folder = tmp_path_factory.mktemp("built") / "out"
    run(config, folder, "plain", 2)
    return folder


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


@pytest.mark.slow
def test_pieces_of_any_size_keep_the_same_documents(built: Path, built_small: dict[str, bytes]) -> None:
    one, other = read_report(built), json.loads(built_small["report.json"])
    assert {name: one[name] for name in ("outcomes", "tokens", "characters")} == {
        name: other[name] for name in ("outcomes", "tokens", "characters")
    }
    assert bytes_of(built) != built_small  # other buckets


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
    other.write_text(CONFIG.replace("corpus", "nowhere", 1).replace('"mixed"', '"nowhere"'))
    (tmp_path / "there").mkdir()
    for out in (tmp_path / "new", tmp_path / "there"):
        with pytest.raises(UserError, match=r"Cannot read the folder .*nowhere"):
            run(other, out)
    assert not (tmp_path / "new").exists(), "one with a mended config can begin there"
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


class Stopped:
    def map(self, task: object, items: object) -> None:
        raise UserError("stopped here")


STOPPED: Any = Stopped()


def test_what_kills_leave_behind_is_removed(config: Path, built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    leave(out / ".build.json.0123abcd.part")  # by one that was killed at once
    with pytest.raises(UserError, match="stopped here"):
        build(load(str(config)), out, TOKENIZER, STOPPED)
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


def test_the_version_of_python_is_recorded_and_is_that_of_the_whole_build(
    config: Path, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its grammar decides what parses. Where nothing is parsed it does not matter."""
    running = platform.python_version()
    assert [each["python"] for each in shards.open(built / "train").manifest["sources"]] == [running] * 4
    careless = config.with_name("careless.toml")
    careless.write_text(CONFIG.replace("licences = []", "licences = []\npython_parses = false"))
    report = run(careless, tmp_path / "out")
    assert all("python" not in each for each in report["sources"])
    monkeypatch.setattr(platform, "python_version", lambda: "3.99.0")
    with pytest.raises(UserError, match="another python; choose another folder"):
        run(config, built)
    assert run(careless, tmp_path / "out") == report


SIMPLE = '[[source]]\nkind = "KIND"\npath = "."\n[filter]\nlicences = []\n[dedup]\nnear = false\n[pack]\nrow = 64\n'


@pytest.mark.parametrize("kind", ["folder", "jsonl"])
def test_a_build_does_not_read_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """Nor another build, finished or stopped, that is within its source."""
    for number in range(3):
        (tmp_path / f"{number}.py").write_text(program(number))
        record = {"text": program(number), "path": f"{number}.py"}
        (tmp_path / f"{number}.jsonl").write_text(json.dumps(record) + "\n")
    config = tmp_path / "one.toml"
    config.write_text(SIMPLE.replace("KIND", kind))
    first = run(config, tmp_path / "made" / "first", workers=1)
    (tmp_path / "made" / "first" / "extra.jsonl").write_text(json.dumps({"text": program(9), "path": "9.py"}) + "\n")
    with pytest.raises(UserError, match="stopped here"):
        build(load(str(config)), tmp_path / "made" / "begun", TOKENIZER, STOPPED)
    assert run(config, tmp_path / "made" / "second", workers=1) == first
    capsys.readouterr()
    assert run(config, tmp_path / "made" / "first") == first
    assert "already built" in capsys.readouterr().err
    assert run(config, tmp_path / "made" / "begun", workers=1) == first
    mine = tmp_path / "mine"  # a file of this name alone makes no build
    mine.mkdir()
    (mine / "build.json").write_text("{}")
    (mine / "x.jsonl").write_text(json.dumps({"text": program(5), "path": "5.py"}) + "\n")
    (mine / "x.py").write_text(program(5))
    more = run(config, tmp_path / "made" / "third", workers=1)
    assert more["outcomes"]["Python"]["kept"][0] == first["outcomes"]["Python"]["kept"][0] + 1


@pytest.mark.parametrize(
    ("lines", "columns", "told"),
    [
        (
            '{"content": "x = 1", "lang": "C"}\n',
            "",
            r"1 no-text\); set columns\.text .* \(there are content, lang\)",
        ),
        ('{"text": "x = 1"}\n', 'prompt = "ask"', r"1 no-prompt\); set columns\.prompt .* \(there are text\)"),
        ("x = 1\n", "", r"1 not-json\); a \.jsonl file holds one JSON object on each line"),
        (None, "", r"1 corrupt\); the files are damaged"),
    ],
)
def test_the_remedy_is_that_of_the_leading_reason(tmp_path: Path, lines: str | None, columns: str, told: str) -> None:
    file = tmp_path / ("table.jsonl" if lines else "table.jsonl.gz")
    file.write_bytes(lines.encode() if lines else gzip.compress(b"{}\n")[:12])
    config = tmp_path / "one.toml"
    source = SIMPLE.replace("KIND", "jsonl").replace('"."\n', f'"{file.name}"\nlanguage = "Text"\n')
    config.write_text(source.replace("[filter]", f"[source.columns]\n{columns}\n[filter]"))
    with pytest.raises(UserError, match=told):
        run(config, tmp_path / "out", workers=1)


def test_documents_rearranged_for_filling_in_the_middle_are_counted(config: Path, tmp_path: Path) -> None:
    other = config.with_name("middle.toml")
    other.write_text(CONFIG.replace("row = 256", "row = 4096\nfim_rate = 1.0"))
    report = run(other, tmp_path / "out")
    documents = sum(found["documents"] for found in report["sets"].values())
    assert report["rearranged"] == documents > 0
    other.write_text(CONFIG)
    assert run(other, tmp_path / "none")["rearranged"] == 0


def test_two_builds_do_not_share_a_folder(config: Path, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "out").mkdir()
    with open(tmp_path / "out" / LOCK, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="Another process is building"):
            run(config, tmp_path / "out")
