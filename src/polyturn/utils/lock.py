"""One process at a time in a folder.

    with hold(folder, f"Another command works in {folder}; wait until it ends."):
        ...

The lock is flock(2) on a hidden file in the folder, so that it goes with the process, however that ends.
The file stays.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polyturn.utils.errors import UserError

LOCK = ".polyturn-lock"


@contextmanager
def hold(folder: Path, busy: str) -> Iterator[None]:
    """Hold a folder for this process alone; it is made if it is not there.

    Args:
        folder: what to hold.
        busy: the sentence for a user whose folder another process holds, with the remedy.

    Raises:
        UserError: another process holds the folder, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(f"Cannot write in {folder}: {error.strerror}; choose another folder.") from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(busy) from None
        except OSError as error:  # such as ENOLCK of a network file system
            raise UserError(f"Cannot lock {folder}: {error.strerror}; choose a folder on a local disk.") from None
        yield
    finally:
        os.close(file)
