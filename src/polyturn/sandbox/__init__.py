"""Runs programs nobody has read, in a process of their own, and tells the truth about what they did.

    from polyturn.sandbox import Limits, run_program
    result = run_program("print(6 * 7)", Limits(cpu_s=2), expected=42)
    result.verdict, result.printed          # 'passed', ((42,),)

Each program runs in a fresh Python process started by exec, with a clean environment, its own session and
temporary folder, and limits on CPU time, memory, output and file size. The parent holds the expected values
and compares; what comes back from the child is length-prefixed, size-capped JSON of plain built-in values,
and nothing is ever unpickled or executed in the parent. `Result.layers` names what was really in force.

**This is not yet a security boundary.** It contains accidents and greed: endless loops, memory bombs, floods
of output, crashes, forged results, processes left behind. It does not contain intent. A program runs as the
same user as the caller, so it can

- read and write any file that user can, fill the disk with many files, and read the caller's memory or
  environment through /proc;
- signal or kill the caller and the user's other processes;
- use the network;
- start many processes until the wall clock ends it: the limit on processes does not bind for root, and exists
  on Linux only;
- outlive its run by starting a process with a different environment in a new session (processes that merely
  daemonise themselves are found and killed, on Linux);
- on macOS, use more memory than its limit: that system does not enforce one.

A caller that is killed outright leaves the temporary folder of its last run behind (the child dies with it).

Run programs from a model you do not trust in a container or a virtual machine. `run_batch` shares one process
among many programs and is only for programs that we generated ourselves.

The room imports nothing of the rest of the package and only the standard library. `numpy` is loaded in a
child when the program imports it.
"""

TYPE_CHECKING = False  # typing.TYPE_CHECKING, without importing typing: every child loads this file
if TYPE_CHECKING:
    from .batch import run_batch
    from .check import Finding, LayerState, ensure_sound, layer_states, self_test
    from .exec_file import ExecSummary, exec_file
    from .functions import FunctionJob, grade_function, grade_functions
    from .layers import lacking
    from .limits import Isolation, Limits, SandboxError
    from .result import UNSET, ProgramError, Result
    from .run import run_program, run_programs
    from .values import Opaque, same_value

_HOMES = {
    "lacking": "layers",
    "LayerState": "check",
    "Finding": "check",
    "self_test": "check",
    "layer_states": "check",
    "ensure_sound": "check",
    "ExecSummary": "exec_file",
    "FunctionJob": "functions",
    "Isolation": "limits",
    "Limits": "limits",
    "Opaque": "values",
    "ProgramError": "result",
    "Result": "result",
    "SandboxError": "limits",
    "UNSET": "result",
    "exec_file": "exec_file",
    "grade_function": "functions",
    "grade_functions": "functions",
    "run_batch": "batch",
    "run_program": "run",
    "run_programs": "run",
    "same_value": "values",
}

__all__ = [
    "UNSET",
    "ExecSummary",
    "Finding",
    "FunctionJob",
    "Isolation",
    "LayerState",
    "Limits",
    "Opaque",
    "ProgramError",
    "Result",
    "SandboxError",
    "ensure_sound",
    "exec_file",
    "grade_function",
    "grade_functions",
    "lacking",
    "layer_states",
    "run_batch",
    "run_program",
    "run_programs",
    "same_value",
    "self_test",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import os
    from importlib import import_module

    if os.name != "posix" and _HOMES[name] not in ("limits", "values"):
        from .limits import SandboxError

        raise SandboxError("the sandbox needs Linux or macOS: run programs there, or in a container")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # found at once from now on
    return value
