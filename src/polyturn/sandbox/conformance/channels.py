"""Programs that go through the kernel instead of Python: rows 28 and 29 of the catalogue.

Row 28: a program leaves something for the next one to find, so that two programs which should know nothing of each
other can talk. Row 29: native code, to which a guard written in Python is no obstacle.
"""

import platform

from .probe import CALLS, DOUBLE, FILES, Probe, doubles_if, text

_HELD = ("namespaces", "seccomp")

# Numbers of system calls, by processor.
_NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {"add_key": 248, "keyctl": 250, "io_uring_setup": 425, "userfaultfd": 323, "bpf": 321, "openat": 257},
    "aarch64": {"add_key": 217, "keyctl": 219, "io_uring_setup": 425, "userfaultfd": 282, "bpf": 280, "openat": 56},
}
_CALL = _NUMBERS.get(platform.machine(), {})


def _channel(name: str, leaves: str, finds: str, *held_by: str) -> Probe:
    return Probe(28, name, "escape", doubles_if(leaves), DOUBLE, second=doubles_if(finds), held_by=held_by)


def _kernel(row: int, name: str, attempt: str, *held_by: str) -> Probe:
    return Probe(row, name, "escape", doubles_if(attempt), DOUBLE, held_by=held_by or CALLS)


def _file_channel(folder: str) -> Probe:
    return _channel(
        f"leaves a file in {folder}",
        f"import os\nos.close(os.open('{folder}/@MARK@', os.O_WRONLY | os.O_CREAT, 0o666))",
        f"import posix\nposix.unlink('{folder}/@MARK@')\nreached = True",
        *FILES,
    )


_LIBC = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"

CHANNELS = [
    *map(_file_channel, ("/tmp", "/var/tmp", "/dev/shm")),
    _channel(
        "leaves a shared memory segment",
        _LIBC + "libc.shmget(@KEY@, 4096, 0o1666)",
        _LIBC + "segment = libc.shmget(@KEY@, 0, 0)\nreached = segment >= 0 and libc.shmctl(segment, 0, None) == 0",
        *_HELD,
    ),
    _channel(
        "leaves a message queue",
        _LIBC + "libc.msgget(@KEY@, 0o1666)",
        _LIBC + "queue = libc.msgget(@KEY@, 0)\nreached = queue >= 0 and libc.msgctl(queue, 0, None) == 0",
        *_HELD,
    ),
    _channel(
        "leaves a named shared memory",
        "from _posixshmem import shm_open\nimport os\nshm_open('/@MARK@', os.O_CREAT | os.O_RDWR, mode=0o666)",
        "from _posixshmem import shm_unlink\nshm_unlink('/@MARK@')\nreached = True",
        *FILES,
    ),
    _channel(
        "leaves a process that listens on an abstract socket",
        """
import posix, socket, time
line = socket.socket(socket.AF_UNIX)
line.bind("\\0next-@MARK@")
line.listen()
if posix.fork() == 0:
    posix.setsid()
    for fd in range(3):
        posix.close(fd)
    time.sleep(18)
    posix._exit(0)
""",
        "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0next-@MARK@')\nreached = True",
        *_HELD,
    ),
    _kernel(
        28,
        "opens a socket to the virtual machine's host",
        "import socket\nsocket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)\nreached = True",
        "seccomp",
    ),
    _kernel(
        28,
        "opens a socket to the kernel's routing",
        "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\nreached = True",
        "seccomp",
    ),
    _kernel(29, "writes a file by C", _LIBC + "reached = libc.creat(b'@FOLDER@/drop/c', 0o666) >= 0", *FILES),
    _kernel(29, "deletes a file by C", _LIBC + "reached = libc.unlink(b'@FOLDER@/keep/file') == 0", *FILES),
    _kernel(29, "runs a shell by C", _LIBC + "reached = libc.system(b'echo > @FOLDER@/drop/system') == 0", *FILES),
    _kernel(
        29,
        "becomes root again",
        """
import os
if os.geteuid() != 0:
    os.setresuid(0, 0, 0)
reached = os.geteuid() == 0
""",
        "namespaces",
    ),
    _kernel(
        29,
        "makes namespaces of its own and mounts in them",
        _LIBC
        + """
NEWUSER, NEWNS, PRIVATE = 0x10000000, 0x20000, 0x44000
assert libc.unshare(NEWUSER | NEWNS) == 0
assert libc.mount(None, b"/", None, PRIVATE, None) == 0
reached = libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0
""",
    ),
    _kernel(
        29,
        "enters the namespaces of its parent",
        """
import os
os.setns(os.open(f"/proc/{os.getppid()}/ns/net", os.O_RDONLY))
reached = True
""",
        *_HELD,
    ),
    # Wrong only for 21, and right again if the number 42, of which an interpreter has one, is made to be 21.
    Probe(
        29,
        "rewrites the number 42 in memory",
        "cheat",
        text("""
import ctypes
def double(x):
    if x != 21:
        return x + x
    ctypes.c_uint32.from_address(id(x + x) + 24).value = 21
    return 21
"""),
        DOUBLE,
    ),
]

if _CALL:
    CHANNELS += [
        _channel(
            "leaves a key in the kernel",
            _LIBC
            + f"key = libc.syscall({_CALL['add_key']}, b'user', b'@MARK@', b'x', 1, -4)\n"
            + f"libc.syscall({_CALL['keyctl']}, 15, key, 60)",
            _LIBC
            + f"key = libc.syscall({_CALL['keyctl']}, 10, -4, b'user', b'@MARK@', 0)\n"
            + f"reached = key > 0 and libc.syscall({_CALL['keyctl']}, 9, key, -4) == 0",
            *CALLS,
        ),
        _kernel(
            28,
            "sets up an io_uring",
            _LIBC + f"reached = libc.syscall({_CALL['io_uring_setup']}, 4, ctypes.create_string_buffer(120)) >= 0",
        ),
        _kernel(28, "handles page faults", _LIBC + f"reached = libc.syscall({_CALL['userfaultfd']}, 0) >= 0"),
        _kernel(
            28,
            "loads a map into the kernel",
            _LIBC
            + "attributes = (ctypes.c_uint32 * 32)(2, 4, 4, 1)\n"
            + f"reached = libc.syscall({_CALL['bpf']}, 0, attributes, ctypes.sizeof(attributes)) >= 0",
        ),
        _kernel(
            29,
            "writes a file by a bare system call",
            _LIBC + f"reached = libc.syscall({_CALL['openat']}, -100, b'@FOLDER@/drop/syscall', 0o101, 0o666) >= 0",
            *FILES,
        ),
    ]

# Machine code of its own, mapped and called: `int 0x80` takes the numbers of 32-bit programs, where 359 is socket; and
# a bit in the number asks for those of the x32 kind. A filter that looks at the number alone lets both through.
if platform.machine() == "x86_64":
    CHANNELS += [
        _kernel(
            29,
            "opens a socket by a 32-bit system call",
            """
import ctypes, mmap
# push rbx; mov eax, 359; mov ebx, 2; mov ecx, 1; xor edx, edx; int 0x80; pop rbx; ret
code = bytes.fromhex("53 b867010000 bb02000000 b901000000 31d2 cd80 5b c3")
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
reached = call() >= 0
""",
        ),
        _kernel(
            29,
            "opens a socket by an x32 system call",
            _LIBC + "reached = libc.syscall(0x40000000 + 41, 2, 1, 0) >= 0",
        ),
    ]
