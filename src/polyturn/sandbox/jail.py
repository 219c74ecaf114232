"""The folder tree that programs see, and the namespaces around it. Runs in the zygote, before any program.

A worker's zygote lives in namespaces of its own: user, mount, ipc, uts, net and pid. Its root is a small read-only
tmpfs with read-only binds of the interpreter's library, the system's shared libraries and the packages that programs
may import, and nothing else: no /proc, /sys, /home, /root, no other package of the caller's (a benchmark's data may be
installed beside numpy). What could be executed in the library folders, Landlock and seccomp keep from it.

    /usr/lib ...     as on the host, read-only, without site-packages and dist-packages up to two levels deep
    /packages        the packages programs may import
    /dev             null, zero, full, random, urandom, whose modes and times are fixed; shm, where semaphores are
                     files: /tmp
    /etc             passwd with one user, ld.so.cache
    /tmp             a tmpfs, a fresh one for each program (`fresh_tmp`), another for one that tests call
"""

from __future__ import annotations

import glob
import os

from . import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    Mark = tuple[int, ...]

TMP_BYTES = 64 << 20
TMP_FILES = 4096
USER = 65534  # the user that programs see themselves as
PACKAGES = "/packages"

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_PASSWD = f"nobody:x:{USER}:{USER}:nobody:/tmp:/nonexistent\n"


def namespaces() -> int:
    """The flags of unshare(2) for all that a worker has of its own. The pid namespace is its next child's."""
    return os.CLONE_NEWUSER | os.CLONE_NEWNS | os.CLONE_NEWPID | os.CLONE_NEWIPC | os.CLONE_NEWUTS | os.CLONE_NEWNET


def library_folders() -> list[str]:
    """Host folders and files that the interpreter reads: its library, shared libraries, time zones.

    None of them lies inside another of the list.
    """
    wanted = [
        os.path.dirname(os.path.dirname(os.path.abspath(os.__file__))),
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/usr/share/zoneinfo",
        "/etc/ld.so.cache",
        "/nix/store",  # where a Nix interpreter keeps its libraries
        *_linker_folders(),
    ]
    found: list[str] = []
    for path in sorted(path for path in wanted if path.startswith("/") and os.path.lexists(path)):
        if not any(path == other or path.startswith(other + "/") for other in found):
            found.append(path)
    return found


def _linker_folders() -> list[str]:
    """Folders of LD_LIBRARY_PATH that the interpreter's own libraries are in: others may hold anything of the caller's.

    Never a folder directly below the root, such as /home, whatever is in it.
    """
    with open("/proc/self/maps") as file:
        mapped = {os.path.dirname(line.split(maxsplit=5)[5].rstrip("\n")) for line in file if "/" in line}
    return [
        folder
        for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":")
        if os.path.realpath(folder) in mapped and os.path.realpath(folder).count("/") > 1
    ]


def build(root: str, packages: dict[str, str]) -> None:
    """Make `root` (an empty folder) this process's root folder, as the module describes. Raises OSError.

    packages: name below /packages -> path on the host.
    """
    kernel.syscall("sethostname", b"sandbox", 7)  # a namespace begins with the host's name
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", root, "tmpfs", kernel.MS_NOSUID, "size=1m,mode=0755")
    for path in library_folders():
        _bind(path, root + path)
        for hidden in [] if os.path.islink(path) else _packages_inside(path):
            kernel.mount("tmpfs", root + hidden, "tmpfs", kernel.MS_RDONLY, "size=4k,mode=0755")
    os.mkdir(root + PACKAGES)
    for name, path in packages.items():
        _bind(path, f"{root}{PACKAGES}/{name}")
    for device in DEVICES:
        _bind(device, root + device, device=True)
    os.symlink("/tmp", root + "/dev/shm")
    os.makedirs(root + "/etc", exist_ok=True)
    with open(root + "/etc/passwd", "w") as file:
        file.write(_PASSWD)
    os.mkdir(root + "/tmp", 0o755)
    os.chdir(root)
    kernel.pivot_root(".", ".")  # the old root then lies on top of the new one: pivot_root(2)
    kernel.umount2(".", kernel.MNT_DETACH)
    os.chdir("/")
    kernel.mount("none", "/", None, kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID)


def fresh_tmp(used: Mark | None) -> Mark:
    """See to it that /tmp is an empty file system that no program has touched. Returns its mark. Raises OSError.

    used: the mark of the last one, None for the first. Every change to a folder moves its time of change, which nobody
    can set, though on older kernels in steps of a few milliseconds; and what is left in it takes blocks and inodes.
    Where none of that has moved, the file system is as good as new, and a mount less is a fifth of a millisecond.
    """
    if used is not None:
        if _mark_of_tmp() == used:
            return used
        kernel.umount2("/tmp", kernel.MNT_DETACH)
    mount_tmp()
    return _mark_of_tmp()


def mount_tmp() -> None:
    """Put a new file system at /tmp, over what is there. Raises OSError."""
    options = f"size={TMP_BYTES},nr_inodes={TMP_FILES},mode=0777"
    kernel.mount("tmpfs", "/tmp", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC, options)


def _mark_of_tmp() -> Mark:
    folder, room = os.stat("/tmp"), os.statvfs("/tmp")
    return folder.st_ino, folder.st_mode, folder.st_ctime_ns, room.f_bfree, room.f_ffree


def _bind(source: str, target: str, device: bool = False) -> None:
    """Show a host file or folder at `target`, read-only; a symbolic link is copied (/lib is one on most systems).

    device: it is to work as one. It can be written to through such a mount; what is read-only is its inode.
    """
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    kernel.mount(source, target, None, kernel.MS_BIND | kernel.MS_REC)
    no_devices = 0 if device else kernel.MOUNT_ATTR_NODEV
    kernel.mount_setattr(target, kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID | no_devices)


def _packages_inside(folder: str) -> list[str]:
    """Folders of installed packages inside a library folder, which are not for programs to read."""
    found: list[str] = []
    for kind in ("site-packages", "dist-packages"):
        for pattern in (f"python3*/{kind}", f"*/python3*/{kind}"):
            found += [path for path in glob.glob(f"{folder}/{pattern}") if os.path.isdir(path)]
    return found
