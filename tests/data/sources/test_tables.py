"""Tables: rows to documents, and what is damaged, oversized or no document is told and hides nothing else.

The files are written by gzip, zstandard, pyarrow and json themselves.
"""

import gzip
import io
import json
import os
import random
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.data.config import Columns, Config, Filter, load
from polyturn.data.sources import Dropped, Raw, read, tables, units
from polyturn.data.sources import lines as lines_module
from polyturn.data.sources.lines import CorruptError, lines
from polyturn.utils.errors import UserError

ROWS = [{"text": f"x = {n}\n", "path": f"{n}.py", "repo": "a/b", "licence": "MIT"} for n in range(20)]


def config(source: str, columns: Columns | None = None, language: str = "", **rules: Any) -> Config:
    whole = load("mono", source=source)
    only = replace(whole.source[0], columns=columns or Columns(), language=language)
    filters = Filter(**{"licences": (), **rules})
    return replace(whole, data=replace(whole.data, languages=()), source=(only,), filter=filters)


def everything(c: Config) -> list[Raw | Dropped]:
    return [each for unit in units(c) for each in read(c, unit)]


def texts(found: list[Raw | Dropped]) -> list[str]:
    return [each.data.decode() for each in found if isinstance(each, Raw)]


def reasons(found: list[Raw | Dropped]) -> list[tuple[str, str]]:
    return [(each.id, each.reason) for each in found if isinstance(each, Dropped)]


def jsonl(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def zst(data: bytes) -> bytes:
    return pytest.importorskip("zstandard").ZstdCompressor(write_checksum=True).compress(data)


PACKERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    (".jsonl", lambda data: data),
    (".jsonl.gz", gzip.compress),
    (".jsonl.zst", zst),
]


@pytest.mark.parametrize(("ending", "pack"), PACKERS)
def test_rows_are_documents(tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / f"rows{ending}"
    path.write_bytes(pack(jsonl(ROWS[:10])) + (pack(jsonl(ROWS[10:])) if ending != ".jsonl" else jsonl(ROWS[10:])))
    found = everything(config(str(path)))  # two packed files, one behind the other, are one
    assert texts(found) == [row["text"] for row in ROWS]
    first = found[0]
    assert isinstance(first, Raw)
    assert first == Raw(f"rows{ending}:0", "a/b", "0.py", b"x = 0\n", "MIT", "Python", 6)


def test_a_folder_of_files_is_one_unit_each(tmp_path: Path) -> None:
    for name in ("b.jsonl", "in/a.jsonl.gz", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        data = jsonl(ROWS[:1])
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    c = config(f"jsonl:{tmp_path}")
    assert [unit.name.partition("/")[2] for unit in units(c)] == ["b.jsonl", "in/a.jsonl.gz"]
    assert len(texts(everything(c))) == 2


def test_rows_that_are_no_documents(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    rows = [
        b'{"text": "a = 1\\n", "path": "a.py"}',
        b"[1, 2]",
        b'"text"',
        b"{broken",
        b"",
        b'{"path": "a.py"}',
        b'{"text": null, "path": "a.py"}',
        b'{"text": 3, "path": "a.py"}',
        b'{"text": "", "path": "a.py"}',
        b'{"text": "\\ud800", "path": "a.py"}',
        b'{"text": "\\u0000", "path": "a.py"}',
        b'{"text": "\xff", "path": "a.py"}',
        b"[" * 100_000,
        b'{"text": "no path"}',
        b'{"text": "b = 1\\n", "path": "a.py"}',  # the same path again is another document
        b'{"text": "c = 1\\n", "path": "c.py"}',  # a last line without an end
    ]
    path.write_bytes(b"\n".join(rows))
    found = everything(config(str(path)))
    assert texts(found) == ["a = 1\n", "b = 1\n", "c = 1\n"]
    assert len({each.id for each in found}) == len(found) == 15
    beginnings = list(accumulate((len(row) + 1 for row in rows), initial=0))
    assert [(1 + beginnings.index(int(id.partition(":")[2])), reason) for id, reason in reasons(found)] == [
        (2, "not-an-object"),
        (3, "not-an-object"),
        (4, "not-json"),
        (6, "no-text"),
        (7, "no-text"),
        (8, "no-text"),
        (9, "empty"),
        (10, "not-utf-8"),
        (11, "binary"),
        (12, "not-utf-8"),
        (13, "not-json"),
        (14, "unknown-language"),
    ]


def test_columns_of_other_names_lists_of_licences_and_a_language_for_all(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    rows = [
        {"content": "a", "licenses": ["MIT", "GPL-2.0-only"], "lang": "cpp"},
        {"content": "b", "licenses": ["MIT", "ISC"], "lang": None},
        {"content": "c", "licenses": None},
        {"content": "d", "licenses": "MIT", "lang": "Brainfuck"},
    ]
    path.write_bytes(jsonl(rows))
    columns = Columns(text="content", licence="licenses", language="lang")
    found = everything(config(str(path), columns, language="Text", licences=("MIT", "ISC")))
    third = len(jsonl(rows[:2]))
    assert reasons(found) == [("x.jsonl:0", "licence"), (f"x.jsonl:{third}", "licence")]
    raws = [each for each in found if isinstance(each, Raw)]
    assert [(raw.licence, raw.language) for raw in raws] == [("MIT AND ISC", "Text"), ("MIT", "Brainfuck")]


def test_a_prompt_stands_before_the_text(tmp_path: Path) -> None:
    rows = [("é\n", "a\n"), ("", "b\n"), ("\ufeffq\n", "c\n"), ("", "\ufeffd\n"), ("q", ""), (3, "e"), ("\ud800", "f")]
    (tmp_path / "x.jsonl").write_bytes(jsonl([{"q": prompt, "a": answer} for prompt, answer in rows]))
    pairs = Columns(text="a", prompt="q")
    found = everything(config(str(tmp_path / "x.jsonl"), pairs, language="Text"))
    split = [
        (raw.data[: raw.prompt].decode(), raw.data[raw.prompt :].decode()) for raw in found if isinstance(raw, Raw)
    ]
    assert split == [("é\n", "a\n"), ("", "b\n"), ("q\n", "c\n"), ("", "d\n")]
    assert [reason for _, reason in reasons(found)] == ["empty", "no-prompt", "not-utf-8"]
    assert [each.size for each in found][:2] == [5, 2]

    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table({"q": [b"\xc3\xa9", b"\xc3", None, b"x" * 99], "a": ["a", "b", "c", "d"]})
    parquet.write_table(table, tmp_path / "x.parquet")
    found = everything(config(str(tmp_path / "x.parquet"), pairs, language="Text", largest=50))
    assert [(raw.data.decode(), raw.prompt) for raw in found if isinstance(raw, Raw)] == [("éa", 2)]
    assert [reason for _, reason in reasons(found)] == ["not-utf-8", "no-prompt", "too-large"]
    missing = replace(pairs, prompt="question")
    with pytest.raises(UserError, match=r"no column 'question'; set columns\.prompt to one of q, a"):
        everything(config(str(tmp_path / "x.parquet"), missing))


def test_what_a_column_calls_a_licence_is_known_or_another_one(tmp_path: Path) -> None:
    said = ["GPL v3", "Proprietary", "MIT License", None, "", ["MIT", "ask me"]]
    (tmp_path / "x.jsonl").write_bytes(jsonl([{"text": f"{n}\n", "licence": each} for n, each in enumerate(said)]))
    for licences, kept in (
        (("MIT", ""), ["2\n", "3\n", "4\n"]),
        (("MIT", "other"), ["1\n", "2\n", "5\n"]),
        (("GPL-3.0-only",), ["0\n"]),
    ):
        found = everything(config(str(tmp_path / "x.jsonl"), language="Text", licences=licences))
        assert texts(found) == kept


def test_the_opt_out_list_holds_for_rows(tmp_path: Path) -> None:
    path, listed = tmp_path / "x.jsonl", tmp_path / "out.txt"
    path.write_bytes(jsonl([{**ROWS[0], "repo": "Asked/Us"}, ROWS[1]]))
    listed.write_text("asked\n")
    found = everything(config(str(path), optout=str(listed)))
    assert reasons(found) == [("x.jsonl:0", "opt-out")]
    assert texts(found) == ["x = 1\n"]


@pytest.mark.parametrize(("ending", "pack"), PACKERS[1:])
def test_what_comes_before_a_damage_counts(tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / f"x{ending}"
    draw = random.Random(0)
    rows = [{"text": f"x = {draw.getrandbits(2000)}\n", "path": "x.py"} for _ in range(500)]
    whole = pack(jsonl(rows))
    path.write_bytes(whole)
    assert len(texts(everything(config(str(path))))) == 500
    garbage = bytearray(whole)
    garbage[len(whole) // 2 : len(whole) // 2 + 200] = draw.randbytes(200)
    for data, least in (
        (whole[: len(whole) // 2], 100),  # cut off
        (whole[:-1], 499),
        (bytes(garbage), 1),
        (draw.randbytes(5000), 0),
        (whole + b"no packed file", 500),
        (b"\x1f\x8b", 0),
    ):
        path.write_bytes(data)
        found = everything(config(str(path)))
        done = texts(found)
        assert len(done) >= least
        if data != bytes(garbage):  # which may unpack to something else before it is noticed
            assert done == [row["text"] for row in rows][: len(done)]
        last = found[-1]
        assert isinstance(last, Dropped)
        assert (last.reason, last.size) == ("corrupt", len(data))
        if data != bytes(garbage):
            assert last.id == f"x{ending}:{len(jsonl(rows[: len(done)]))}-"


def test_a_file_gone_or_closed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(jsonl(ROWS))
    c = config(str(path))
    listed = list(units(c))
    path.unlink()
    assert reasons([each for unit in listed for each in read(c, unit)]) == [("x.jsonl:0-", "unreadable")]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_no_file_at_all_stops_the_build(tmp_path: Path, ending: str) -> None:
    with pytest.raises(UserError, match=f"holds no file that ends in .{ending}"):
        list(units(config(f"{ending}:{tmp_path}")))
    with pytest.raises(UserError, match="Cannot read the folder"):
        list(units(config(f"{ending}:{tmp_path / 'none'}")))


def test_long_lines_are_told_and_not_held(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    long = {"text": "#" * 3_000_000, "path": "x.py"}
    path.write_bytes(jsonl([ROWS[0], long, ROWS[1]]))
    found = everything(config(str(path), largest=1000))
    assert texts(found) == ["x = 0\n", "x = 1\n"]
    [dropped] = [each for each in found if isinstance(each, Dropped)]
    assert (dropped.reason, dropped.size) == ("too-large", len(json.dumps(long)))


@pytest.mark.parametrize("longest", [0, 1, 3, 10_000, 10_000_000])
def test_lines_are_those_of_python(tmp_path: Path, longest: int) -> None:
    draw = random.Random(1)
    data = b"\n".join(b"a" * draw.choice([0, 1, 2, 5000, 40_000]) for _ in range(300)) + draw.choice([b"", b"\n"])
    wanted = [line.removesuffix(b"\n") for line in io.BytesIO(data)]
    for ending, pack in PACKERS[:2]:
        (tmp_path / f"x{ending}").write_bytes(pack(data))
        found = list(lines(str(tmp_path / f"x{ending}"), longest))
        assert [line for _, line in found] == [line if len(line) <= longest else len(line) for line in wanted]
        assert [at for at, _ in found] == list(accumulate((len(line) + 1 for line in wanted[:-1]), initial=0))


@given(st.lists(st.integers(0, 12), max_size=20), st.integers(1, 15), st.integers(1, 9), st.booleans())
def test_every_line_is_in_one_range(sizes: list[int], step: int, piece: int, ended: bool) -> None:
    data = b"\n".join(bytes([97 + n % 26]) * size for n, size in enumerate(sizes)) + b"\n" * ended
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file, pytest.MonkeyPatch.context() as patched:
        file.write(data)
        file.flush()
        patched.setattr(lines_module, "PIECE", piece)
        whole = list(lines(file.name, 5))
        ranges = [lines(file.name, 5, at, at + step) for at in range(0, len(data) + step, step)]
        assert [line for each in ranges for line in each] == whole
    assert [line for _, line in whole] == [
        line if len(line) <= 5 else len(line) for line in (each.rstrip(b"\n") for each in io.BytesIO(data))
    ]


def test_a_plain_file_is_read_in_parts_that_give_what_the_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(jsonl(ROWS) + b"{broken\n" + jsonl([{"text": "#" * 2000, "path": "long.py"}, *ROWS]))
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    whole = everything(config(str(path)))
    monkeypatch.setattr(tables, "UNIT_BYTES", 500)
    c = config(str(path))
    assert len(list(units(c))) == -(-path.stat().st_size // 500) > 5
    assert everything(c) == whole
    packed = config(str(tmp_path / "x.jsonl.gz"))
    assert len(list(units(packed))) == 1
    assert texts(everything(packed)) == texts(whole)


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "x.jsonl.zst"
    packer = zstandard.ZstdCompressor().compressobj()
    with open(path, "wb") as file:
        for _ in range(300):
            file.write(packer.compress(b" " * 1_000_000))
        file.write(packer.compress(b"\n" + jsonl(ROWS[:1])) + packer.flush())
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    found = list(lines(str(path), 1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000  # what 1 KiB unpacks to at once
    assert found == [(0, 300_000_000), (300_000_001, jsonl(ROWS[:1]).strip())]


def test_a_cut_off_file_raises_after_its_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"one\ntwo\nthree")[:-9])
    reading = lines(str(path), 100)
    assert next(reading) == (0, b"one")
    assert next(reading) == (4, b"two")
    with pytest.raises(CorruptError):
        list(reading)


def parquet(path: Path, rows: list[dict[str, Any]], group: int = 8) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=group)


def test_parquet_is_read_by_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    parquet(path, ROWS)
    c = config(str(path))
    assert [unit.part for unit in units(c)] == [0, 1, 2]
    found = everything(c)
    assert texts(found) == [row["text"] for row in ROWS]
    assert [each.id for each in found][7:10] == ["x.parquet:0:7", "x.parquet:1:0", "x.parquet:1:1"]


@pytest.mark.parametrize("kind", ["string", "large_string", "binary", "dictionary"])
def test_cells_that_are_too_large_are_told_and_not_taken_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    pa = pytest.importorskip("pyarrow")
    path = tmp_path / "x.parquet"
    cells = ["x = 1\n", "é" * 600, None, "y = 2\n"]
    column = pa.array([cell and cell.encode() for cell in cells]) if kind == "binary" else pa.array(cells)
    column = column.dictionary_encode() if kind == "dictionary" else column
    column = column.cast(pa.large_string()) if kind == "large_string" else column
    pytest.importorskip("pyarrow.parquet").write_table(pa.table({"text": column, "path": ["a.py"] * 4}), path)
    for size in (1, 1 << 20):
        monkeypatch.setattr(tables, "BATCH_BYTES", size)
        found = everything(config(str(path), largest=1000))
        assert texts(found) == ["x = 1\n", "y = 2\n"]
        assert reasons(found) == [("x.parquet:0:1", "too-large"), ("x.parquet:0:2", "no-text")]
        assert [each.size for each in found if isinstance(each, Dropped)] == [1200, 0]


def test_parquet_of_bytes_nulls_and_lists(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    parquet(
        path,
        [
            {"text": b"x = 1\n", "path": "a.py", "licence": ["MIT", "ISC"], "other": {"a": [1]}},
            {"text": None, "path": "a.py", "licence": None, "other": None},
            {"text": b"\xff\xfe", "path": "a.py", "licence": [], "other": None},
        ],
    )
    found = everything(config(str(path)))
    assert texts(found) == ["x = 1\n"]
    assert reasons(found) == [("x.parquet:0:1", "no-text"), ("x.parquet:0:2", "not-utf-8")]


def test_a_column_that_is_missing_stops_the_build(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    parquet(path, [{"content": "x", "file": "a.py"}])
    with pytest.raises(UserError, match=r"no column 'text'; set columns\.text to one of content, file"):
        list(units(config(str(path))))
    with pytest.raises(UserError, match=r"no column 'files'; set columns\.path"):
        list(units(config(str(path), Columns(text="content", path="files"))))
    assert len(texts(everything(config(str(path), Columns(text="content", path="file"))))) == 1


def test_damaged_parquet_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    draw = random.Random(2)
    rows = [{"text": f"x = {draw.getrandbits(4000)}\n", "path": "x.py"} for _ in range(40)]
    whole = tmp_path / "good.parquet"
    parquet(whole, rows, group=10)
    data = whole.read_bytes()
    broken = bytearray(data)
    broken[4 : len(data) // 5] = bytes(len(data) // 5 - 4)  # in the first row group
    for name, content in {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "garbage": draw.randbytes(3000),
        "inside": bytes(broken),
    }.items():
        (tmp_path / f"{name}.parquet").write_bytes(content)
    found = everything(config(f"parquet:{tmp_path}"))
    assert len([each for each in found if isinstance(each, Raw) and "/good.parquet:" in each.id]) == 40
    assert len([each for each in found if isinstance(each, Raw) and "/inside.parquet:" in each.id]) >= 30
    told = [(id.rpartition("/")[2], reason) for id, reason in reasons(found)]
    assert [(id.partition(":")[0], reason) for id, reason in told] == [
        ("cut.parquet", "corrupt"),
        ("empty.parquet", "corrupt"),
        ("garbage.parquet", "corrupt"),
        ("inside.parquet", "corrupt"),
    ]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("no_network")
@pytest.mark.filterwarnings("ignore")  # of the package and what it imports
def test_a_data_set_of_hugging_face_is_streamed_by_shards(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for shard in range(2):
        (folder / f"train-{shard}.jsonl").write_bytes(jsonl(ROWS[shard * 10 : shard * 10 + 10]))
    c = config(f"huggingface:{folder}")
    assert [unit.part for unit in units(c)] == [0, 1]
    found = everything(c)
    assert texts(found) == [row["text"] for row in ROWS]
    assert [each.id for each in found][9:11] == ["set/train:0:9", "set/train:1:0"]
    assert found == everything(c)
    with pytest.raises(UserError, match="Cannot open the data set"):
        list(units(config(f"huggingface:{tmp_path / 'none'}")))
    with pytest.raises(UserError, match=r"no column 'content'; set columns\.text to one of"):
        list(units(config(f"huggingface:{folder}", Columns(text="content"))))


def test_nothing_in_a_folder_of_tables_is_passed_over_in_silence(tmp_path: Path) -> None:
    here = tmp_path / "tables"
    here.mkdir()
    (here / "UP.JSONL").write_text('{"text": "x = 1\\n", "path": "x.py"}\n')
    c = config(f"jsonl:{here}")
    assert [type(found) for unit in units(c) for found in read(c, unit)] == [Raw]
    (here / "link").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(UserError, match="is a link to a folder"):
        list(units(c))
    (here / "link").unlink()
    os.mkfifo(here / "pipe.jsonl")
    with pytest.raises(UserError, match="no file that can be read"):
        list(units(c))


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_an_empty_packed_file_was_cut_off(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"x.jsonl{ending}").touch()
    with pytest.raises(CorruptError):
        list(lines(str(tmp_path / f"x.jsonl{ending}"), 100))
