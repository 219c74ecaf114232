"""The Linux calls that Python has no name for: mounts, capabilities, prctl, seccomp, Landlock.

They go through libc's `syscall`, because older C libraries lack wrappers for half of them. All raise OSError,
with the name of the call in its text; on a system or processor that has no such call, with ENOSYS. Importing
this file calls nothing, so it loads anywhere that ctypes does.

A path is taken as open() takes one. Capabilities, seccomp and Landlock change the calling thread and what it
starts later: call them while the process has one thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE = 1 << 12, 1 << 14, 1 << 18, 1 << 19
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP = 1, 4, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS = 36, 38, 39

_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_CAPABILITY_HEADER = struct.pack("Ii", 0x20080522, 0)  # version 3, the calling thread
_SECCOMP_SET_MODE_FILTER = 1
_LANDLOCK_CREATE_RULESET_VERSION, _LANDLOCK_RULE_PATH_BENEATH = 1, 1


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """Attach a file system of type `kind`; `data` holds its options, such as "size=1m"."""
    syscall("mount", _path(source), _path(target), _path(kind), flags, _path(data))


def umount2(target: str, flags: int = 0) -> None:
    """Detach a file system, or with MNT_DETACH, as soon as nobody uses it."""
    syscall("umount2", _path(target), flags)


def pivot_root(new_root: str, put_old: str) -> None:
    """Change the root. Both may be ".", a new root laid over the old one: then follows umount2(".", MNT_DETACH)."""
    syscall("pivot_root", _path(new_root), _path(put_old))


def mount_setattr(path: str, attributes: int = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV) -> None:
    """Set attributes on the mount at `path` and on all mounts below it, or on none (Linux 5.12).

    A bind mount takes MS_RDONLY for its topmost mount only; this is the way to have all of them read-only.
    """
    change = struct.pack("4Q", attributes, 0, 0, 0)
    syscall("mount_setattr", _AT_FDCWD, _path(path), _AT_RECURSIVE, change, len(change))


def prctl(option: int, argument: int = 0) -> int:
    """Ask or set something of this process; arguments not given are zero, as newer options demand."""
    return syscall("prctl", option, argument)


def drop_capabilities() -> None:
    """Empty the permitted, effective and inheritable sets, and with them the ambient one."""
    syscall("capset", _CAPABILITY_HEADER, bytes(24))


def drop_bounding_set() -> None:
    """Empty the bounding set, so that no exec gives a capability back. Needs CAP_SETPCAP."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == errno.EINVAL and capability > 0:  # past the last one this kernel knows
                return
            raise


def capabilities() -> tuple[int, int, int]:
    """The effective, permitted and inheritable capabilities of this thread, as masks of 64 bits."""
    sets = ctypes.create_string_buffer(24)
    syscall("capget", _CAPABILITY_HEADER, sets)
    low_high = struct.unpack("6I", sets.raw)
    effective, permitted, inheritable = (low_high[i] | low_high[i + 3] << 32 for i in range(3))
    return effective, permitted, inheritable


def seccomp_filter(program: bytes) -> None:
    """Put every system call of this thread before a classic BPF program, for good.

    EACCES: neither PR_SET_NO_NEW_PRIVS is set nor has the thread CAP_SYS_ADMIN. EINVAL: not a valid program.
    """
    # struct sock_fprog. Not a ctypes structure, for the reason that `_libc_syscall` has.
    fields = (len(program) // 8).to_bytes(8, "little") + bytes(ctypes.c_char_p(program))
    syscall("seccomp", _SECCOMP_SET_MODE_FILTER, 0, fields)


def landlock_version() -> int:
    """The kernel's Landlock ABI. ENOSYS: it has none. EOPNOTSUPP: it was started without."""
    return syscall("landlock_create_ruleset", None, 0, _LANDLOCK_CREATE_RULESET_VERSION)


def landlock_create_ruleset(attributes: bytes) -> int:
    """A new ruleset, as a file descriptor that exec closes. `attributes`: struct landlock_ruleset_attr."""
    return syscall("landlock_create_ruleset", attributes, len(attributes))


def landlock_allow_beneath(ruleset: int, access: int, folder: int) -> None:
    """Add a rule: `access` to the file or to all beneath the folder open at descriptor `folder`."""
    rule = struct.pack("=Qi", access, folder)
    syscall("landlock_add_rule", ruleset, _LANDLOCK_RULE_PATH_BENEATH, rule)


def landlock_restrict_self(ruleset: int, flags: int = 0) -> None:
    """Hold this thread to the ruleset, for good. EPERM: as EACCES of `seccomp_filter`."""
    syscall("landlock_restrict_self", ruleset, flags)


def syscall(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make the call and return what it gives, or raise OSError. Bytes go as a pointer to them, None as NULL."""
    number = syscall_numbers(MACHINE).get(name)
    if number is None:
        raise OSError(errno.ENOSYS, f"{name}: {os.strerror(errno.ENOSYS)} on {sys.platform}, {MACHINE}")
    result = _libc_syscall()(number, *arguments, *_ZEROS[len(arguments) :])
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def syscall_numbers(machine: str) -> dict[str, int]:
    """The number of each call on `machine` (uname's name for it); empty where this file knows none."""
    if machine not in _numbers:
        _numbers[machine] = {
            name: number
            for start, names in _TABLES.get(machine, ())
            for number, name in enumerate(names.split(), start)
        }
    return _numbers[machine]


def _path(path: str | None) -> bytes | None:
    if path is None:
        return None
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError(f"null character in {path!r}")
    return encoded


def _libc_syscall() -> Callable[..., int]:
    global _function
    if _function is None:
        _function = ctypes.CDLL(None, use_errno=True).syscall
        # Declared, so that a call makes few objects: in a process just forked, each is a page to copy.
        _function.argtypes, _function.restype = (ctypes.c_void_p,) * (1 + len(_ZEROS)), ctypes.c_long
    return _function


def _machine() -> str:
    """The processor, or "" where the tables below do not hold: not Linux, or a 32-bit process."""
    return os.uname().machine if sys.platform == "linux" and sys.maxsize > 1 << 32 else ""


MACHINE = _machine()
_ZEROS = (0,) * 6  # a call takes up to six arguments
_function = None
_numbers: dict[str, dict[str, int]] = {}

# The names in the order of their numbers, from the number before each list. From 424 on, all processors agree.
# To check or extend them: asm/unistd_64.h, asm-generic/unistd.h (what aarch64 uses), and the kernel's syscall.tbl.
_X86_64 = """
read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn
ioctl pread64 pwrite64 readv writev access pipe select sched_yield mremap msync mincore madvise shmget shmat shmctl dup
dup2 pause nanosleep getitimer alarm setitimer getpid sendfile socket connect accept sendto recvfrom sendmsg recvmsg
shutdown bind listen getsockname getpeername socketpair setsockopt getsockopt clone fork vfork execve exit wait4 kill
uname semget semop semctl shmdt msgget msgsnd msgrcv msgctl fcntl flock fsync fdatasync truncate ftruncate getdents
getcwd chdir fchdir rename mkdir rmdir creat link unlink symlink readlink chmod fchmod chown fchown lchown umask
gettimeofday getrlimit getrusage sysinfo times ptrace getuid syslog getgid setuid setgid geteuid getegid setpgid getppid
getpgrp setsid setreuid setregid getgroups setgroups setresuid getresuid setresgid getresgid getpgid setfsuid setfsgid
getsid capget capset rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend sigaltstack utime mknod uselib
personality ustat statfs fstatfs sysfs getpriority setpriority sched_setparam sched_getparam sched_setscheduler
sched_getscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval mlock munlock mlockall munlockall
vhangup modify_ldt pivot_root _sysctl prctl arch_prctl adjtimex setrlimit chroot sync acct settimeofday mount umount2
swapon swapoff reboot sethostname setdomainname iopl ioperm create_module init_module delete_module get_kernel_syms
query_module quotactl nfsservctl getpmsg putpmsg afs_syscall tuxcall security gettid readahead setxattr lsetxattr
fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr tkill time
futex sched_setaffinity sched_getaffinity set_thread_area io_setup io_destroy io_getevents io_submit io_cancel
get_thread_area lookup_dcookie epoll_create epoll_ctl_old epoll_wait_old remap_file_pages getdents64 set_tid_address
restart_syscall semtimedop fadvise64 timer_create timer_settime timer_gettime timer_getoverrun timer_delete
clock_settime clock_gettime clock_getres clock_nanosleep exit_group epoll_wait epoll_ctl tgkill utimes vserver mbind
set_mempolicy get_mempolicy mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr kexec_load waitid
add_key request_key keyctl ioprio_set ioprio_get inotify_init inotify_add_watch inotify_rm_watch migrate_pages openat
mkdirat mknodat fchownat futimesat newfstatat unlinkat renameat linkat symlinkat readlinkat fchmodat faccessat pselect6
ppoll unshare set_robust_list get_robust_list splice tee sync_file_range vmsplice move_pages utimensat epoll_pwait
signalfd timerfd_create eventfd fallocate timerfd_settime timerfd_gettime accept4 signalfd4 eventfd2 epoll_create1 dup3
pipe2 inotify_init1 preadv pwritev rt_tgsigqueueinfo perf_event_open recvmmsg fanotify_init fanotify_mark prlimit64
name_to_handle_at open_by_handle_at clock_adjtime syncfs sendmmsg setns getcpu process_vm_readv process_vm_writev kcmp
finit_module sched_setattr sched_getattr renameat2 seccomp getrandom memfd_create kexec_file_load bpf execveat
userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx io_pgetevents
rseq
"""
_AARCH64 = """
io_setup io_destroy io_submit io_cancel io_getevents setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr
llistxattr flistxattr removexattr lremovexattr fremovexattr getcwd lookup_dcookie eventfd2 epoll_create1 epoll_ctl
epoll_pwait dup dup3 fcntl inotify_init1 inotify_add_watch inotify_rm_watch ioctl ioprio_set ioprio_get flock mknodat
mkdirat unlinkat symlinkat linkat renameat umount2 mount pivot_root nfsservctl statfs fstatfs truncate ftruncate
fallocate faccessat chdir fchdir chroot fchmod fchmodat fchownat fchown openat close vhangup pipe2 quotactl getdents64
lseek read write readv writev pread64 pwrite64 preadv pwritev sendfile pselect6 ppoll signalfd4 vmsplice splice tee
readlinkat newfstatat fstat sync fsync fdatasync sync_file_range timerfd_create timerfd_settime timerfd_gettime
utimensat acct capget capset personality exit exit_group waitid set_tid_address unshare futex set_robust_list
get_robust_list nanosleep getitimer setitimer kexec_load init_module delete_module timer_create timer_gettime
timer_getoverrun timer_settime timer_delete clock_settime clock_gettime clock_getres clock_nanosleep syslog ptrace
sched_setparam sched_setscheduler sched_getscheduler sched_getparam sched_setaffinity sched_getaffinity sched_yield
sched_get_priority_max sched_get_priority_min sched_rr_get_interval restart_syscall kill tkill tgkill sigaltstack
rt_sigsuspend rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigreturn setpriority
getpriority reboot setregid setgid setreuid setuid setresuid getresuid setresgid getresgid setfsuid setfsgid times
setpgid getpgid getsid setsid getgroups setgroups uname sethostname setdomainname getrlimit setrlimit getrusage umask
prctl getcpu gettimeofday settimeofday adjtimex getpid getppid getuid geteuid getgid getegid gettid sysinfo mq_open
mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr msgget msgctl msgrcv msgsnd semget semctl semtimedop
semop shmget shmctl shmat shmdt socket socketpair bind listen accept connect getsockname getpeername sendto recvfrom
setsockopt getsockopt shutdown sendmsg recvmsg readahead brk munmap mremap add_key request_key keyctl clone execve mmap
fadvise64 swapon swapoff mprotect msync mlock munlock mlockall munlockall mincore madvise remap_file_pages mbind
get_mempolicy set_mempolicy migrate_pages move_pages rt_tgsigqueueinfo perf_event_open accept4 recvmmsg
"""
_AARCH64_FROM_260 = """
wait4 prlimit64 fanotify_init fanotify_mark name_to_handle_at open_by_handle_at clock_adjtime syncfs setns sendmmsg
process_vm_readv process_vm_writev kcmp finit_module sched_setattr sched_getattr renameat2 seccomp getrandom
memfd_create bpf execveat userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc
pkey_free statx io_pgetevents rseq kexec_file_load
"""
_ALL_FROM_424 = """
pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen fsconfig fsmount fspick
pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2 process_madvise epoll_pwait2 mount_setattr quotactl_fd
landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret process_mrelease futex_waitv
set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount
lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat
open_tree_attr file_getattr file_setattr
"""
_TABLES = {
    "x86_64": ((0, _X86_64), (424, _ALL_FROM_424)),
    "aarch64": ((0, _AARCH64), (260, _AARCH64_FROM_260), (424, _ALL_FROM_424)),
}
