"""Shards: what was packed is what is read, bytes depend on the rows alone, and every kind of damage is found."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyturn.data import shards
from polyturn.data.packing import Packed, best_fit
from polyturn.data.shards import About
from polyturn.utils.errors import UserError
from polyturn.utils.sealed import seal

VOCAB, PAD, ROW = 1000, 1, 16
ABOUT = About("c0ffee", "70ce", 40, {"python": 30, "c": 10}, {"MIT": 40})
KIB_ROWS = 1024 // (ROW * 2)  # rows in 2^10 bytes of tokens


def some(seed: int, documents: int = 40) -> Packed:
    rng = np.random.default_rng(seed)
    return best_fit((rng.integers(2, VOCAB, n) for n in rng.integers(1, 40, documents)), ROW, VOCAB, PAD)


def write(folder: Path, packs: list[Packed], kib: float = 2) -> None:
    shards.write(folder, packs, vocab=VOCAB, pad_id=PAD, about=ABOUT, megabytes=kib / 1024)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound folder of three shards, the last one smaller."""
    write(tmp_path / "shards", [some(n) for n in range(3)])
    assert shards.verify(tmp_path / "shards") == []
    assert len(shards.open(tmp_path / "shards").packs) == 3
    return tmp_path / "shards"


@settings(max_examples=30)  # each file is flushed to disk
@given(st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True), st.sampled_from([0.1, 0.5, 1, 64]))
def test_rows_come_back(tmp_path_factory: pytest.TempPathFactory, seeds: list[int], kib: float) -> None:
    folder = tmp_path_factory.mktemp("rows") / "shards"
    packs = [some(seed, 10) for seed in seeds]
    write(folder, packs, kib)
    opened = shards.open(folder)
    assert len(opened) == sum(len(p.tokens) for p in packs)
    assert {len(p.tokens) for p in opened.packs[:-1]} <= {max(1, int(kib * KIB_ROWS))}
    tokens, segments, learned = opened.read(np.arange(len(opened)))
    assert (learned == (segments > 0)).all()
    assert (tokens == np.concatenate([p.tokens for p in packs])).all()
    n = 0
    for packed in packs:
        for row in range(len(packed.tokens)):
            lengths = packed.lengths[packed.starts[row] : packed.starts[row + 1]].tolist()
            wanted = [number for number, length in enumerate(lengths, 1) for _ in range(length)]
            assert segments[n].tolist() == wanted + [0] * (ROW - len(wanted))
            n += 1
    order = np.random.default_rng(0).permutation(len(opened))
    mixed, mixed_segments, _ = opened.read(order)
    assert (mixed == tokens[order]).all()
    assert (mixed_segments == segments[order]).all()
    assert opened.read(order[:0])[0].shape == (0, ROW)
    assert shards.verify(folder) == []


def test_what_is_to_be_learned_comes_back(tmp_path: Path) -> None:
    """A prompt is read and not learned; across shards, and for rows whose length is no multiple of eight."""
    rng = np.random.default_rng(4)
    documents = [rng.integers(2, VOCAB, n) for n in rng.integers(1, 40, 60)]
    marks = [rng.random(len(document)) < 0.5 for document in documents]
    packed = best_fit(documents, 29, VOCAB, PAD, marks)
    shards.write(tmp_path / "s", [packed], vocab=VOCAB, pad_id=PAD, about=ABOUT, megabytes=1 / 1024)
    opened = shards.open(tmp_path / "s")
    assert len(opened.packs) > 1
    tokens, segments, learned = opened.read(np.arange(len(opened)))
    pairs = sorted((int(t), bool(m)) for t, m in zip(tokens[segments > 0], learned[segments > 0], strict=True))
    every = zip(np.concatenate(documents), np.concatenate(marks), strict=True)
    assert pairs == sorted((int(t), bool(m)) for t, m in every)
    assert not learned[segments == 0].any()
    again, _, learned_again = opened.read(np.array([5, 2]))
    assert (learned_again == learned[[5, 2]]).all()
    assert (again == tokens[[5, 2]]).all()
    assert shards.verify(tmp_path / "s") == []
    plain = best_fit(documents, 29, VOCAB, PAD)
    with pytest.raises(UserError, match="mixed"):
        shards.write(tmp_path / "t", [packed, plain], vocab=VOCAB, pad_id=PAD, about=ABOUT)
    with pytest.raises(ValueError, match="as many marks"):
        best_fit(documents, 29, VOCAB, PAD, [mark[:-1] for mark in marks])


def test_bytes_depend_on_the_rows_and_not_on_how_they_come(tmp_path: Path) -> None:
    packed = some(1, 200)
    write(tmp_path / "one", [packed])
    write(tmp_path / "many", [packed[n : n + 7] for n in range(0, len(packed.tokens), 7)] + [packed[0:0]])
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "many").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


def test_the_files_are_what_the_docs_say(folder: Path) -> None:
    """Read with nothing of ours."""
    index, manifest = (json.loads((folder / name).read_text()) for name in ("index.json", "manifest.json"))
    rows = 0
    tokens = 0
    for shard in index["shards"]:
        block = np.fromfile(folder / f"{shard['name']}.tokens", "<u2").reshape(shard["rows"], index["row"])
        starts = np.fromfile(folder / f"{shard['name']}.starts", "<u4")
        lengths = np.fromfile(folder / f"{shard['name']}.lengths", "<u4")
        assert (len(starts), len(lengths)) == (shard["rows"] + 1, shard["pieces"])
        for row in range(shard["rows"]):
            end = lengths[starts[row] : starts[row + 1]].sum()
            assert (block[row, :end] != PAD).all()
            assert (block[row, end:] == PAD).all()
            tokens += int(end)
        rows += shard["rows"]
    assert (manifest["rows"], manifest["tokens"]) == (rows, tokens)
    assert manifest["padding"] == rows * ROW - tokens
    assert (manifest["config"], manifest["tokenizer"]) == ("c0ffee", "70ce")
    assert manifest["licences"] == {"MIT": 40}
    assert manifest["languages"] == {"c": 10, "python": 30}
    assert set(manifest["files"]) == {path.name for path in folder.iterdir()} - {"manifest.json"}


def test_four_bytes_where_two_are_too_few(tmp_path: Path) -> None:
    packed = best_fit([[70_000, 2, 3]], 4, 80_000, PAD)
    shards.write(tmp_path / "s", [packed], vocab=80_000, pad_id=PAD, about=ABOUT)
    assert shards.open(tmp_path / "s").read(np.array([0]))[0].tolist() == [[70_000, 2, 3, PAD]]
    assert (tmp_path / "s" / "00000.tokens").stat().st_size == 16


def edit(name: str, change: Callable[[np.ndarray], None], dtype: str) -> Callable[[Path], object]:
    """Damage to the numbers of a file."""

    def damage(folder: Path) -> None:
        numbers = np.fromfile(folder / name, dtype)
        change(numbers)
        numbers.tofile(folder / name)

    return damage


def put(where: int, value: int) -> Callable[[np.ndarray], None]:
    def change(numbers: np.ndarray) -> None:
        numbers[where] = value

    return change


def text(name: str, old: str, new: str) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_text()
        assert old in content
        (folder / name).write_text(content.replace(old, new, 1))

    return damage


def cut_off(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-3])


DAMAGE: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "one token": (edit("00001.tokens", put(0, 5), "<u2"), ["00001.tokens is not as it was written"]),
    "a token outside": (
        edit("00001.tokens", put(5 * ROW, 1000), "<u2"),
        ["00001.tokens is not as it was written", "outside the vocabulary of 1000, first in row 5"],
    ),
    "a start": (
        edit("00002.starts", put(1, 10_000), "<u4"),
        ["00002.starts is not as it was written", "00002.starts does not give every row its pieces"],
    ),
    "a length": (
        edit("00000.lengths", put(0, 17), "<u4"),
        ["00000.lengths is not as it was written", "00000.lengths has pieces that do not fit"],
    ),
    "a length of none": (
        edit("00000.lengths", put(0, 0), "<u4"),
        ["00000.lengths is not as it was written", "00000.lengths has pieces that do not fit"],
    ),
    "a file cut off": (cut_off("00001.tokens"), ["00001.tokens has 2045 bytes and not 2048"]),
    "a file gone": (lambda folder: (folder / "00001.lengths").unlink(), ["00001.lengths is missing"]),
    "a file more": (
        lambda folder: (folder / "00007.tokens").write_bytes(b"ab"),
        ["00007.tokens is not in manifest.json"],
    ),
    "a licence": (text("manifest.json", "MIT", "GPL"), ["manifest.json is not as it was written"]),
    "no index": (lambda folder: (folder / "index.json").unlink(), ["index.json is missing", "index.json cannot be"]),
    "another row length": (
        text("index.json", '"row": 16', '"row": 32'),
        ["index.json is not as it was written", "00000.tokens has 2048 bytes and not 4096"],
    ),
    "an index of something else": (
        lambda folder: (folder / "index.json").write_text('{"version": 1, "shards": [3]}'),
        ["index.json has", "does not describe shards"],
    ),
    "an index that leads out of the folder": (
        text("index.json", '"name": "00001"', '"name": "../x/00001"'),
        ["index.json has", "does not describe shards"],
    ),
    "a manifest cut off": (cut_off("manifest.json"), ["manifest.json is no JSON"]),
    "a manifest of nothing": (
        lambda folder: (folder / "manifest.json").write_text('{"version": 1}'),
        ["manifest.json does not list the files"],
    ),
    "a later version": (text("manifest.json", '"version": 1', '"version": 2'), ["not of version 1"]),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), ["manifest.json cannot be read"]),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_and_named(folder: Path, kind: str) -> None:
    damage, wanted = DAMAGE[kind]
    damage(folder)
    found = shards.verify(folder)
    for words in wanted:
        assert any(words in problem for problem in found), found
    assert all(problem.endswith(".") for problem in found)


def restamp(folder: Path, **changes: object) -> None:
    """A manifest that is true to the files as they are, as if a faulty program had written them."""
    manifest = json.loads((folder / "manifest.json").read_text()) | changes
    del manifest["sha256"]
    for name in manifest["files"]:
        manifest["files"] |= shards._write(folder / name, (folder / name).read_bytes())
    (folder / "manifest.json").write_bytes(seal(manifest))


def test_digests_that_are_right_hide_nothing(folder: Path) -> None:
    edit("00001.tokens", put(-1, 1000), "<u2")(folder)
    restamp(folder)
    (problem,) = shards.verify(folder)
    assert "outside the vocabulary" in problem


def test_padding_that_is_none(tmp_path: Path) -> None:
    write(tmp_path / "s", [best_fit([[5] * 9], ROW, VOCAB, PAD)])
    edit("00000.tokens", put(12, 7), "<u2")(tmp_path / "s")
    restamp(tmp_path / "s")
    assert shards.verify(tmp_path / "s") == ["00000.tokens has tokens that belong to no document, first in row 0."]


@pytest.mark.parametrize("name", ["rows", "pieces", "tokens", "padding"])
def test_a_wrong_count(folder: Path, name: str) -> None:
    count = json.loads((folder / "manifest.json").read_text())[name]
    restamp(folder, **{name: count + 1})
    assert shards.verify(folder) == [f"manifest.json says {count + 1} {name}, and there are {count}."]


@pytest.mark.parametrize("kind", ["a file cut off", "a file gone", "no index", "an index of something else"])
def test_what_cannot_be_read_is_not_opened(folder: Path, kind: str) -> None:
    DAMAGE[kind][0](folder)
    with pytest.raises(UserError, match=r"again|check the path"):
        shards.open(folder)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder of shards"):
        shards.open(tmp_path / "none")
    assert "cannot be read" in shards.verify(tmp_path / "none")[0]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no rows"):
        write(tmp_path / "s", [some(1)[0:0]])
    with pytest.raises(UserError, match="Rows of 16 and of 8"):
        write(tmp_path / "s", [some(1), best_fit([[5]], 8, VOCAB, PAD)])
    with pytest.raises(UserError, match="vocabulary of 1000"):
        write(tmp_path / "s", [best_fit([[1000]], ROW, 2000, PAD)])
    with pytest.raises(UserError, match="vocabulary of 1000"):
        write(tmp_path / "s", [best_fit([[5]], ROW, 70_000, PAD)])
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_not_lost_and_older_shards_are_replaced(folder: Path) -> None:
    write(folder, [some(9)], 64)
    assert len(shards.open(folder).packs) == 1
    assert shards.verify(folder) == []
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt"):
        write(folder, [some(9)])
    assert (folder / "notes.txt").read_text() == "mine"


FULL_DISK = """
import resource, sys
import numpy as np
from polyturn.data import shards
from polyturn.data.packing import best_fit
from polyturn.utils.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
packed = best_fit(np.full((3000, 15), 7), 16, 1000, 1)
try:
    shards.write(sys.argv[1], [packed], vocab=1000, pad_id=1, about=shards.About("", "", 3000), megabytes=1 / 32)
except UserError as error:
    print(error)
else:
    print("written")
"""


@pytest.mark.parametrize("limit", [100, 20_000, 32_767, 32_768])
def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path: Path, limit: int) -> None:
    """No file may be longer than `limit` bytes; shards of 2^15 bytes are to be written, over others."""
    write(tmp_path / "old", [some(1)])
    for name in ("new", "old"):
        command = [sys.executable, "-c", FULL_DISK, str(tmp_path / name), str(limit)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if limit < 32_768:
            assert "Cannot write" in told
            assert "free some space" in told
        else:
            assert told == "written\n"
    assert shards.verify(tmp_path / "old") == []
    left = {path.name for path in tmp_path.iterdir()}
    if limit < 32_768:
        assert left == {"old"}
        assert len(shards.open(tmp_path / "old")) == len(some(1).tokens)
    else:
        assert left == {"old", "new"}
        assert len(shards.open(tmp_path / "old")) == 3000
