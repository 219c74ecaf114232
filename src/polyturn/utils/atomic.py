"""Write files and folders whole or not at all.

Everything is written under a temporary name beside its destination, flushed to disk and renamed, so that a
reader never sees half a file, and a full disk or a kill at any moment leaves the previous version in place.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polyturn.utils.errors import UserError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on any error it is removed.

    The body may create a file or a folder there. An existing folder is replaced, not merged.

    Raises:
        UserError: the disk is full or the place cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary.is_dir():
            _swap_folder(temporary, path)
        else:
            _sync(temporary)
            os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"Cannot write {path}: {error.strerror or error}; free some space or choose another place."
        ) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with suppress(OSError):  # there is nothing to remove, or nowhere to remove it from
                temporary.unlink()


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all. Raises UserError where the place cannot be written."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write `content` as UTF-8 to `path`, whole or not at all. Raises UserError like `write_bytes`."""
    write_bytes(path, content.encode())


def _sync(path: Path) -> None:
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())


def _swap_folder(new: Path, path: Path) -> None:
    """Rename folder `new` to `path`; a folder already there is moved aside first, then removed."""
    for file in new.rglob("*"):
        if file.is_file():
            _sync(file)
    if not path.exists():
        os.rename(new, path)
        return
    old = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.old")
    os.rename(path, old)
    try:
        os.rename(new, path)
    except OSError:
        os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)
