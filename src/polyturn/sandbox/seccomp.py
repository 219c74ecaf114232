"""The filter of system calls that a child puts itself behind, last of all, before it runs a program.

It is an allow-list: what CPython with threads, asyncio and the primitives of multiprocessing, numpy, pandas and
scikit-learn need. All else has one of these ends:

- EPERM: an honest program may try it (a socket, a subprocess), and is told no;
- ENOSYS: the calls of Linux 5.1 and later, named here or not, for which every library has an older call to fall
  back on. Among them is clone3, whose flags lie in memory, where no filter can see them;
- death by SIGSYS, the verdict `forbidden`: what only an attack does, and calls made in the manner of another
  processor, under whose numbers other calls hide;
- without namespaces, success that changes nothing, for modes and times of files (`_ATTRIBUTES` says why).

`build` takes a millisecond and is done once, before the children are forked. The program is classic BPF (the
kernel's seccomp_filter.rst): a search tree over ranges of call numbers, which decides a call in about a dozen
instructions. Linux 5.11 and later tries all calls when the filter is installed, and those that are allowed
whatever their arguments cost nothing afterwards. That trial and the compilation are most of what `install`
costs, so a short program matters.
"""

from __future__ import annotations

import errno
import struct

from . import kernel

_ALLOWED = (
    # Data in and out, and descriptors.
    "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek sendfile copy_file_range "
    "open openat creat close close_range dup dup2 dup3 pipe pipe2 fadvise64 readahead "
    "flock fsync fdatasync ftruncate fallocate "
    # Files by name: which of them, Landlock and the file system decide. Attributes are read by shutil.copy2.
    "stat fstat lstat newfstatat statx access faccessat faccessat2 statfs fstatfs readlink readlinkat "
    "getdents getdents64 getcwd chdir fchdir umask getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr "
    "mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat "
    # Memory and threads.
    "mmap munmap mremap mprotect madvise msync mincore brk "
    "futex set_robust_list rseq membarrier set_tid_address arch_prctl sched_yield getcpu "
    # Signals to handle, and time.
    "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack "
    "pause restart_syscall alarm getitimer setitimer nanosleep clock_nanosleep "
    "time gettimeofday clock_gettime clock_getres times timerfd_create timerfd_settime timerfd_gettime "
    # Waiting for descriptors, as asyncio does, and its pair of sockets.
    "poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 "
    "eventfd eventfd2 signalfd signalfd4 "
    "sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg shutdown getsockname getpeername "
    # What a process may know of itself, and its end.
    "getpid gettid getppid getpgid getpgrp getsid getuid geteuid getgid getegid getresuid getresgid getgroups capget "
    "getrlimit setrlimit getrusage getpriority uname sysinfo getrandom "
    "sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min "
    "sched_rr_get_interval wait4 waitid exit exit_group"
)
# In namespaces of the program's own, allowed too; else EPERM. truncate: Landlock does not see it before Linux 6.2.
_OWN = "fork vfork setpgid setsid pidfd_open pidfd_send_signal truncate"
# There allowed; else nothing happens, and the program is told that it did. No version of Landlock keeps a program from
# changing modes and times of files that its user owns; and shutil, which sets them on each copy, must not fail.
_ATTRIBUTES = "chmod fchmod fchmodat fchmodat2 utime utimes futimesat utimensat"
# Signals by number: there to any process, for a program sees only its own; else to its own process alone.
_SIGNALS = "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo"
_KILLED = (
    # Into other processes.
    "ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd "
    # Out of the file system and the namespaces.
    "mount umount2 pivot_root mount_setattr move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick "
    "setns unshare open_by_handle_at fanotify_init quotactl quotactl_fd acct swapon swapoff "
    # Into the kernel.
    "create_module init_module finit_module delete_module get_kernel_syms query_module kexec_load kexec_file_load "
    "bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register iopl ioperm modify_ldt "
    # Keys, and what belongs to the whole machine.
    "add_key request_key keyctl reboot vhangup syslog settimeofday clock_settime sethostname setdomainname"
)

# Arguments. The kernel takes all of these as 32 bits, so the low word is all there is to compare.
_CLONE_THREAD = 0x10000
_CLONE_ESCAPES = 0x7E028000  # every CLONE_NEW*, and CLONE_PARENT, which makes a child of the zygote
_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE_MASK = 1, 1, 0xF
_SO_PEERPIDFD = 77  # of a channel between tests and program: the supervisor, which made it
_S_IFIFO, _S_IFMT = 0o010000, 0o170000
_O_ACCMODE, _O_TRUNC = 0o3, 0o1000
# Questions about a descriptor, non-blocking and close-on-exec: TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX.
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
_FICLONE = 0x40049409  # pathlib's copy (Python 3.14) falls back on EOPNOTSUPP alone
# F_DUPFD to F_SETLKW, F_GETOWN, F_OFD_GETLK to F_OFD_SETLKW, F_DUPFD_CLOEXEC, F_GETPIPE_SZ, F_GET_SEALS. Not
# F_SETOWN and F_SETSIG, which send any signal to any process of the user, nor leases, nor seals.
_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 9, 36, 37, 38, 1030, 1032, 1034)
# PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_GET_SECCOMP, PR_GET_NO_NEW_PRIVS, PR_GET_THP_DISABLE, PR_SVE_GET_VL
# and PR_SME_GET_VL (the widths of vectors, which BLAS asks for), PR_SET_VMA (names of memory).
_PRCTLS = (3, 15, 16, 21, 39, 42, 51, 64, 0x53564D41)

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SINCE_5_1 = 424  # the first call of Linux 5.1
_X32_BIT = 0x40000000  # x32's calls have the same processor as x86_64's, and numbers from here on
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _AND, _JEQ, _JGE, _JSET, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06

_NO_PROCESS = 0x7FFFFFFF
_PID = slice(-20, -16)  # the constant of the third instruction from the end


def build(namespaces: bool, machine: str = kernel.MACHINE) -> bytes:
    """The filter for `machine`, uname's name of the processor.

    `namespaces`: the program has process and mount namespaces of its own. It may fork, signal any process it sees,
    and change the attributes of any file. Without, it is held to one process, and to signals to itself: `for_process`
    tells which that is, and until then they reach nobody. It changes files through descriptors open for writing alone.

    Raises OSError (ENOSYS) if the processor is neither x86_64 nor aarch64.
    """
    if machine not in _AUDIT_ARCH:
        raise OSError(errno.ENOSYS, f"no filter of system calls for the processor {machine!r}")
    # The program is made backwards: its jumps only go forwards, so what an instruction jumps to is there before
    # it. A place in it is the distance from its end. What does not jump goes on at the instruction made before.
    code: list[bytes] = []

    def put(operation: int, constant: int, yes: int = 0, no: int = 0) -> int:
        here = len(code)
        jumps = (here - 1 - yes, here - 1 - no) if operation in (_JEQ, _JGE, _JSET) else (0, 0)
        code.append(struct.pack("=HBBI", operation, *jumps, constant))
        return here

    def argument(index: int) -> int:
        return put(_LOAD, _ARGUMENTS + 8 * index)

    def switch(places: dict[int, int], otherwise: int) -> None:
        """Go on at places[value], where `value` is what was loaded."""
        # Ranges: the first value, where to go on, and single values in between that go on elsewhere.
        ranges: list[tuple[int, int, dict[int, int]]] = [(0, places.get(0, otherwise), {})]
        for value in sorted({*places, *(value + 1 for value in places)}):
            place = places.get(value, otherwise)
            if len(ranges) > 1 and (ranges[-1][0], ranges[-2][1]) == (value - 1, place):
                single = ranges.pop()
                ranges[-1][2][single[0]] = single[1]
            elif place != ranges[-1][1]:
                ranges.append((value, place, {}))
        search(ranges)

    def search(ranges: list[tuple[int, int, dict[int, int]]]) -> int:
        if len(ranges) > 1:
            middle = len(ranges) // 2
            above, below = search(ranges[middle:]), search(ranges[:middle])
            return put(_JGE, ranges[middle][0], above, below)
        _, place, singles = ranges[0]
        for value, elsewhere in singles.items():
            place = put(_JEQ, value, elsewhere, place)
        return place

    allow, refuse = put(_RETURN, _ALLOW), put(_RETURN, _ERRNO | errno.EPERM)
    to_itself = allow
    if not namespaces:
        put(_JEQ, _NO_PROCESS, allow, refuse)  # at _PID
        to_itself = argument(0)
    kill, absent = put(_RETURN, _KILL_PROCESS), put(_RETURN, _ERRNO | errno.ENOSYS)
    pretended = put(_RETURN, _ERRNO)
    not_a_terminal, unsupported = put(_RETURN, _ERRNO | errno.ENOTTY), put(_RETURN, _ERRNO | errno.EOPNOTSUPP)

    checked: dict[str, int] = {}
    no_escape = allow if namespaces else put(_JSET, _CLONE_THREAD, allow, refuse)
    put(_JSET, _CLONE_ESCAPES, kill, no_escape)
    checked["clone"] = argument(0)
    put(_JEQ, _SOCK_STREAM, allow, refuse)  # one of a pair of datagram sockets can send to any address
    put(_AND, _SOCK_TYPE_MASK)
    put(_JEQ, _AF_UNIX, argument(1), refuse)
    checked["socketpair"] = argument(0)
    put(_JEQ, _SO_PEERPIDFD, refuse, allow)
    checked["getsockopt"] = argument(2)
    for name, mode in (("mknod", 1), ("mknodat", 2)):
        put(_JEQ, _S_IFIFO, allow, refuse)
        put(_AND, _S_IFMT)
        checked[name] = argument(mode)
    for name, flags in (("open", 1), ("openat", 2)) if not namespaces else ():
        put(_JEQ, _O_TRUNC, refuse, allow)  # to read, and yet make it empty: again what Landlock does not see at first
        put(_AND, _O_ACCMODE | _O_TRUNC)
        checked[name] = argument(flags)
    switch(dict.fromkeys(_IOCTLS, allow) | {_FICLONE: unsupported}, not_a_terminal)
    checked["ioctl"] = argument(1)
    switch(dict.fromkeys(_FCNTLS, allow), refuse)
    checked["fcntl"] = argument(1)
    switch(dict.fromkeys(_PRCTLS, allow), refuse)
    checked["prctl"] = argument(0)
    put(_JEQ, 0, allow, refuse)  # this process, and no other by its number
    checked["prlimit64"] = checked["sched_setaffinity"] = argument(0)

    places = dict.fromkeys(_ALLOWED.split(), allow) | dict.fromkeys(_KILLED.split(), kill) | checked
    places |= dict.fromkeys(_OWN.split(), allow if namespaces else refuse)
    places |= dict.fromkeys(_ATTRIBUTES.split(), allow if namespaces else pretended)
    places |= dict.fromkeys(_SIGNALS.split(), to_itself)
    numbers = kernel.syscall_numbers(machine)
    switch({n: places.get(name, refuse if n < _SINCE_5_1 else absent) for name, n in numbers.items()}, absent)
    if machine == "x86_64":
        put(_JGE, _X32_BIT, kill, len(code) - 1)
    put(_JEQ, _AUDIT_ARCH[machine], put(_LOAD, _NUMBER), kill)
    put(_LOAD, _ARCH)
    return b"".join(reversed(code))


def for_process(program: bytes, pid: int) -> bytes:
    """What `build(namespaces=False)` gave, for the process of this number: it may signal itself."""
    if program[_PID] != _NO_PROCESS.to_bytes(4, "little"):
        raise ValueError("this filter lets signals go to any process, or has been told its process already")
    return program[: _PID.start] + pid.to_bytes(4, "little") + program[_PID.stop :]


def install(program: bytes) -> None:
    """Put this thread, and all that it starts, behind the filter, for good.

    Raises OSError: EACCES unless PR_SET_NO_NEW_PRIVS was set before, ENOSYS where there is no seccomp.
    """
    kernel.seccomp_filter(program)
