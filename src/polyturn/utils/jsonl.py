"""Files of one JSON object a line: read with the number of a bad line, and written so that a kill loses nothing.

    with Journal(path) as journal:
        for record in journal.records: ...      # what earlier runs wrote
        journal.append({"id": 1})

A journal is only ever appended to, a whole line in one write, and locked (flock(2)) while it is open. What a kill or a
full disk left of a last line is taken off; everything before it stays.
"""

import fcntl
import gzip
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from polyturn.utils.errors import UserError, reason


def read_jsonl(path: str | Path, remedy: str | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each object of a JSONL file with the number of its line, from 1; empty lines are skipped. `.gz` is unpacked.

    Args:
        path: the file.
        remedy: what to do about a damaged line; by default to mend or remove it.

    Raises:
        UserError: the file cannot be read, or a line is not a JSON object.
    """
    try:
        with gzip.open(path, "rb") if str(path).endswith(".gz") else open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _object(line, f"Line {number} of {path}", remedy)
    except (OSError, EOFError, zlib.error) as error:  # the last two: a gzip file that was cut off, or damaged
        raise UserError(f"Cannot read {path}: {reason(error)}; check the path and fetch the file again.") from None


def _object(line: bytes, where: str, remedy: str | None) -> dict[str, Any]:
    mend = remedy or "mend or remove the line"
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UserError(f"{where} is not in UTF-8; {remedy or 'save the file as UTF-8'}.") from None
    except json.JSONDecodeError as error:
        what = f"{error.msg.removesuffix(' at')} at column {error.colno}"
        raise UserError(f"{where} is not JSON ({what}); {mend}.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON ({error}); {mend}.") from None
    if not isinstance(record, dict):
        raise UserError(f"{where} is not a JSON object; {mend}.")
    return record


class Journal:
    """A JSONL file to append to. `records`: what it held when it was opened."""

    def __init__(self, path: str | Path, remedy: str | None = None) -> None:
        """Open or create it, for this process alone.

        Args:
            path: the file.
            remedy: what to do about a damaged line, see `read_jsonl`.

        Raises:
            UserError: another process holds it, it cannot be written, or a line before the last is damaged.
        """
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UserError(f"Cannot write {self.path}: {error.strerror}; choose another place.") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._take_off_piece()
            self.records = [record for _, record in read_jsonl(self.path, remedy)]
        except BlockingIOError:
            os.close(self._file)
            raise UserError(f"Another run writes {self.path}; wait until it ends, or choose another folder.") from None
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def append(self, record: Mapping[str, object]) -> None:
        """Write one record. UserError if it does not fit on the disk; the file is then as before."""
        line = json.dumps(record).encode() + b"\n"
        before = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            why = "the disk is full"
        except OSError as error:
            written, why = 0, reason(error)
        if written != len(line):
            os.ftruncate(self._file, before)
            raise UserError(f"Cannot write {self.path}: {why}; make room and run again, what is there is kept.")

    def _take_off_piece(self) -> None:
        """Remove a last line without an end."""
        size = end = os.fstat(self._file).st_size
        while end:
            start = max(end - (1 << 16), 0)
            found = os.pread(self._file, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._file, end)
