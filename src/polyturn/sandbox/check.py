"""What isolation this host gives, and whether it holds: asked of the kernel, then tried.

That a layer could be engaged says little; a program that does what the layer is to prevent says more. So the
self-test runs programs with known verdicts, and probes that try to get out and tell how far they came. A grader should
run it before it grades (`ensure_sound`): one that fails every program, or passes every one, looks like a result.
"""

import os
import socket
import tempfile
from dataclasses import dataclass

from .functions import grade_function
from .layers import LAYERS, hides_host, reason, required
from .limits import DEFAULT_ISOLATION, Isolation, Limits, SandboxError
from .pool import close_idle, start_worker
from .run import run_program
from .worker import Worker, WorkerDied

_LIMITS = Limits(cpu_s=0.5, memory_mb=256, output_bytes=1 << 16)


@dataclass(frozen=True)
class LayerState:
    """A layer on this host: whether a worker engaged it, whether level `full` demands it, why it is missing."""

    name: str
    blocks: str
    engaged: bool
    demanded: bool
    missing_because: str = ""


@dataclass(frozen=True)
class Finding:
    """One part of the self-test: what was tried, whether it came out as it must, and what came out."""

    name: str
    ok: bool
    outcome: str


def layer_states() -> list[LayerState]:
    """Every layer, on level `full` as far as this host gives it, else on level `light`."""
    try:
        full, missing = _engaged("full")
        states = full
        if not hides_host(full):
            states, of_light = _engaged("light")
            missing = of_light | missing
    except (WorkerDied, OSError) as error:
        states, missing = (), {"process": str(error)}
    demanded = required("full")
    return [
        LayerState(name, blocks, name in states, name in demanded, "" if name in states else reason(name, missing))
        for name, blocks in LAYERS.items()
        if name in demanded or name in states or name == "cgroup"
    ]


def _engaged(level: str) -> tuple[tuple[str, ...], dict[str, str]]:
    worker = Worker(level, Isolation(packages=()), _LIMITS.memory_mb)
    worker.close()
    return worker.layers, worker.missing


def self_test(isolation: Isolation = DEFAULT_ISOLATION) -> list[Finding]:
    """Run programs that must pass, programs that must not, and probes that must be contained.

    Raises SandboxError if this host does not give the isolation.
    """
    start_worker(isolation, _LIMITS.memory_mb).close()
    close_idle()  # the workers must be started by a caller that has something to hide
    os.environ["POLYTURN_CANARY"] = "secret"
    try:
        return _findings(isolation)
    finally:
        del os.environ["POLYTURN_CANARY"]
        close_idle()


def _findings(isolation: Isolation) -> list[Finding]:
    findings = [_try(name, program, expected, verdict, isolation) for name, program, expected, verdict in _VERDICTS]
    findings += [_try_functions(name, program, verdict, isolation) for name, program, verdict in _FUNCTIONS]
    with (
        tempfile.TemporaryDirectory(prefix="polyturn-check-") as folder,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        canary = os.path.join(folder, "canary")
        with open(canary, "w") as file:
            file.write("secret")
        for name, attempt in _probes(canary, server.getsockname()[1]).items():
            result = run_program(_PROBE.format(attempt=attempt), _LIMITS, isolation=isolation)
            outcome = result.stdout.strip() or result.verdict
            findings.append(Finding(name, outcome.startswith(("refused", "forbidden")), outcome))
        with open(canary) as file:
            untouched = file.read() == "secret"
        findings.append(Finding("the canary file is as it was", untouched, "untouched" if untouched else "changed"))
    return findings


def ensure_sound(isolation: Isolation = DEFAULT_ISOLATION) -> None:
    """SandboxError unless the self-test comes out as it must: nothing graded here could be trusted."""
    for finding in self_test(isolation):
        if not finding.ok:
            raise SandboxError(
                f"the sandbox failed its self-test on this host ({finding.name}: {finding.outcome}); "
                "`polyturn sandbox check` shows all of it"
            )


def _try(name: str, program: str, expected: object, verdict: str, isolation: Isolation) -> Finding:
    result = run_program(program, _LIMITS, expected=expected, isolation=isolation)
    return Finding(name, result.verdict == verdict, result.verdict)


def _try_functions(name: str, program: str, verdict: str, isolation: Isolation) -> Finding:
    result = grade_function(program, _CHECK, "triple", _LIMITS, isolation=isolation)
    return Finding(name, result.verdict == verdict, result.verdict)


_VERDICTS = (
    ("a right program passes", "print(6 * 7)", 42, "passed"),
    ("a wrong program fails", "print(6 * 8)", 42, "wrong"),
    ("a broken program is an error", "print(6 * )", 42, "error"),
    ("an endless program times out", "print(42)\nwhile True: pass", 42, "timeout"),
    ("a memory bomb is stopped", "print(42)\nx = [0] * 10**10", 42, "memory"),
    ("a flood of output is stopped", "while True: print(42)", 42, "output-limit"),
)
_CHECK = "def check(candidate):\n    assert candidate(3) == 9\n"
_LIAR = "class Liar:\n    def __eq__(self, other):\n        return True\ndef triple(x):\n    return Liar()"
_FUNCTIONS = (
    ("a right function passes its tests", "def triple(x):\n    return 3 * x", "passed"),
    ("a wrong function fails its tests", "def triple(x):\n    return 4 * x", "wrong"),
    ("an answer equal to everything fails", _LIAR, "wrong"),
    ("a function that exits fails", "import os\ndef triple(x):\n    os._exit(0)", "error"),
)
_PROBE = """\
import ctypes, os, signal, socket, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def call(number):
    if number < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return number
try:
    print("got", {attempt})
except (OSError, KeyError) as error:
    print("refused:", type(error).__name__)
"""


def _probes(canary: str, port: int) -> dict[str, str]:
    """What is tried -> an expression that succeeds if it got out."""
    return {
        "reading a host file": f"open({canary!r}).read()",
        "writing a host file": f"open({canary!r}, 'w').write('changed')",
        "reading the caller's environment": "os.environ['POLYTURN_CANARY']",
        "reading /proc of the caller": f"open('/proc/{os.getpid()}/environ').read()",
        "signalling the caller": f"os.kill({os.getpid()}, 0)",
        "connecting to a host port": f"socket.create_connection(('127.0.0.1', {port}), 1)",
        "starting a program": "subprocess.run(['/bin/true'])",
        "becoming root": "os.setuid(0)",
        "tracing a process": "call(libc.ptrace(16, os.getppid(), 0, 0))",
        "mounting a file system": "call(libc.mount(b'x', b'/tmp', b'tmpfs', 0, None))",
        "making a user namespace": "os.unshare(os.CLONE_NEWUSER)",
    }
