"""A data file of another kind is known for what it is."""

import gzip
import json
from pathlib import Path

import pytest
from made import PROBLEMS, TASKS, write_lines

from polyturn.bench.benchmarks import Name, read_benchmark
from polyturn.utils.errors import UserError

MBPP = {"task_id": 2, "text": "Double x.", "code": "def f(x):\n    return 2 * x", "test_list": ["assert f(1) == 2"]}
FILES: dict[Name, object] = {"humaneval": TASKS[0], "mbpp": MBPP, "mtpb": PROBLEMS[0]}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("other", FILES)
def test_a_file_of_another_benchmark_is_named(tmp_path: Path, name: Name, other: Name) -> None:
    path = write_lines(tmp_path / "data.jsonl", [FILES[other]])
    if name == other:
        assert read_benchmark(name, path).name == name
        return
    with pytest.raises(UserError, match=f"looks like a file of {other}, not of {name}"):
        read_benchmark(name, path)


def test_a_damaged_file_is_not_called_another(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "data.jsonl", [MBPP, {**MBPP, "task_id": 3, "test_list": 7}])
    with pytest.raises(UserError, match="Line 2 of"):
        read_benchmark("mbpp", path)


@pytest.mark.parametrize("content", [b"# Polyturn\n", b"\n\n# Polyturn", b"\x00\x01\x02", b"[1, 2]"])
def test_what_is_no_jsonl_at_all_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"README\.md is not a file of JSON lines; give mtpb's own"):
        read_benchmark("mtpb", path)


def test_packed_files_and_marks_of_byte_order_are_jsonl(tmp_path: Path) -> None:
    text = json.dumps(PROBLEMS[0]).encode()
    for name, content in (("a.jsonl.gz", gzip.compress(text)), ("b.jsonl", b"\xef\xbb\xbf" + text)):
        (tmp_path / name).write_bytes(content)
        assert read_benchmark("mtpb", tmp_path / name).cases == {"1": 2}
