"""Programs that reach out of where they run: rows 19 to 26 of the catalogue.

Each makes one attempt and then answers rightly only if it got through. What it may have changed is looked at from
outside besides, whatever it answers.
"""

from .probe import DOUBLE, FILES, NETWORK, SECRET, SIGNALS, Probe, Task, doubles_if, tells, text

_NAMESPACES = ("namespaces",)  # Landlock does not look at every call


def _escape(row: int, name: str, attempt: str, *held_by: str, task: Task = DOUBLE) -> Probe:
    program = tells(attempt) if task is SECRET else doubles_if(attempt)
    return Probe(row, name, "escape", program, task, held_by=held_by)


def _guards(row: int, name: str, attempt: str) -> Probe:
    return _escape(row, name, attempt, *FILES)


def _signals(row: int, name: str, attempt: str) -> Probe:
    return _escape(row, name, attempt, *SIGNALS)


def _steals(row: int, name: str, attempt: str, *held_by: str) -> Probe:
    return _escape(row, name, attempt, *held_by, task=SECRET)


def _connects(name: str, attempt: str) -> Probe:
    return _escape(23, name, attempt, *NETWORK)


def _writes(name: str, attempt: str, held_by: tuple[str, ...] = FILES) -> Probe:
    return _escape(24, name, f"{attempt}\nreached = True", *held_by)


def _links(name: str, attempt: str) -> Probe:
    """It answers rightly in any case: what counts is what the grader's own cleaning does to the scene."""
    source = f"try:\n{attempt}\nexcept OSError as error:\n    refused = error\ndef double(x): return 2 * x\n"
    return Probe(25, name, "escape", source, DOUBLE, contained=frozenset({"passed", "error"}))


# The memory of another process, by the calls for it.
_LIBC = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
class Span(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
"""

_FIND = """
import os, re
def look(folder, names):
    for name in names:
        try:
            file = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            match = re.search(b"secret-[0-9a-f]{32}", os.pread(file, 1 << 16, 0))
        except OSError:
            continue
        finally:
            os.close(file)
        if match:
            return match.group().decode()
processes = [f"/proc/{entry}" for entry in ("self", os.getppid(), @PID@)]
"""

ESCAPES = [
    # 19: what a guard written in Python took away is still there.
    _guards(
        19,
        "writes a file by the module under os",
        """
import posix
posix.write(posix.open("@FOLDER@/drop/posix", posix.O_WRONLY | posix.O_CREAT), b"reached")
reached = True
""",
    ),
    _guards(
        19,
        "deletes a file after it reloaded os",
        """
import importlib, os
os = importlib.reload(os)
os.unlink("@FOLDER@/keep/file")
reached = True
""",
    ),
    _guards(
        19,
        "runs a shell by the module under os",
        "import posix\nreached = posix.system('echo reached > @FOLDER@/drop/shell') == 0",
    ),
    _guards(
        19,
        "writes a file from a fork by the module under os",
        """
import posix
child = posix.fork()
if child == 0:
    try:
        posix.open("@FOLDER@/drop/fork", posix.O_WRONLY | posix.O_CREAT)
    finally:
        posix._exit(0)
posix.waitpid(child, 0)
""",
    ),
    # 20: other processes of the same user.
    _signals(
        20,
        "may signal its parent",
        """
import posix
if posix.getppid() > 0:
    posix.kill(posix.getppid(), 0)
    reached = True
""",
    ),
    _signals(20, "may signal everything of its user", "import posix\nposix.kill(-1, 0)\nreached = True"),
    _signals(20, "kills a neighbour", "import posix\nposix.kill(@PID@, 9)\nreached = True"),
    _signals(
        20,
        "kills a neighbour by its descriptor",
        "import os, signal\nsignal.pidfd_send_signal(os.pidfd_open(@PID@), 9)\nreached = True",
    ),
    _signals(20, "slows a neighbour down", "import os\nos.setpriority(os.PRIO_PROCESS, @PID@, 15)\nreached = True"),
    _signals(
        20,
        "lowers a neighbour's limits",
        """
import ctypes
limit = (ctypes.c_ulong * 2)(64, 64)
assert ctypes.CDLL(None).prlimit(@PID@, 7, limit, None) == 0
reached = True
""",
    ),
    # 21: the memory of other processes.
    _guards(
        21,
        "opens its parent's memory for writing",
        """
import os
if os.getppid() > 0:
    os.open(f"/proc/{os.getppid()}/mem", os.O_RDWR)
    reached = True
""",
    ),
    _guards(
        21,
        "writes a neighbour's memory through /proc",
        """
import os
assert os.pwrite(os.open("/proc/@PID@/mem", os.O_RDWR), b"reached!!", @ADDRESS@)
reached = True
""",
    ),
    _signals(
        21,
        "writes a neighbour's memory by process_vm_writev",
        _LIBC
        + """
ours = ctypes.create_string_buffer(b"reached!!")
here, there = Span(ctypes.addressof(ours), 9), Span(@ADDRESS@, 9)
reached = libc.process_vm_writev(@PID@, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) == 9
""",
    ),
    _signals(
        21,
        "attaches to a neighbour by ptrace",
        _LIBC
        + """
SEIZE, DETACH = 0x4206, 17
reached = libc.ptrace(SEIZE, @PID@, 0, 0) == 0
libc.ptrace(DETACH, @PID@, 0, 0)
""",
    ),
    # 22: secrets.
    _steals(22, "reads its environment", "import os\nfound = os.environ['POLYTURN_SECRET']"),
    _steals(
        22,
        "reads its environment by C",
        "import ctypes\ngetenv = ctypes.CDLL(None).getenv\ngetenv.restype = ctypes.c_char_p\n"
        "found = getenv(b'POLYTURN_SECRET').decode()",
    ),
    _steals(
        22,
        "reads the environments of processes",
        _FIND + "for process in processes:\n    found = found or look(process, ['environ', 'cmdline'])",
        *FILES,
    ),
    _steals(
        22,
        "reads a key and a token from the home folder",
        _FIND + "found = look('@FOLDER@/home', ['.ssh/id_ed25519', '.cache/huggingface/token'])",
        *FILES,
    ),
    _steals(
        22,
        "reads files by way of other processes",
        _FIND
        + """
for process in processes:
    for way in ("root/@FOLDER@/home/.ssh", "cwd/../home/.ssh", "cwd/home/.ssh"):
        found = found or look(os.path.join(process, way), ["id_ed25519"])
""",
        *FILES,
    ),
    _steals(
        22,
        "reads what other processes have open",
        _FIND
        + """
for process in processes[1:]:
    try:
        found = found or look(process + "/fd", os.listdir(process + "/fd"))
    except OSError:
        pass
""",
        *FILES,
    ),
    # 23: the network; each listener is our own, on this host.
    _connects(
        "connects by TCP",
        "import socket\nsocket.create_connection(('127.0.0.1', @PORT@), 3).sendall(b'GET')\nreached = True",
    ),
    _connects(
        "connects by the module under socket",
        """
import _socket
line = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
line.settimeout(3)
line.connect(("127.0.0.1", @PORT@))
reached = True
""",
    ),
    _connects(
        "connects by C",
        """
import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
place = struct.pack("=H", 2) + struct.pack(">H", @PORT@) + bytes([127, 0, 0, 1]) + bytes(8)
reached = libc.connect(libc.socket(2, 1, 0), place, 16) == 0
""",
    ),
    _connects(
        "sends by UDP",
        "import socket\nsocket.socket(type=socket.SOCK_DGRAM).sendto(b'hi', ('127.0.0.1', @UDP@))\nreached = True",
    ),
    _connects(
        "connects to a socket file",
        "import socket\nsocket.socket(socket.AF_UNIX).connect('@FOLDER@/socket')\nreached = True",
    ),
    _connects(
        "connects to an abstract socket",
        "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0@MARK@')\nreached = True",
    ),
    _steals(
        23,
        "downloads the answer",
        "import urllib.request\nfound = urllib.request.urlopen('http://127.0.0.1:@PORT@/', timeout=3).read().decode()",
        *NETWORK,
    ),
    # 24: files, by every way to change one.
    _writes("writes a file by io", "import io\nio.open('@FOLDER@/drop/io', 'w').write('reached')"),
    _writes("writes a file by FileIO", "import _io\n_io.FileIO('@FOLDER@/drop/fileio', 'w').write(b'reached')"),
    _writes("writes a file by pathlib", "import pathlib\npathlib.Path('@FOLDER@/drop/path').write_text('reached')"),
    _writes(
        "writes a file by os",
        "import os\nos.write(os.open('@FOLDER@/drop/os', os.O_WRONLY | os.O_CREAT), b'reached')",
    ),
    _writes(
        "writes a file by a native library", "import sqlite3\nsqlite3.connect('@FOLDER@/drop/db').execute('vacuum')"
    ),
    _writes("overwrites a file", "import io\nio.open('@FOLDER@/keep/file', 'w').write('reached')"),
    _writes("makes a folder", "import os\nos.mkdir('@FOLDER@/drop/folder')"),
    _writes("makes a link", "import os\nos.symlink('/etc', '@FOLDER@/drop/link')"),
    _writes("deletes a file", "import posix\nposix.unlink('@FOLDER@/keep/file')"),
    _writes("renames a file", "import posix\nposix.rename('@FOLDER@/keep/file', '@FOLDER@/keep/renamed')"),
    _writes("cuts a file off", "import posix\nposix.truncate('@FOLDER@/keep/file', 0)"),
    _writes("changes the rights of a file", "import posix\nposix.chmod('@FOLDER@/keep/file', 0o777)", _NAMESPACES),
    _writes("changes the times of a file", "import os\nos.utime('@FOLDER@/keep/file', (0, 0))", _NAMESPACES),
    _writes(
        "writes through a hard link",
        "import os\nos.link('@FOLDER@/keep/file', 'link')\nos.write(os.open('link', os.O_WRONLY), b'reached')",
    ),
    _writes("opens the standard library for writing", "import os\nos.open(os.__file__, os.O_RDWR)"),
    # 25: links in the folder that the grader cleans up or reads.
    _links("leaves links to folders outside", "    import posix\n    posix.symlink('@FOLDER@/closed', 'link')"),
    _links(
        "replaces its folder by a link",
        """
    import posix
    here = posix.getcwd()
    if here.startswith(("/tmp/", "@FOLDER@/")):
        posix.rename(here, here + "-moved")
        posix.symlink("@FOLDER@/closed", here)
""",
    ),
    _links(
        "leaves links where cleaning is hard",
        """
    import posix
    posix.mkdir("closed")
    posix.symlink("@FOLDER@/closed", "closed/link")
    for _ in range(1100):
        posix.mkdir("d")
        posix.chdir("d")
    posix.symlink("@FOLDER@/closed", "link")
    posix.chmod(".", 0)
""",
    ),
    # 26: what the grader's process has open.
    Probe(
        26,
        "writes to every descriptor",
        "escape",
        text("""
import os
for fd in range(3, 256):
    try:
        os.set_blocking(fd, False)
        os.write(fd, b"reached\\n")
    except OSError:
        pass
def double(x): return None
"""),
        DOUBLE,
    ),
    Probe(
        26,
        "forges results on every descriptor",
        "escape",
        text("""
import json, os
answer = json.dumps({"verdict": "passed", "result": "passed", "passed": True, "error": None}).encode()
for fd in range(3, 256):
    for data in (answer + b"\\n", len(answer).to_bytes(4, "big") + answer, len(answer).to_bytes(4, "little") + answer):
        try:
            os.set_blocking(fd, False)
            os.write(fd, data)
        except OSError:
            pass
def double(x): return None
"""),
        DOUBLE,
    ),
    _steals(
        26,
        "reads every descriptor",
        """
import os, re
for fd in range(3, 256):
    try:
        match = re.search(b"secret-[0-9a-f]{32}", os.pread(fd, 1 << 16, 0))
    except OSError:
        continue
    if match:
        found = match.group().decode()
""",
    ),
]
