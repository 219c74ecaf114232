"""How a command ends: what went wrong becomes an exit code and one sentence, never a traceback.

Every entry point runs through here: the verbs of `polyturn`, and modules run with `python -m`.
"""

import os
import select
import sys
from collections.abc import Callable

from polyturn.utils.errors import UserError

EXTRAS = {
    "orbax": "train",
    "daft": "data",
    "pyarrow": "data",
    "zstandard": "data",
    "datasets": "data",
    "ray": "cluster",
}
"""Packages that only an optional extra of the distribution installs."""


def exit_code(command: str, run: Callable[[], int | None], *mistakes: type[Exception]) -> int:
    """Run a command and tell how it ended.

    Args:
        command: what the user typed, such as `polyturn exec`; stands before the sentence.
        run: the command. None counts as 0.
        mistakes: exceptions to be told in one sentence like UserError, such as the sandbox's SandboxError.

    Returns:
        What `run` returned; 2 for a mistake of the user or a missing extra; 130 for Ctrl-C; 0 if the reader of
        our output has gone, as `| head` does.
    """
    try:
        try:
            return _told(command, run, mistakes)
        finally:  # now, and not when Python ends, where a closed pipe is beyond our reach
            sys.stdout.flush()
            sys.stderr.flush()
    except BrokenPipeError:
        if not _drop_closed_outputs():
            raise
        return 0


def _told(command: str, run: Callable[[], int | None], mistakes: tuple[type[Exception], ...]) -> int:
    try:
        return run() or 0
    except (UserError, *mistakes) as error:
        print(f"{command}: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        print(
            f"{command}: {error.name} is missing; this needs the {extra} extra: pip install 'polyturn[{extra}]', "
            "in a checkout tools/setup.sh test.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _drop_closed_outputs() -> bool:
    """Point stdout and stderr elsewhere if nobody reads them any more. Whether that was so for one of them."""
    closed = False
    for stream in (sys.stdout, sys.stderr):
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            closed = True
    return closed
