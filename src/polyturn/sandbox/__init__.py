"""Runs programs nobody has read, in a process of their own, and tells the truth about what they did.

    from polyturn.sandbox import Limits, run_program
    result = run_program("print(6 * 7)", Limits(cpu_s=2), expected=42)
    result.verdict, result.printed          # 'passed', ((42,),)

Each program runs in a process of its own, forked from a warm interpreter and confined by namespaces, seccomp, Landlock
and limits before its first line. The parent holds the expected values and compares; what comes back is size-capped
JSON of plain built-in values, and nothing is ever unpickled or executed in the parent. `Result.layers` names what was
really in force; a layer that this host refuses is an error, unless weaker isolation is allowed. docs/sandbox.md says
against whom this holds, what each layer does, and what is not covered.

`run_batch` shares one confined process among many programs and is only for programs that we generated ourselves.

The room imports nothing of the rest of the package and only the standard library.
"""

TYPE_CHECKING = False  # typing.TYPE_CHECKING, without importing typing: every child loads this file
if TYPE_CHECKING:
    from .batch import run_batch
    from .check import Finding, LayerState, ensure_sound, layer_states, self_test
    from .compare import same_value
    from .exec_file import ExecSummary, exec_file
    from .functions import FunctionJob, grade_function, grade_functions
    from .layers import lacking
    from .limits import Isolation, Limits, SandboxError
    from .result import UNSET, ProgramError, Result
    from .run import run_program, run_programs
    from .values import Opaque

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
    "same_value": "compare",
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
