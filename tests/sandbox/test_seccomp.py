"""The filter of system calls: what honest programs need works, the rest ends as told, in the kernel and on paper."""

import errno
import importlib.util
import json
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence

import pytest

from polyturn.sandbox import kernel, seccomp

linux = pytest.mark.skipif(not kernel.syscall_numbers(kernel.MACHINE), reason="needs Linux on x86_64 or aarch64")
x86_64 = pytest.mark.skipif(kernel.MACHINE != "x86_64", reason="x86_64 has other calls beside its own")
KILLED = -signal.SIGSYS
PRETENDED = -1000  # it returns 0, and has done nothing

CONFINE = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from polyturn.sandbox import kernel, seccomp

def confine(processes):
    program = seccomp.build(processes)
    if not processes:
        program = seccomp.for_process(program, os.getpid())
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.install(program)
"""
# Makes each call in a process of its own; prints for each the errno, 0 for none, or minus the signal.
PROBE = """
import ctypes, json, resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
function = ctypes.CDLL(None, use_errno=True).syscall
function.restype = ctypes.c_long
ends = []
for number, arguments in json.loads(sys.argv[2]):
    child = os.fork()
    if child == 0:
        own = {"self": os.getpid(), "parent": os.getppid()}
        words = [ctypes.c_long(own.get(word, word)) for word in (number, *arguments, *[0] * 6)][:7]
        confine(sys.argv[1] == "True")
        result = function(*words)
        os._exit(ctypes.get_errno() if result == -1 else 0)
    ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(ends))
"""

FORBIDDEN = """
    ptrace process_vm_readv process_vm_writev process_madvise kcmp mount umount2 pivot_root setns unshare move_mount
    open_tree fsopen fsconfig fsmount fspick mount_setattr open_tree_attr init_module finit_module delete_module
    kexec_load kexec_file_load bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register
    open_by_handle_at add_key keyctl request_key iopl ioperm swapon swapoff reboot acct quotactl settimeofday
    clock_settime sethostname setdomainname fanotify_init vhangup syslog pidfd_getfd
""".split()
REFUSED = """
    socket connect bind listen accept accept4 setsockopt execve execveat chroot memfd_create shmget semget msgget
    mq_open setuid setgid setreuid setregid setresuid setresgid setgroups setfsuid setfsgid capset setpriority
    personality sched_setscheduler sched_setparam sched_setattr seccomp mlockall sync splice inotify_init inotify_init1
    fchownat setxattr timer_create ioprio_set io_setup name_to_handle_at remap_file_pages migrate_pages
""".split()
ABSENT = "clone3 openat2 landlock_create_ruleset memfd_secret process_mrelease futex_waitv statmount mseal".split()
PLAIN = """
    read write openat close newfstatat lseek mmap munmap mprotect brk futex clock_nanosleep getrandom madvise
    epoll_pwait ppoll pipe2 getpid exit_group rt_sigreturn rt_sigprocmask wait4 sched_getaffinity unlinkat
""".split()

# Call, arguments, how it ends where processes are allowed, and where not. Where a call is allowed its arguments
# are such that the kernel answers with an error that tells: no such descriptor, no such address.
AF_UNIX, AF_INET, STREAM, DATAGRAM, SEQUENCE, CLOEXEC = 1, 2, 1, 2, 5, 0o2000000
TRUNCATE = 0o1000
THREAD, PARENT, HIGH = 0x10000, 0x8000, 1 << 40
NEW_USER = 1 << 28
NEW = (1 << 17, 1 << 25, 1 << 26, 1 << 27, NEW_USER, 1 << 29, 1 << 30)  # mounts, cgroup, UTS, IPC, user, pid, net
EPERM, EBADF, EFAULT, EINVAL, ENOTTY = errno.EPERM, errno.EBADF, errno.EFAULT, errno.EINVAL, errno.ENOTTY
EOPNOTSUPP = errno.EOPNOTSUPP
CASES: list[tuple[str, tuple[int | str, ...], int, int]] = [
    ("ioctl", (-1, 0x5401), EBADF, EBADF),  # TCGETS
    ("ioctl", (-1, 0x5413), EBADF, EBADF),  # TIOCGWINSZ
    ("ioctl", (-1, 0x541B), EBADF, EBADF),  # FIONREAD
    ("ioctl", (-1, 0x5421), EBADF, EBADF),  # FIONBIO
    ("ioctl", (-1, 0x5450), EBADF, EBADF),  # FIONCLEX
    ("ioctl", (-1, 0x5451), EBADF, EBADF),  # FIOCLEX
    ("ioctl", (-1, 0x5451 | HIGH), EBADF, EBADF),  # the kernel looks at 32 bits
    ("ioctl", (-1, 0x5402), ENOTTY, ENOTTY),  # TCSETS
    ("ioctl", (-1, 0x5412), ENOTTY, ENOTTY),  # TIOCSTI types for the user
    ("ioctl", (-1, 0x5412 | HIGH), ENOTTY, ENOTTY),
    ("ioctl", (-1, 0x5452), ENOTTY, ENOTTY),  # FIOASYNC
    ("ioctl", (-1, 0x8901), ENOTTY, ENOTTY),  # FIOSETOWN
    ("ioctl", (-1, 0x40049409), EOPNOTSUPP, EOPNOTSUPP),  # FICLONE
    *[("fcntl", (-1, command), EBADF, EBADF) for command in (0, 1, 2, 3, 4, 5, 6, 7, 9, 37, 1030, 1034)],
    *[("fcntl", (-1, command), EPERM, EPERM) for command in (8, 10, 15, 1024, 1026, 1033)],
    ("prctl", (15, -1), EFAULT, EFAULT),  # PR_SET_NAME
    ("prctl", (3,), 0, 0),  # PR_GET_DUMPABLE
    ("prctl", (0x53564D41, -1), EINVAL, EINVAL),  # PR_SET_VMA
    *[("prctl", (option, 0), EPERM, EPERM) for option in (1, 4, 8, 22, 24, 28, 35, 36, 47, 0x59616D61)],
    ("prlimit64", (0, -1), EINVAL, EINVAL),
    ("prlimit64", (HIGH, -1), EINVAL, EINVAL),
    ("prlimit64", ("parent", 7), EPERM, EPERM),
    ("sched_setaffinity", (0, 8, -1), EFAULT, EFAULT),
    ("sched_setaffinity", ("parent", 8, -1), EPERM, EPERM),
    ("socketpair", (AF_UNIX, STREAM, 0, -1), EFAULT, EFAULT),
    ("socketpair", (AF_UNIX, STREAM | CLOEXEC, 0, -1), EFAULT, EFAULT),
    ("socketpair", (AF_UNIX, DATAGRAM, 0, -1), EPERM, EPERM),
    ("socketpair", (AF_UNIX, SEQUENCE, 0, -1), EPERM, EPERM),
    ("socketpair", (AF_INET, STREAM, 0, -1), EPERM, EPERM),
    ("getsockopt", (-1, 1, 17, 0, 0), EBADF, EBADF),
    ("getsockopt", (-1, 1, 77, 0, 0), EPERM, EPERM),  # SO_PEERPIDFD
    ("mknodat", (-100, -1, 0o010600, 0), EFAULT, EFAULT),
    ("mknodat", (-100, -1, 0o020600, 0), EPERM, EPERM),
    ("mknodat", (-100, -1, 0o060600, 0), EPERM, EPERM),
    ("mknod", (-1, 0o010600, 0), EFAULT, EFAULT),
    ("mknod", (-1, 0o060600, 0), EPERM, EPERM),
    ("clone", (THREAD,), EINVAL, EINVAL),  # a thread must share memory
    ("clone", (THREAD | HIGH,), EINVAL, EINVAL),
    ("clone", (signal.SIGCHLD, 0, 0, 0, 0), 0, EPERM),
    ("fork", (), 0, EPERM),
    ("clone", (PARENT, 0, 0, 0, 0), KILLED, KILLED),
    *[("clone", (flag | THREAD, 0, 0, 0, 0), KILLED, KILLED) for flag in NEW],
    ("clone", (NEW_USER | HIGH, 0, 0, 0, 0), KILLED, KILLED),
    ("setsid", (), 0, EPERM),
    ("kill", ("self", 0), 0, 0),
    ("kill", ("parent", 0), 0, EPERM),
    ("kill", (0, 0), 0, EPERM),
    ("kill", (-1, 0), 0, EPERM),
    ("kill", (0x7FFFFFFF, 0), errno.ESRCH, EPERM),
    ("tgkill", ("self", "self", 0), 0, 0),
    ("tgkill", ("parent", "parent", 0), 0, EPERM),
    ("tkill", ("self", 0), 0, 0),
    ("tkill", ("parent", 0), 0, EPERM),
    ("rt_sigqueueinfo", ("parent", 0, -1), EFAULT, EPERM),
    ("rt_tgsigqueueinfo", ("parent", "parent", 0, -1), EFAULT, EPERM),
    ("pidfd_open", ("self", 0), 0, EPERM),
    ("pidfd_send_signal", (-1, 0, 0, 0), EBADF, EPERM),
    ("chmod", (-1, 0), EFAULT, PRETENDED),
    ("fchmod", (-1, 0), EBADF, PRETENDED),
    ("fchmodat", (-100, -1, 0), EFAULT, PRETENDED),
    ("utime", (-1, 0), EFAULT, PRETENDED),
    ("utimes", (-1, 0), EFAULT, PRETENDED),
    ("futimesat", (-100, -1, 0), EFAULT, PRETENDED),
    ("utimensat", (-100, -1, 0, 0), EFAULT, PRETENDED),
    ("utimensat", (-1, 0, 0, 0), EBADF, PRETENDED),  # futimens
    ("truncate", (-1, 0), EFAULT, EPERM),
    ("ftruncate", (-1, 0), EBADF, EBADF),
    *[("open", (-1, TRUNCATE | flags), EFAULT, EPERM) for flags in (0, CLOEXEC, HIGH)],
    *[("openat", (-100, -1, TRUNCATE | flags), EFAULT, EPERM) for flags in (0, CLOEXEC, HIGH)],
    *[("openat", (-100, -1, flags), EFAULT, EFAULT) for flags in (0, CLOEXEC, 1 | TRUNCATE, 2 | TRUNCATE)],
]

both = pytest.mark.parametrize("processes", [True, False], ids=["processes", "alone"])
machines = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])


def run(source: str, *arguments: str) -> str:
    """What a Python of its own prints, which knows `confine`."""
    command = [sys.executable, "-c", CONFINE + source, *arguments]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, start_new_session=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def ends(calls: list[tuple[int, tuple[int | str, ...]]], processes: bool) -> list[int]:
    return json.loads(run(PROBE, str(processes), json.dumps(calls)))


def numbered(names: Sequence[str], machine: str = kernel.MACHINE) -> dict[str, int]:
    numbers = kernel.syscall_numbers(machine)
    return {name: numbers[name] for name in names if name in numbers}


def decide(program: bytes, machine: str, number: int, arguments: tuple[int, ...] = ()) -> tuple[int, bool]:
    """What a filter returns, worked out by hand: BPF as linux/filter.rst describes it. And if it saw arguments."""
    processor = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i386": 0x40000003, "arm": 0x40000028}[machine]
    words = [word % 2**64 for word in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    call = struct.pack("=IIQ6Q", number % 2**32, processor, 0, *words)
    code = list(struct.iter_unpack("=HBBI", program))
    at = loaded = 0
    seen = False
    while True:
        operation, yes, no, constant = code[at]
        at += 1
        match operation:
            case 0x20:
                loaded = struct.unpack_from("=I", call, constant)[0]
                seen |= constant >= 16
            case 0x54:
                loaded &= constant
            case 0x15:
                at += yes if loaded == constant else no
            case 0x35:
                at += yes if loaded >= constant else no
            case 0x45:
                at += yes if loaded & constant else no
            case 0x06:
                return constant, seen
            case _:
                raise AssertionError(f"unknown operation {operation:#x}")


ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000


def refusal(code: int) -> int:
    return 0x00050000 | code


@machines
@both
def test_every_call_is_decided(machine: str, processes: bool) -> None:
    program = seccomp.build(processes, machine)
    code = list(struct.iter_unpack("=HBBI", program))
    assert len(code) < 4096  # what the kernel takes
    for at, (operation, yes, no, _) in enumerate(code):
        assert operation == 6 or at + 1 + max(yes, no) < len(code)
    known = kernel.syscall_numbers(machine).values()
    for number in [*range(601), 10**6, 0x3FFFFFFF]:
        end, seen = decide(program, machine, number)
        assert end in {ALLOW, KILL_PROCESS, *map(refusal, (0, errno.EPERM, errno.ENOSYS, errno.ENOTTY))}
        if number not in known:
            assert (end, seen) == (refusal(errno.ENOSYS), False)


@machines
@both
def test_calls_in_the_manner_of_another_processor_kill(machine: str, processes: bool) -> None:
    program = seccomp.build(processes, machine)
    for other in {"x86_64", "aarch64", "i386", "arm"} - {machine}:
        assert {decide(program, other, number)[0] for number in range(600)} == {KILL_PROCESS}
    if machine == "x86_64":
        for number in (*range(600), -1 - 0x40000000):
            assert decide(program, machine, 0x40000000 + number)[0] == KILL_PROCESS


@machines
@both
def test_groups_end_as_told_on_either_processor(machine: str, processes: bool) -> None:
    program = seccomp.build(processes, machine)
    for names, end in (
        (FORBIDDEN, KILL_PROCESS),
        (REFUSED, refusal(errno.EPERM)),
        (ABSENT, refusal(errno.ENOSYS)),
        (PLAIN if processes else [name for name in PLAIN if name != "openat"], ALLOW),
    ):
        calls = numbered(names, machine)
        assert len(calls) >= len(names) - 3  # a few are of x86 alone
        # No look at the arguments: so the kernel can decide beforehand, and the allowed ones cost nothing.
        assert {name: decide(program, machine, number) for name, number in calls.items()} == {
            name: (end, False) for name in calls
        }


def test_every_name_of_the_policy_is_a_call() -> None:
    """A misspelt one would be refused where it is meant to be allowed or killed."""
    calls = {name for machine in ("x86_64", "aarch64") for name in kernel.syscall_numbers(machine)}
    lists = (seccomp._ALLOWED, seccomp._OWN, seccomp._ATTRIBUTES, seccomp._SIGNALS, seccomp._KILLED)
    named = [name for text in lists for name in text.split()]
    assert set(named) <= calls
    assert len(set(named)) == len(named)


@machines
@both
def test_arguments_decide_on_either_processor(machine: str, processes: bool) -> None:
    numbers = kernel.syscall_numbers(machine)
    program = seccomp.build(processes, machine)
    if not processes:
        program = seccomp.for_process(program, 1234)
    for name, arguments, with_processes, alone in CASES:
        told = with_processes if processes else alone
        ends = {KILLED: KILL_PROCESS, PRETENDED: refusal(0)}
        end = ends.get(told, refusal(told) if told in (EPERM, ENOTTY, EOPNOTSUPP) else ALLOW)
        words = tuple({"self": 1234, "parent": 77}[word] if isinstance(word, str) else word for word in arguments)
        if name in numbers:
            assert (name, arguments, decide(program, machine, numbers[name], words)[0]) == (name, arguments, end)


@machines
def test_one_process_may_signal_itself_alone(machine: str) -> None:
    unset = seccomp.build(False, machine)
    program = seccomp.for_process(unset, 4194303)
    assert len(program) == len(unset)
    kill = kernel.syscall_numbers(machine)["kill"]
    assert decide(program, machine, kill, (4194303, 9))[0] == ALLOW
    for pid in (0, 1, -1, -4194303, 4194302):
        assert decide(program, machine, kill, (pid, 9))[0] == refusal(EPERM)
        assert decide(unset, machine, kill, (pid, 9))[0] == refusal(EPERM)
    for whole in (program, seccomp.build(True, machine)):
        with pytest.raises(ValueError, match="filter"):
            seccomp.for_process(whole, 1)


def test_a_filter_for_an_unknown_processor_is_refused() -> None:
    with pytest.raises(OSError, match="riscv64") as caught:
        seccomp.build(True, "riscv64")
    assert caught.value.errno == errno.ENOSYS


@linux
@both
def test_the_kernel_ends_groups_of_calls_as_told(processes: bool) -> None:
    told = dict.fromkeys(numbered(FORBIDDEN), KILLED) | dict.fromkeys(numbered(REFUSED), EPERM)
    told |= dict.fromkeys(numbered(ABSENT), errno.ENOSYS)
    numbers = kernel.syscall_numbers(kernel.MACHINE)
    results = ends([(numbers[name], (-1, -1, -1, -1, -1, -1)) for name in told], processes)
    assert dict(zip(told, results, strict=True)) == told
    assert set(ends([(number, ()) for number in (472, 600, 5000)], processes)) == {errno.ENOSYS}


@linux
@both
def test_the_kernel_looks_at_arguments_as_told(processes: bool) -> None:
    numbers = kernel.syscall_numbers(kernel.MACHINE)
    cases = [case for case in CASES if case[0] in numbers]
    results = ends([(numbers[name], arguments) for name, arguments, *_ in cases], processes)
    found = [(*case[:2], result) for case, result in zip(cases, results, strict=True)]
    told = [case[2] if processes else case[3] for case in cases]
    assert found == [(*case[:2], 0 if end == PRETENDED else end) for case, end in zip(cases, told, strict=True)]


@linux
@x86_64
def test_the_kernel_kills_calls_of_x32_and_i386() -> None:
    assert ends([(0x40000000 + 39, ()), (-1, ())], processes=True) == [KILLED, KILLED]
    source = """
import ctypes, mmap, resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
memory.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid for 32 bits); int 0x80; ret
getpid = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
for confined in (False, True):
    child = os.fork()
    if child == 0:
        if confined:
            confine(True)
        os._exit(getpid() != os.getpid())
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    free, confined = map(int, run(source).split())
    if free != 0:
        pytest.skip("this kernel takes no calls from 32-bit code")
    assert confined == KILLED


@linux
def test_privileges_that_grow_are_a_condition() -> None:
    if kernel.prctl(kernel.PR_GET_NO_NEW_PRIVS):
        pytest.skip("privileges cannot grow here in any process")
    source = """
kernel.drop_capabilities()
try:
    seccomp.install(seccomp.build(True))
except PermissionError as error:
    print(error)
"""
    assert run(source) == "[Errno 13] seccomp: Permission denied\n"


@linux
def test_threads_are_behind_the_filter_too() -> None:
    source = """
import socket, threading
def attempt():
    try:
        socket.socket()
    except PermissionError:
        print("refused")
confine(False)
thread = threading.Thread(target=attempt)
thread.start()
thread.join()
"""
    assert run(source) == "refused\n"


HONEST = """
import asyncio, concurrent.futures, ctypes, decimal, fcntl, json, logging, mmap, multiprocessing, os, pathlib, pickle
import queue, random, re, resource, select, shutil, signal, socket, sqlite3, subprocess, tempfile, threading, time
import uuid, zipfile

with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / "a").write_text("text")
    shutil.copy2(folder / "a", folder / "b")
    shutil.copytree(folder, folder.with_name(folder.name + "-copy"))
    shutil.rmtree(folder.with_name(folder.name + "-copy"))
    os.rename(folder / "b", folder / "c")
    os.symlink("a", folder / "link")
    os.link(folder / "a", folder / "hard")
    os.mkfifo(folder / "pipe")
    os.chmod(folder / "a", 0o600)
    assert sorted(os.listdir(folder)) == ["a", "c", "hard", "link", "pipe"]
    if hasattr(pathlib.Path, "copy"):
        (folder / "a").copy(folder / "d")
        assert (folder / "d").read_text() == "text"
    with zipfile.ZipFile(folder / "z", "w") as archive:
        archive.write(folder / "a")
    base = sqlite3.connect(folder / "base")
    base.execute("create table t(a)")
    base.executemany("insert into t values (?)", [(i,) for i in range(9)])
    base.commit()
    assert base.execute("select sum(a) from t").fetchone() == (36,)
    base.close()
    with open(folder / "m", "w+b") as file:
        file.write(bytes(8192))
        fcntl.flock(file, fcntl.LOCK_EX)
        with mmap.mmap(file.fileno(), 0) as memory:
            memory[0] = 1
            memory.flush()
        os.fsync(file.fileno())

async def sleep_and_work():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, print, "signalled")
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.sleep(0.01)
    return await asyncio.gather(asyncio.sleep(0, 1), asyncio.to_thread(len, "ab"))

assert asyncio.run(sleep_and_work()) == [1, 2]
with concurrent.futures.ThreadPoolExecutor(3) as pool:
    assert list(pool.map(len, ["", "a"])) == [0, 1]

def deep(n):
    return n and 1 + deep(n - 1)

sys.setrecursionlimit(20_000)
threading.stack_size(64 << 20)
thread = threading.Thread(target=deep, args=(10_000,))
thread.start()
thread.join()

messages = multiprocessing.Queue()
messages.put(1)
assert messages.get() == 1
with multiprocessing.Lock(), multiprocessing.Value("i", 3):
    multiprocessing.Pipe()
a, b = socket.socketpair()
a.setblocking(False)
b.settimeout(1)
a.send(b"x")
assert select.select([b], [], [], 1)[0] and b.recv(1) == b"x"

assert re.search(r"(\\d+)", "a12")[1] == "12" and decimal.Decimal(2).sqrt() > 1 and json.loads("[1]") == [1]
random.seed(0), random.random(), uuid.uuid4(), os.urandom(3), pickle.dumps(1), time.sleep(0.001), time.thread_time()
signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.005)
time.sleep(0.05)
signal.raise_signal(signal.SIGALRM)
assert ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1)(2) == 3
resource.setrlimit(resource.RLIMIT_STACK, resource.getrlimit(resource.RLIMIT_STACK))
assert os.cpu_count() and not os.isatty(0) and sys.stdin.read() == ""
for attempt in (socket.socket, lambda: subprocess.run(["true"]), lambda: os.execv("/bin/true", ["true"])):
    try:
        attempt()
    except PermissionError:
        print("refused")
"""


@linux
@both
def test_honest_programs_work(processes: bool) -> None:
    wanted = "signalled\nalarm\nalarm\nrefused\nrefused\nrefused\n"
    assert run(f"confine({processes})\n{HONEST}") == wanted


@linux
def test_processes_work_where_they_are_allowed() -> None:
    source = """
import multiprocessing, os, signal, time
confine(True)
context = multiprocessing.get_context("fork")
with context.Pool(2) as pool:
    print(pool.map(abs, [-1, 2]))
child = context.Process(target=time.sleep, args=(60,))
child.start()
child.terminate()
child.join()
print(child.exitcode)
"""
    assert run(source) == "[1, 2]\n-15\n"


@linux
@both
def test_numpy_works(processes: bool) -> None:
    source = f"""
confine({processes})
import tempfile
import numpy
a = numpy.random.default_rng(0).random((200, 200))
print(numpy.allclose(a @ numpy.linalg.inv(a), numpy.eye(200)))
with tempfile.TemporaryFile() as file:
    numpy.save(file, a)
    file.seek(0)
    print((numpy.load(file) == a).all())
"""
    assert run(source) == "True\nTrue\n"


@linux
@pytest.mark.parametrize(
    ("package", "source"),
    [
        (
            "pandas",
            "import io, pandas\ntable = pandas.read_csv(io.StringIO('a,b\\n1,x\\n2,y\\n2,z\\n'))\n"
            "print(table.groupby('a').b.count().tolist())",
        ),
        (
            "sklearn",
            "from sklearn.ensemble import RandomForestClassifier\n"
            "model = RandomForestClassifier(5, n_jobs=2).fit([[0], [1]] * 9, [0, 1] * 9)\n"
            "print(model.predict([[0], [1]]).tolist())",
        ),
    ],
)
def test_tables_and_models_work(package: str, source: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    # joblib would ask lscpu for the number of cores, and warn that it may not.
    environment = "os.environ['LOKY_MAX_CPU_COUNT'] = '2'\n"
    assert run("confine(False)\n" + environment + source) == {"pandas": "[1, 2]\n", "sklearn": "[0, 1]\n"}[package]
