"""The scratch folder of a worker, and the removal of those whose workers were killed.

    folder, lock = make()
    sweep(os.path.dirname(folder))

A folder is in use while a process holds its lock (flock(2)), which the worker's keeper inherits.
"""

import fcntl
import os
import tempfile
import time

from .confine import remove_tree

_PREFIX = "polyturn-sandbox-"
_YOUNG_S = 60.0  # a folder of that age may be one whose maker has yet to lock it


def make() -> tuple[str, int]:
    """A new folder, and a descriptor that holds its lock."""
    folder = tempfile.mkdtemp(prefix=_PREFIX)
    try:
        return folder, _locked(folder)
    except BaseException:
        os.rmdir(folder)
        raise


def _locked(folder: str) -> int:
    """A descriptor that holds the folder's lock, as do its copies in other processes: it is in use while one has it."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(fd)
        raise
    return fd


def sweep(place: str) -> None:
    """Remove the folders of workers that were killed together with their supervisors.

    Only this user's, by our name, whose lock nobody has any more, and which are no longer being made.
    """
    try:
        with os.scandir(place) as entries:
            ours = [entry for entry in entries if entry.name.startswith(_PREFIX)]
    except PermissionError:  # a folder to make folders in, and not to look at
        return
    for entry in ours:
        try:
            seen = entry.stat(follow_symlinks=False)
            if seen.st_uid != os.geteuid() or time.time() - seen.st_mtime < _YOUNG_S:
                continue
            fd = _locked(entry.path)
        except OSError:  # it is in use, no folder, or gone
            continue
        try:
            remove_tree(entry.path)
        finally:
            os.close(fd)
