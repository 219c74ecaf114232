"""Programs that stop a grader, or make it say what is not so: rows 27 and 30 to 43 of the catalogue.

Contained means: the verdict is the right one, it comes in bounded time, nothing is left running, and the next honest
program is graded right. Some of these are honest themselves and must pass.
"""

from .probe import BOTH, DOUBLE, LISTED, PASSED, REFUSED, Probe, Style, Task, doubles_if, returns, text

_FAILS = frozenset({"error", "memory", "timeout"})
_ENDS = frozenset({"error", "wrong"})
_TIMEOUT = frozenset({"timeout"})
_ANY = REFUSED | PASSED

_RIGHT = "\ndef double(x): return 2 * x\n"


def _denial(
    row: int,
    name: str,
    source: str,
    contained: frozenset[str],
    task: Task = DOUBLE,
    styles: tuple[Style, ...] = BOTH,
    *held_by: str,
    **options: int,
) -> Probe:
    program = source if row == 27 else text(source)
    return Probe(row, name, "denial", program, task, contained, styles, held_by=held_by, **options)  # pyright: ignore


def _compile(name: str, source: str, contained: frozenset[str] = _FAILS) -> Probe:
    return _denial(27, name, source, contained)


def _spins(row: int, name: str, before: str, loop: str = "while True: pass") -> Probe:
    body = "\n    ".join(loop.splitlines())
    return _denial(row, name, f"{before}\ndef double(x):\n    {body}", _TIMEOUT)


# A process that has left the group, the session and the terminal, and holds what it inherited.
_DAEMON = """
import posix, time
child = posix.fork()
if child == 0:
    posix.setsid()
    if posix.fork() == 0:
        time.sleep(18)
    posix._exit(0)
posix.waitpid(child, 0)
"""

DENIALS = [
    # 27: before a program runs, it is compiled.
    _compile("100,000 brackets, one in another", "x = " + "(" * 100_000 + ")" * 100_000),
    _compile("a million signs before a number", "x = " + "-" * 1_000_000 + "1"),
    _compile("a chain of 200,000 attributes", "x = a" + ".b" * 200_000),
    _compile("a sum of 100,000 terms", "x = 1" + "+1" * 100_000, _ANY),
    _compile("500,000 lists", "x = [" + "[]," * 500_000 + "]", _ANY),
    _compile("an integer of 100,000 digits", "x = " + "9" * 100_000),
    _compile("half a character", "x = '\ud800'"),
    _compile("a zero byte", "x = 1\0\nprint(42)"),
    _compile(
        "constants that fold into gigabytes",
        "def unused(): return ('x' * 4096 * 4096 * 4096, 2 ** 2 ** 2 ** 2 ** 2 ** 2, (0,) * 10 ** 12)" + _RIGHT,
        PASSED,
    ),
    # 30: the death of its process.
    _denial(30, "exits", "import sys\ndef double(x): sys.exit(3)", _ENDS),
    _denial(30, "leaves", "import os\ndef double(x): os._exit(3)", _ENDS),
    _denial(30, "aborts", "import os\ndef double(x): os.abort()", _ENDS),
    _denial(30, "reads at address 0", "import ctypes\ndef double(x): return ctypes.string_at(0)", _ENDS),
    _denial(30, "kills itself", "import posix\ndef double(x): posix.kill(posix.getpid(), 9)", REFUSED),
    _denial(30, "stops itself", "import posix\ndef double(x): posix.kill(posix.getpid(), 19)", REFUSED),
    _denial(30, "recurses without end", "def double(x): return double(x) + 1", _ENDS),
    _denial(
        30,
        "recurses without end or limit",
        "import sys\nsys.setrecursionlimit(2**31 - 1)\ndef double(x): return double(x) + 1",
        REFUSED,
    ),
    _denial(
        30,
        "overflows the stack of C",
        """
import ctypes
call = ctypes.CFUNCTYPE(ctypes.c_int)
def double(x):
    again = call(lambda: again())
    return again()
""",
        REFUSED,
    ),
    _denial(
        30,
        "raises what is no Exception",
        "class Stop(BaseException): pass\ndef double(x): raise Stop",
        _ENDS,
    ),
    _denial(
        30,
        "raises what has no text",
        """
class Mute(Exception):
    def __str__(self): raise Mute
    __repr__ = __str__
def double(x): raise Mute
""",
        _ENDS,
    ),
    # 31 to 33: the clock.
    _spins(31, "swallows whatever stops it", "", "while True:\n    try:\n        while True: pass\n    except: pass"),
    _spins(
        31,
        "swallows whatever stops it, and prints the answer first",
        "print(42)",
        "while True:\n    try:\n        while True: pass\n    except BaseException: return 2 * x",
    ),
    _spins(32, "cancels the alarm", "import signal\nfor timer in range(3): signal.setitimer(timer, 0)"),
    _spins(
        32,
        "ignores every signal",
        """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
""",
    ),
    _denial(32, "sleeps", "import time\ndef double(x): time.sleep(15)", _TIMEOUT),
    _spins(33, "counts for ever in C", "import collections, itertools", "collections.deque(itertools.count(), 0)"),
    _spins(33, "matches for ever in C", "import re", "re.match('(a|a)*b', 'a' * 60)"),
    _spins(33, "multiplies for ever in C", "", "return 3 ** 10 ** 8"),
    # 34 and 35: processes.
    _denial(
        34,
        "starts 50 processes and answers",
        "import posix, time\nfor _ in range(50):\n    if posix.fork() == 0: time.sleep(18), posix._exit(0)" + _RIGHT,
        _ANY,
    ),
    _denial(
        34,
        "starts processes that start others and end",
        """
import posix, time
end = time.monotonic() + 18
if posix.fork() == 0:
    while time.monotonic() < end:
        if posix.fork():
            posix._exit(0)
        posix.setsid()
        time.sleep(0.1)
    posix._exit(0)
"""
        + _RIGHT,
        _ANY,
    ),
    _denial(35, "leaves a daemon", _DAEMON + _RIGHT, _ANY),
    _denial(35, "leaves a daemon and dies", _DAEMON + "posix.kill(posix.getpid(), 9)", REFUSED),
    _denial(
        35,
        "leaves a daemon with another environment",
        """
import posix, sys
if posix.fork() == 0:
    posix.setsid()
    posix.execve(sys.executable, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(18)"], {})
"""
        + _RIGHT,
        _ANY,
    ),
    # 36: threads.
    _denial(
        36,
        "leaves a thread asleep",
        "import threading, time\nthreading.Thread(target=time.sleep, args=[15]).start()" + _RIGHT,
        _ANY,
    ),
    _denial(
        36,
        "leaves a thread at work",
        """
import threading
def work():
    while True: pass
threading.Thread(target=work, daemon=True).start()
"""
        + _RIGHT,
        _ANY,
    ),
    _denial(
        36,
        "works for ever on its way out",
        "import atexit, time\natexit.register(time.sleep, 15)" + _RIGHT,
        _ANY,
    ),
    # 37: memory. Three quarters of a gigabyte is three times what is allowed.
    _denial(37, "takes a lot of memory", "block = b'x' * (768 << 20)" + _RIGHT, _FAILS),
    _denial(
        37,
        "takes a lot of memory bit by bit",
        "blocks = [b'x' * (1 << 20) + bytes([i % 256]) for i in range(768)]" + _RIGHT,
        _FAILS,
    ),
    _denial(37, "asks for more memory than there is", "def double(x): return bytes(1 << 50)", _FAILS),
    _denial(
        37,
        "takes a lot of memory with eight processes",
        doubles_if("""
import posix, time
tell, said = posix.pipe()
for _ in range(8):
    if posix.fork() == 0:
        try:
            block = b"x" * (96 << 20)
            posix.write(said, b"a")
            time.sleep(1)
            posix.write(said, b"z")
        finally:
            posix._exit(0)
posix.close(said)
heard = b""
while part := posix.read(tell, 16):
    heard += part
reached = heard == b"a" * 8 + b"z" * 8
"""),
        REFUSED,
        DOUBLE,
        BOTH,
        "cgroup",
    ),
    # 38: honest programs under a limit that was reckoned wrong.
    Probe(
        38,
        "computes with numpy",
        "denial",
        text("""
import numpy
def answer():
    rows = numpy.arange(10000.0).reshape(100, 100)
    return float((rows @ rows.T).trace())
"""),
        returns(333283335000.0),
        PASSED,
        needs=("numpy",),
    ),
    _denial(
        38,
        "uses 64 MiB while its grader holds gigabytes",
        "def double(x): return len(bytes(64 << 20)) and 2 * x",
        PASSED,
        ballast_mb=2000,
    ),
    _denial(
        38,
        "uses eight threads",
        """
from concurrent.futures import ThreadPoolExecutor
def double(x):
    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(lambda _: x, range(2)))
""",
        PASSED,
    ),
    # 39: output. Four mebibytes are sixteen times what is allowed.
    _denial(
        39,
        "floods stdout",
        "import os\nfor _ in range(64): os.write(1, b'x' * 65536)" + _RIGHT,
        frozenset({"output-limit"}),
    ),
    _denial(
        39,
        "floods stderr",
        "import os\nfor _ in range(64): os.write(2, b'x' * 65536)" + _RIGHT,
        frozenset({"output-limit"}),
    ),
    _denial(
        39,
        "prints without end",
        "def double(x):\n    for _ in range(64): print('x' * 65536)\n    return 2 * x",
        frozenset({"output-limit"}),
    ),
    _denial(
        39,
        "answers with a long list",
        "def double(x): return list(range(10**6))",
        REFUSED,
    ),
    _denial(
        39,
        "answers with a list inside itself",
        "def double(x):\n    xs = []\n    xs.append(xs)\n    return xs",
        REFUSED,
    ),
    _denial(
        39,
        "answers with a list 100,000 deep",
        "def double(x):\n    xs = []\n    for _ in range(100_000): xs = [xs]\n    return xs",
        REFUSED,
    ),
    _denial(
        39,
        "answers with a list that doubles 40 times",
        "def double(x):\n    xs = [0]\n    for _ in range(40): xs = [xs, xs]\n    return xs",
        REFUSED,
    ),
    _denial(
        39,
        "answers with items that never end",
        "import time\ndef countdown(n):\n    while True:\n        time.sleep(0.01)\n        yield n",
        REFUSED,
        LISTED,
        ("function",),
    ),
    # 40: input.
    _denial(40, "asks for input", "def double(x): return int(input())", _ENDS),
    _denial(40, "reads its stdin", "import os\ndef double(x): return 2 * x if os.read(0, 1) == b'' else None", PASSED),
    # 41: disks.
    _denial(
        41,
        "makes a file of a tebibyte without content",
        doubles_if("import os\nos.truncate(os.open('sparse', os.O_RDWR | os.O_CREAT), 1 << 40)\nreached = True"),
        REFUSED,
    ),
    _denial(
        41,
        "makes 8,000 files",
        doubles_if("import os\nfor i in range(8000): os.close(os.open(str(i), os.O_CREAT))\nreached = True"),
        REFUSED,
        DOUBLE,
        BOTH,
        "namespaces",
    ),
    _denial(
        41,
        "leaves 8 MiB and dies",
        "import os\nos.write(os.open('big', os.O_WRONLY | os.O_CREAT), b'x' * (8 << 20))\nos.abort()",
        REFUSED,
    ),
    _denial(
        41,
        "dumps its memory",
        "import os, sys\nsys.modules.pop('resource', None)\nimport resource\n"
        "most = resource.getrlimit(resource.RLIMIT_CORE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (most, most))\nos.abort()",
        REFUSED,
    ),
    # 42: what is used up over many programs.
    _denial(
        42,
        "leaves folders that cannot be removed",
        "import posix\nposix.mkdir('a')\nposix.close(posix.open('a/b', posix.O_CREAT))\nposix.chmod('a', 0)" + _RIGHT,
        _ANY,
    ),
    _denial(
        42,
        "opens files until there are no more",
        "import os\nfiles = []\ntry:\n    while len(files) < 5000: files.append(os.open('.', os.O_RDONLY))\n"
        "except OSError: pass" + _RIGHT,
        _ANY,
    ),
    _denial(
        42,
        "leaves 40 zombies",
        "import posix\nfor _ in range(40):\n    if posix.fork() == 0: posix._exit(0)" + _RIGHT,
        _ANY,
    ),
    _denial(42, "dies 20 times", "import os\nos._exit(1)", _ENDS, DOUBLE, ("function",), repeats=20),
    # 43: verdicts that depend on the load, the hour and the dice.
    _denial(
        43,
        "waits for longer than its CPU time",
        "import time\ndef double(x):\n    if x == 21: time.sleep(@WAIT@)\n    return 2 * x",
        PASSED,
    ),
    _denial(
        43,
        "asks whether the order of a set is always the same",
        """
import os, sys
fixed = os.environ.get("PYTHONHASHSEED", "random") != "random" or not sys.flags.hash_randomization
def double(x): return 2 * x if fixed else None
""",
        PASSED,
    ),
    _denial(
        43,
        "throws dice",
        "import random\ndie = random.random()\ndef double(x): return 2 * x if die < 0.5 else None",
        _ANY,
        repeats=12,
    ),
]
