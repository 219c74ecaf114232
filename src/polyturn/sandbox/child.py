"""The process that runs a program: forked by the zygote and confined, one request in, one frame per program out.

Descriptors 0 to 2 are the program's; 3 holds the request, marshalled by the supervisor, which is trusted; 4 takes the
results, JSON in frames of a 4-byte length and that many bytes; 5, where there is one, is the channel to the other
child of the same job (`calls.py`). All but the channel are files in memory, so that nobody waits for anybody to read.
Where the process dies before it has told its outcome, the supervisor says so.

A program gets what `python program.py` would give it: a fresh `__main__`, its threads awaited, its exit handlers run
and its objects finalised before the outcome is sent. It also gets builtins of its own (a copy), so that one that
replaces `len` does not break the reporting, nor in a batch the programs after it.
"""

from __future__ import annotations

import atexit
import builtins
import gc
import io
import marshal
import os
import sys
import time
from _sitebuiltins import Quitter, _Helper

from . import guard
from .calls import NoFunctionError, Peer, Remote, RemoteError
from .failure import PROGRAM, complain, describe, own_excepthook, show_source
from .record import CappedBytes, Recorder, text_stream
from .values import dumps, quote  # pyright: ignore[reportPrivateImportUsage]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

REQUEST, RESULTS, CHANNEL = 3, 4, 5  # descriptors
_Module = type(sys)
_write, _exit, _getpid, _waitpid, _sleep, _kill = os.write, os._exit, os.getpid, os.waitpid, time.sleep, os.kill
_clock = time.perf_counter


def prepare() -> None:
    """Make this interpreter look as a program expects it. Called once, in the zygote, after its last import."""
    sys.dont_write_bytecode = True
    for name in [name for name in sys.modules if name.partition(".")[0] == __name__.partition(".")[0]]:
        del sys.modules[name]  # ours, and not for programs to import
    sys.argv = [PROGRAM]
    for name in ("exit", "quit"):  # what `site` adds, which -S leaves out
        setattr(builtins, name, Quitter(name, "Ctrl-D (i.e. EOF)"))
    builtins.help = _Helper()
    stdout: Any = sys.stdout
    stdout.reconfigure(line_buffering=True)  # what was printed outlives a killed process
    _seed("random")


def read_request() -> dict[str, Any]:
    """What this process, which is confined already, is to do."""
    request = marshal.loads(_read_file(REQUEST))
    os.close(REQUEST)
    os.set_inheritable(RESULTS, False)
    return request


def main(request: dict[str, Any]) -> None:
    """Serve the request and exit."""
    if request["mode"] == "batch":
        _leave_first_process()
        home = os.getcwd()
        for source in request["programs"]:
            guard.start_timers(request["cpu_s"], request["wall_s"])
            _run_captured(source, request["output_bytes"], home)
        _exit(0)
    recorder = Recorder(request["output_bytes"])
    (source,) = request["programs"]
    peer = Peer(CHANNEL) if request["mode"] == "tests" else None
    if request["mode"] == "called":
        outcome = _run(source, recorder, after=lambda outcome, namespace: _be_called(outcome, namespace, recorder))
    elif peer is not None:
        outcome = _run(source, recorder, before=lambda namespace: _meet_program(namespace, request, peer))
    else:
        outcome = _run(source, recorder)
    if not outcome.told:
        guard.release_reserve()
        if request["mode"] != "program":
            _insist_on_the_end(outcome)
        if peer is not None and peer.trouble is not None:
            _note(outcome, peer.trouble, source)  # whatever the tests made of it
        _send(_frame(outcome, recorder, stdout=b"", stderr=b""))
    _end_the_rest()
    _exit(0)


def _end_the_rest() -> None:
    """End what the program started and did not wait for, and wait for it: its CPU time would be lost with us."""
    if _getpid() != 1:
        return  # it could start nothing, and -1 would be more than what it started
    guard.count_children()
    try:
        while True:
            _kill(-1, 9)
            _waitpid(-1, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def _be_called(outcome: Outcome, namespace: dict[str, Any], recorder: Recorder) -> None:
    """Tell that the program has run, then answer calls of its functions until nobody is there to call.

    Then it waits to be ended: to end by itself, at any time, is what a program does that leaves in a call.
    """
    _send(_frame(outcome, recorder, stdout=b"", stderr=b""))
    outcome.told = True
    if sys.getrecursionlimit() == outcome.recursion:
        sys.setrecursionlimit(outcome.recursion + 2)  # in one process, two of the tests' frames: here, four of our own
    Peer(CHANNEL, namespace).serve()
    while True:
        _sleep(3600)


def _meet_program(namespace: dict[str, Any], request: dict[str, Any], peer: Peer) -> None:
    """Give the tests what they may call: the prelude's own, the entry point, and the program's for other names."""
    exec(compile(request["prelude"], "<prelude>", "exec", dont_inherit=True), namespace)
    entry_point = request["entry_point"]
    wanted = set(request["names"]) - namespace.keys() - set(dir(builtins)) | {entry_point}
    namespace.update(peer.globals(sorted(wanted)))
    if not isinstance(namespace.get(entry_point), Remote):
        raise NoFunctionError(f"the program has no function {entry_point}")


def _insist_on_the_end(outcome: Outcome) -> None:
    """A program or test that left early (sys.exit) has not done what it was to do, whatever its exit code."""
    if outcome.verdict == "passed" and not outcome.ended:
        outcome.verdict = "error"
        outcome.error = {"type": "SystemExit", "message": "it left before its end", "line": None, "traceback": ""}


def _leave_first_process() -> None:
    """Go on in a child: signals without a handler, those of timers included, do not reach a namespace's first process.

    That one waits, and ends with 128 plus the number of the signal that ended the other, as shells have it.
    """
    pid = os.fork() if _getpid() == 1 else 0
    if pid:
        status = os.waitstatus_to_exitcode(_waitpid(pid, 0)[1])
        _exit(status if status >= 0 else 128 - status)


def _read_file(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    data = os.read(fd, size)
    while len(data) < size:
        data += os.read(fd, size - len(data))
    return data


def _seed(source: str) -> None:
    """Start the generators of random numbers afresh, if the program may use them."""
    if "random" in source:
        for name in ("random", "numpy.random"):
            if name in sys.modules:
                sys.modules[name].seed(0)


def _run_captured(source: str, output_bytes: int, home: str) -> None:
    """Run one program of a batch: its output goes to memory, for the pipes are shared by all.

    Afterwards this process ends itself, and the parent starts another for the rest, if the program may have
    left something behind that the next would notice: threads, processes, exit handlers, files, another
    working folder, exhausted memory.
    """
    handlers = atexit._ncallbacks()
    keep_stdin, keep_stdout, keep_stderr = sys.stdin, sys.stdout, sys.stderr
    begin = guard.cpu_seconds(), _clock()

    def too_much() -> None:
        outcome = Outcome("output-limit", *begin)
        _send(_frame(outcome, recorder, stdout.getvalue(), stderr.getvalue()))
        _exit(0)

    stdout, stderr = CappedBytes(output_bytes, too_much), CappedBytes(output_bytes, too_much)
    sys.stdin = io.StringIO("")
    sys.stdout = text_stream(stdout, "surrogateescape")
    sys.stderr = text_stream(stderr, "backslashreplace")
    recorder = Recorder(output_bytes)
    _seed(source)
    outcome = _run(source, recorder)
    sys.stdin, sys.stdout, sys.stderr = keep_stdin, keep_stdout, keep_stderr
    spoilt = (
        _has_children()
        or outcome.verdict == "memory"
        or atexit._ncallbacks() != handlers
        or ("threading" in sys.modules and sys.modules["threading"].active_count() != 1)
        or _working_folder() != home
        or bool(os.listdir(home))
    )
    _send(_frame(outcome, recorder, stdout.getvalue(), stderr.getvalue()))
    if spoilt:
        _exit(0)


def _working_folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # the program removed it
        return ""


class Outcome:
    """How a program ended."""

    def __init__(self, verdict: str, cpu: float, wall: float) -> None:
        """`cpu` and `wall` are the clocks at its start."""
        self.verdict = verdict
        self.cpu = cpu
        self.wall = wall
        self.error: dict[str, Any] | None = None
        self.status = 0  # its exit code, where its parent is a program
        self.ended = False  # whether its last statement was reached
        self.told = False  # whether its frame was sent
        self.shown = False  # whether its error was shown by a hook of its own
        self.recursion = 1000  # the limit it was given: what Python has, and as many frames as there are of our own
        frame = sys._getframe(1)
        while frame is not None:
            self.recursion += 1
            frame = frame.f_back


def _run(
    source: str,
    recorder: Recorder,
    before: Callable[[dict[str, Any]], None] | None = None,
    after: Callable[[Outcome, dict[str, Any]], None] | None = None,
) -> Outcome:
    """Run a program to its end, and as the interpreter would beyond.

    before, after: get its globals, at the beginning, and when its last statement has been reached.
    """
    outcome = Outcome("passed", guard.cpu_seconds(), _clock())
    pid = _getpid()
    main_module = _Module("__main__")
    own_builtins = _Module("builtins")
    builtins.print = recorder.printer()
    own_builtins.__dict__.update(builtins.__dict__)
    namespace = main_module.__dict__
    namespace["__builtins__"] = own_builtins
    namespace["__file__"] = PROGRAM
    sys.excepthook = own_excepthook
    show_source(source)
    sys.modules["__main__"], sys.modules["builtins"] = main_module, own_builtins
    try:
        if before is not None:
            before(namespace)
        code = compile(source, PROGRAM, "exec", dont_inherit=True)
        sys.setrecursionlimit(outcome.recursion)
        exec(code, namespace)
        outcome.ended = True
        if after is not None and _getpid() == pid:
            after(outcome, namespace)
    except SystemExit as stop:
        if isinstance(stop, RemoteError):  # of the program that these tests called
            _note(outcome, stop, source)
        elif stop.code not in (None, 0):
            if isinstance(stop.code, int):
                outcome.status = stop.code & 0xFF
            else:
                complain(stop.code)
            _note(outcome, stop, source)
    except BaseException as error:
        _note(outcome, error, source)
    try:
        _finish(namespace, source)
    except BaseException as error:
        if outcome.error is None:
            _note(outcome, error, source)
    if _getpid() != pid:  # a copy made with os.fork: it exits as it would, and reports and runs nothing more
        if outcome.error is not None and outcome.error["traceback"] and not outcome.shown:
            complain(outcome.error["traceback"].rstrip())
        _flush()
        _exit(outcome.status)
    _flush()
    return outcome


def _finish(namespace: dict[str, Any], source: str) -> None:
    """What the interpreter does at its end: wait for threads, run exit handlers, let go of the globals."""
    sys.settrace(None)
    sys.setprofile(None)
    sys.setrecursionlimit(1000)
    threading = sys.modules.get("threading")
    if threading is not None and threading.active_count() > 1:
        threading._shutdown()
    atexit._run_exitfuncs()
    for name in list(namespace):
        if name != "__builtins__":
            namespace[name] = None
    if "__del__" in source:
        gc.collect()


def _note(outcome: Outcome, error: BaseException, source: str) -> None:
    """Put the error into the outcome."""
    outcome.status = outcome.status or 1
    outcome.verdict = "memory" if isinstance(error, MemoryError) else "error"
    if outcome.verdict == "memory":
        guard.release_reserve()
    sys.setrecursionlimit(1000)
    outcome.error, shown = describe(error, source)
    outcome.shown |= shown
    if isinstance(error, RemoteError):
        outcome.error["remote"] = True


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            continue  # the program closed or replaced it


def _has_children() -> bool:
    """Whether processes that the program started are still there (those it daemonised too, on Linux)."""
    try:
        while _waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    except ChildProcessError:
        return False


def _frame(outcome: Outcome, recorder: Recorder, stdout: bytes, stderr: bytes) -> str:
    fields = {
        "verdict": outcome.verdict,
        "stdout": stdout.decode("utf-8", "replace"),
        "stderr": stderr.decode("utf-8", "replace"),
        "cpu": guard.cpu_seconds() - outcome.cpu,
        "wall": _clock() - outcome.wall,
        "memory": guard.peak_memory_mb(),
    }
    error = "null" if outcome.error is None else "{" + _members(outcome.error) + "}"
    return f'{{{_members(fields)},"text":{recorder.last_text()},"error":{error},"printed":{recorder.calls()}}}'


def _members(fields: dict[str, Any]) -> str:
    return ",".join(
        [f'"{name}":{quote(value) if isinstance(value, str) else dumps(value)}' for name, value in fields.items()]
    )


def _send(frame: str) -> None:
    text = frame.encode("ascii")
    data = memoryview(len(text).to_bytes(4, "big") + text)
    try:
        while data:
            data = data[_write(RESULTS, data) :]
    except OSError:  # the program closed the file, or there is no room
        _exit(1)
