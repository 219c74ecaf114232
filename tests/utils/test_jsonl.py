"""Journals survive kills and full disks, and are one process's at a time."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from polyturn.utils.errors import UserError
from polyturn.utils.jsonl import Journal, read_jsonl


def test_a_journal_keeps_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.jsonl"
    record = {"text": "two\u2028lines, half a \ud800 character"}
    with Journal(path) as journal:
        journal.append(record)
        journal.append({"id": 2})
    with Journal(path) as journal:
        assert journal.records == [record, {"id": 2}]


@pytest.mark.parametrize("piece", [b'{"id": 2', b"{", b"\xff" * 70_000])
def test_a_piece_of_a_line_is_taken_off(tmp_path: Path, piece: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"id": 1}\n' + piece)
    with Journal(path) as journal:
        assert journal.records == [{"id": 1}]
        journal.append({"id": 2})
    assert path.read_bytes() == b'{"id": 1}\n{"id": 2}\n'


def test_two_processes_do_not_write_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    code = f"from polyturn.utils.jsonl import Journal; Journal({str(path)!r})"
    with Journal(path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Another run writes" in done.stderr


FULL = """
import resource, signal, sys
from polyturn.utils.errors import UserError
from polyturn.utils.jsonl import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (25, 25))  # the second line fits in part, the third not at all
with Journal(sys.argv[1]) as journal:
    journal.append({"id": 1})
    for text in ("x" * 40, "y"):
        try:
            journal.append({"text": text})
        except UserError as error:
            print(error)
"""


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True)
    assert "make room and run again" in done.stdout, done.stderr
    assert [record for _, record in read_jsonl(path)] == [{"id": 1}, {"text": "y"}]


@pytest.mark.parametrize(
    ("line", "says"), [(b"[1]", "not a JSON object"), (b"{", "not JSON"), (b'"\xff"', "UTF-8"), (b"[" * 99_999, "JSON")]
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, says: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"id": 1}\n\n' + line + b"\n")
    with pytest.raises(UserError, match=f"Line 3 of .*{says}"):
        list(read_jsonl(path))


def test_the_column_of_what_is_wrong_is_told(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    for line, says in (('{"a": "\t"}', "Invalid control character at column 8"), ("{", "in double quotes at column 2")):
        path.write_text(line)
        with pytest.raises(UserError, match=says):
            list(read_jsonl(path))


def test_gzip_is_unpacked_and_a_cut_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl.gz"
    packed = gzip.compress(b"".join(json.dumps({"id": n}).encode() + b"\n" for n in range(1000)))
    path.write_bytes(packed)
    assert len(list(read_jsonl(path))) == 1000
    path.write_bytes(packed[:-20])
    with pytest.raises(UserError, match="Cannot read"):
        list(read_jsonl(path))
