"""Write files and folders whole or not at all.

Everything is written under a temporary name beside its destination, flushed to disk and then put in its place by one
rename, so that a reader never sees half a file, and a full disk or a kill at any moment leaves the previous version in
place. The rename is flushed too: what the caller removes next is not missed after a power cut. The one exception: a
folder that replaces another needs two renames where the system cannot exchange names (other systems than Linux, some
network file systems). A kill between the two leaves the previous version beside its place, as `.NAME.*.old`. A kill may
also leave a temporary `.NAME.*.part`, which `remove_leftovers` removes.
"""

import ctypes
import errno
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polyturn.utils.errors import UserError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on any error it is removed.

    The body may create a file or a folder there. An existing folder is replaced, not merged. A file never replaces a
    folder, nor a folder a file. A symbolic link stays, and what it points to is replaced.

    Raises:
        UserError: the disk is full, the place cannot be written, or a file is there for a folder or the reverse.
    """
    place = Path(os.path.realpath(path))
    temporary = _beside(place, "part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _check_kind(temporary, place)
        if temporary.is_dir():
            _swap_folder(temporary, place)
        else:
            sync(temporary)
            os.replace(temporary, place)
        _sync_folder(place.parent)
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


def check_replaceable(path: Path, names: set[str]) -> None:
    """Raise UserError where a folder that takes the place of `path` would lose anything but files of these names."""
    try:
        there = sorted(file.name for file in path.iterdir()) if path.exists() else []
    except OSError as error:
        raise UserError(f"Cannot write a folder to {path} ({error.strerror}); choose another place.") from error
    others = [name for name in there if name not in names]
    if others:
        raise UserError(f"{path} holds files that would be lost, {others[0]} for one; choose a new folder.")


def remove_leftovers(folder: Path, *names: str) -> None:
    """Remove what kills have left in `folder` beside these names, or beside any name. Nobody may be writing them."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        left = _LEFTOVER.fullmatch(path.name)
        if left and (not names or left[1] in names):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have what was written to a file, or the names in a folder, on the disk before anything that comes after."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all. Raises UserError where the place cannot be written."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write `content` as UTF-8 to `path`, whole or not at all. Raises UserError like `write_bytes`."""
    write_bytes(path, content.encode())


_LEFTOVER = re.compile(r"\.(.+)\.[0-9a-f]{8}\.(?:part|old)")  # what `_beside` makes


def _beside(place: Path, kind: str) -> Path:
    """A new hidden name in the folder of `place`."""
    if not place.name:
        raise UserError(f"{place} cannot be replaced; choose another place.")
    return place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.{kind}")


def _check_kind(new: Path, place: Path) -> None:
    kind = "folder" if new.is_dir() else "file"
    if place.exists() and not (place.is_dir() if kind == "folder" else place.is_file()):
        raise UserError(f"{place} is not a {kind}, and a {kind} is to be written there; choose another place.")


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where its file system knows how."""
    try:
        sync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _swap_folder(new: Path, place: Path) -> None:
    """Put folder `new` at `place`. A folder already there is removed, or left at `new` for the caller to remove."""
    for file in new.rglob("*"):
        if file.is_file():
            sync(file)
    if not place.exists():
        os.rename(new, place)
        return
    if _exchange(new, place):
        return
    old = _beside(place, "old")
    os.rename(place, old)
    try:
        os.rename(new, place)
    except BaseException:
        os.rename(old, place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; False where the system cannot. See renameat2(2)."""
    if sys.platform != "linux":
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE: the same numbers on every Linux
    if renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number))
