"""What a child may do to files, whatever its user may: Landlock, which needs no privilege.

Some paths are for reading, some for writing, and nothing else can be opened; nothing can be executed, and no
device be made or controlled. Nor, as far as the kernel's version of Landlock goes, does anything get out: no
network, no socket of another process, no signal to one.

    fd = ruleset(read=["/usr"], write=["/tmp"])
    restrict(fd)

What Landlock leaves alone (its documentation lists it): descriptors that are open already, and looking at or
changing the attributes of files one may not open: stat, chmod, utime.
"""

from __future__ import annotations

import os
import stat
import struct

from . import kernel

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK, _TRUNCATE, _IOCTL_DEV, _RESOLVE_UNIX = 1 << 6, 1 << 11, 1 << 14, 1 << 15, 1 << 16
_READ = _READ_FILE | _READ_DIR
_NOBODYS = _EXECUTE | _MAKE_CHAR | _MAKE_BLOCK | _IOCTL_DEV | _RESOLVE_UNIX
_OF_ONE_FILE = _WRITE_FILE | _READ_FILE | _TRUNCATE  # a rule for what is no folder may hold no others

# How many rights, the lowest bits, each version knows. A version not named knows those of the one before.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16, 9: 17}
_NETWORK_RIGHTS = {4: 2, 10: 4}  # bind and connect: TCP, then UDP
_SCOPES = {6: 2}  # abstract Unix sockets and signals
_QUIET_SINCE = 7
_LOG_SAME_EXEC_OFF, _LOG_SUBDOMAINS_OFF = 1, 4


def supported() -> int:
    """The kernel's version of Landlock (its "ABI"), 0 if it has none or does not let us use it."""
    try:
        return kernel.landlock_version()
    except OSError:
        return 0


def ruleset(read: list[str], write: list[str]) -> int:
    """Make a ruleset, which many processes may restrict themselves to. Returns its file descriptor.

    `read`: files, and folders with all beneath them, to read and list. `write`: to change in any way too, but
    for what nobody may. Raises OSError: a path that does not exist, ENOSYS or EOPNOTSUPP without Landlock.
    """
    version = kernel.landlock_version()
    handled = _known(_FILE_RIGHTS, version)
    rights = handled, _known(_NETWORK_RIGHTS, version), _known(_SCOPES, version)
    rules = kernel.landlock_create_ruleset(struct.pack("3Q", *rights))
    try:
        for paths, access in ((read, _READ), (write, handled & ~_NOBODYS)):
            for path in paths:
                _allow(rules, path, access)
    except BaseException:
        os.close(rules)
        raise
    return rules


def restrict(rules: int) -> None:
    """Hold this thread, and all that it starts, to a ruleset, for good. The descriptor may be closed then.

    Refusals are not logged: a program could fill the system's log with them. Raises OSError (EPERM) unless
    PR_SET_NO_NEW_PRIVS was set before.
    """
    quiet = _LOG_SAME_EXEC_OFF | _LOG_SUBDOMAINS_OFF if kernel.landlock_version() >= _QUIET_SINCE else 0
    kernel.landlock_restrict_self(rules, quiet)


def _known(counts: dict[int, int], version: int) -> int:
    """The mask of all rights that this version knows."""
    return (1 << max((count for since, count in counts.items() if since <= version), default=0)) - 1


def _allow(rules: int, path: str, access: int) -> None:
    file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(file).st_mode):
            access &= _OF_ONE_FILE
        kernel.landlock_allow_beneath(rules, access, file)
    finally:
        os.close(file)
