"""What became of one program: the verdict, what it printed, its error, what it used, and what held it.

Verdicts are the parent's. A child only says how its program ended (`passed`, `error`, `memory`, `output-limit`), and
the parent believes that as far as it agrees with what was seen from outside: the clock, the files, the exit.
"""

import signal
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from .compare import same_value
from .limits import Limits
from .record import ERROR_TEXT, ERROR_TYPE, most_nodes
from .values import check, count_nodes, parse, shown, to_tree
from .worker import Ending

type Verdict = Literal["passed", "wrong", "error", "timeout", "memory", "output-limit", "forbidden", "internal-error"]

UNSET: Final = object()
"""Stands for "no value", expected or printed, since None can be either."""

_FATAL = (signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS)  # how a process without memory dies


@dataclass(frozen=True)
class ProgramError:
    """Why a program did not run to its end.

    type: the exception's class, or one of Exit, Signal, TimeLimit, MemoryLimit, OutputLimit, BadResult,
        SystemCall, SandboxError.
    line: of the program, from 1, where one is to blame; of the tests, where those found it (`grade_function`).
    traceback: as Python prints it, the program's frames only; or what its own `sys.excepthook` wrote to stderr.
    remote: it was raised by the program in a call, and not caught by the tests that made the call.
    """

    type: str
    message: str
    line: int | None = None
    traceback: str = ""
    remote: bool = False


@dataclass(frozen=True)
class Result:
    """The outcome of one program.

    verdict: `passed`: it ran to its end (and the value matched, if one was expected); `wrong`: it did, and the value
        did not match; `error`: an exception, a non-zero exit or a crash; `timeout`, `memory`, `output-limit`: it went
        over a limit; `forbidden`: it tampered with the reporting, or made a system call that only an attack makes;
        `internal-error`: the sandbox failed, not the program, so that this must not be scored.
    stdout, stderr: what it wrote, as UTF-8, up to the output limit.
    printed: the arguments of each call of `print` to stdout, as they were then: plain built-in values, and `Opaque`
        for anything else, and for what is too large to keep (`record.Recorder`; what a program can print in full within
        its output limit rarely is). Where a program has printed too much in all, the first call stands for those that
        were left out: one `Opaque` that tells their number. Empty unless it came to an end that it could report.
    last_text: the text of the last call of `print` that had arguments, without its end.
    error: None for `passed` and `wrong`.
    cpu_s, wall_s: seconds; cpu_s with the processes that it started (`Limits` says which).
    memory_mb: peak resident memory, MiB, with the interpreter's.
    layers: the isolation really engaged.
    """

    verdict: Verdict
    stdout: str = ""
    stderr: str = ""
    printed: tuple[tuple[object, ...], ...] = ()
    last_text: str = ""
    error: ProgramError | None = None
    cpu_s: float = 0.0
    wall_s: float = 0.0
    memory_mb: float = 0.0
    layers: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """One line of bounded length, whatever was printed."""
        shorts = [f"{name}={shown(getattr(self, name))}" for name in ("stdout", "stderr", "last_text", "error")]
        last = shown(self.printed[-1]) if self.printed else "none"
        shorts += [f"printed={len(self.printed)} calls, the last {last}", f"cpu_s={self.cpu_s:.3g}"]
        return f"Result({self.verdict!r}, {', '.join(shorts)}, wall_s={self.wall_s:.3g}, layers={self.layers})"

    def to_json(self) -> dict[str, Any]:
        """The result as JSON types; `printed` as tagged JSON (`values.py`), times to the microsecond."""
        return {
            "verdict": self.verdict,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "printed": [[to_tree(value) for value in call] for call in self.printed],
            "last_text": self.last_text,
            "error": None if self.error is None else asdict(self.error),
            "cpu_s": round(self.cpu_s, 6),
            "wall_s": round(self.wall_s, 6),
            "memory_mb": round(self.memory_mb, 1),
            "layers": list(self.layers),
        }

    @property
    def last_value(self) -> object:
        """The value printed last: the argument of the last print, or the text of one with several; else UNSET.

        Prints without arguments, which print no value, are passed over.
        """
        last = next((call for call in reversed(self.printed) if call), None)
        if last is None:
            return UNSET
        return last[0] if len(last) == 1 else self.last_text

    def judged(self, expected: object) -> "Result":
        """The result with `passed` made `wrong` unless `last_value` is the expected one (`compare.same_value`)."""
        if self.verdict != "passed":
            return self
        value = self.last_value
        match = value is not UNSET and same_value(value, expected)
        return self if match else replace(self, verdict="wrong")


def read_outcome(text: str, limits: Limits) -> Result:
    """The result that a child's frame tells. ValueError for a frame that no honest child sends.

    A program can forge it. So its values are counted before they are made, and no text is longer than an honest one.
    """
    if count_nodes(text, most_nodes(limits.output_bytes)) > most_nodes(limits.output_bytes):
        raise ValueError("it holds more values than a program may print")
    frame = parse(text)
    if not isinstance(frame, dict):
        raise ValueError("it is not an object")
    verdict = frame.get("verdict")
    if verdict not in ("passed", "error", "memory", "output-limit"):
        raise ValueError("the verdict is not one that a child gives")
    calls = frame.get("printed")
    if not isinstance(calls, list) or not all(isinstance(call, list) for call in calls):
        raise ValueError("printed is not a list of lists")
    check(calls, around=2)
    error = None if frame.get("error") is None else _read_error(frame["error"])
    if verdict == "output-limit":
        error = ProgramError("OutputLimit", "it wrote or printed more than the output limit")
    if (error is None) != (verdict == "passed"):
        raise ValueError("the error does not go with the verdict")
    return Result(
        verdict,
        stdout=_text(frame, "stdout", limits.output_bytes),
        stderr=_text(frame, "stderr", limits.output_bytes),
        printed=tuple(map(tuple, calls)),
        last_text=_text(frame, "text", limits.output_bytes),
        error=error,
        cpu_s=_number(frame, "cpu"),
        wall_s=_number(frame, "wall"),
        memory_mb=_number(frame, "memory"),
    )


def of_one(ending: Ending, limits: Limits, dismissed_is_well: bool = False) -> Result:
    """The result of a program that had a child to itself, from what was told and what was seen.

    dismissed_is_well: it was to answer calls after its outcome, until it was dismissed; otherwise it ended too early.
    """
    outcomes, flaw = read_frames(ending, 1, limits)
    if dismissed_is_well and outcomes and outcomes[0].verdict == "passed" and not ending.dismissed:
        outcomes = []
    failed = without_outcome(ending, limits, flaw)
    if not outcomes or ending.trouble or ending.flooded or flaw:
        return failed
    if not (dismissed_is_well and ending.dismissed) and (ending.status or ending.overspent or ending.overdue):
        return failed  # whatever it told: an honest child exits with 0 once it has told
    if (ending.exhausted or ending.starved) and outcomes[0].verdict == "error":
        return failed  # what it told is what came of it
    seen = replace(
        outcomes[0],
        stdout=failed.stdout,
        stderr=failed.stderr,
        cpu_s=failed.cpu_s,
        wall_s=failed.wall_s,
        memory_mb=failed.memory_mb,
        layers=failed.layers,
    )
    return in_time(seen, limits)


def read_frames(ending: Ending, most: int, limits: Limits) -> tuple[list[Result], str]:
    """The outcomes that a child wrote, at most that many, and what is wrong with the rest, if anything.

    A piece of a frame at the end is nothing wrong: the child was stopped while it wrote.
    """
    outcomes: list[Result] = []
    data, at = memoryview(ending.results), 0
    while len(data) - at >= 4:
        size = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 4 + size]
        if len(outcomes) == most:
            return outcomes, "a result after the last one"
        if at + 4 + size > ending.most_results:
            return outcomes, f"a result of {size} bytes"
        if len(body) < size:
            break
        at += 4 + size
        try:
            outcomes.append(read_outcome(str(body, "ascii"), limits))
        except (ValueError, RecursionError, ArithmeticError, TypeError) as error:
            return outcomes, f"a result that cannot be read: {error}"[:200]
    return outcomes, ""


def in_time(result: Result, limits: Limits) -> Result:
    """The result, with `passed` made `timeout` if the program ended by itself, but after its time.

    The zygote looks at the clock many times a second, not all the time, and without a cgroup does not see that of
    processes which the program starts until they have ended.
    """
    if result.verdict != "passed" or result.cpu_s <= limits.cpu_s:
        return result
    return replace(result, verdict="timeout", error=_too_long(limits))


def without_outcome(ending: Ending, limits: Limits, flaw: str = "") -> Result:
    """The result of the program that a child was running when it ended without telling, or was stopped.

    flaw: what was wrong with its telling.
    """
    verdict, error = _cause(ending, limits, flaw)
    return Result(
        verdict,
        stdout=ending.stdout.decode("utf-8", "replace"),
        stderr=ending.stderr.decode("utf-8", "replace"),
        error=error,
        cpu_s=ending.cpu_s,
        wall_s=ending.wall_s,
        memory_mb=ending.memory_mb,
        layers=ending.layers,
    )


def _cause(ending: Ending, limits: Limits, flaw: str) -> tuple[Verdict, ProgramError]:
    number = -ending.status
    if ending.trouble:
        return "internal-error", ProgramError("SandboxError", ending.trouble)
    if flaw:
        return "forbidden", ProgramError("BadResult", f"it tampered with the reporting: {flaw}")
    if ending.flooded:
        text = f"it wrote more than {limits.output_bytes} bytes to stdout or stderr"
        return "output-limit", ProgramError("OutputLimit", text)
    if ending.overspent or ending.cpu_s > limits.cpu_s or number == signal.SIGXCPU:
        return "timeout", _too_long(limits)
    if ending.exhausted:
        text = f"its processes together needed more than its limit of {limits.memory_mb} MiB"
        return "memory", ProgramError("MemoryLimit", text)
    if ending.starved:
        text = "the host ran out of memory, and killed processes of the program: run fewer workers, or with less memory"
        return "internal-error", ProgramError("SandboxError", text)
    if ending.overdue:
        text = f"it did not end within {limits.wall_clock_s:g} s of wall time"
        return "timeout", ProgramError("TimeLimit", text)
    if number == signal.SIGSYS:
        return "forbidden", ProgramError("SystemCall", "it made a system call that no honest program makes")
    if number in _FATAL and ending.memory_mb > 0.9 * limits.memory_mb:
        return "memory", ProgramError("MemoryLimit", f"it died at its limit of {limits.memory_mb} MiB")
    if number > 0:
        return "error", ProgramError("Signal", f"it was ended by {_signal_name(number)}")
    text = f"it left without reporting, by os._exit or the like, with exit code {ending.status}"
    return "error", ProgramError("Exit", text)


def _too_long(limits: Limits) -> ProgramError:
    return ProgramError("TimeLimit", f"it used more than {limits.cpu_s:g} s of CPU time")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _read_error(tree: Any) -> ProgramError:
    if not isinstance(tree, dict):
        raise ValueError("the error is not an object")
    line = tree.get("line")
    if line is not None and not (type(line) is int and 0 <= line < 1 << 31):
        raise ValueError("the line of the error is not the number of one")
    kind, message, trace = _text(tree, "type", ERROR_TYPE), _text(tree, "message"), _text(tree, "traceback")
    return ProgramError(kind, message, line, trace, tree.get("remote", False) is True)


def _text(tree: dict[str, Any], name: str, most: int = ERROR_TEXT) -> str:
    text = tree.get(name)
    if not isinstance(text, str) or len(text) > most:
        raise ValueError(f"{name} is not text, or a long one")
    return text.encode("utf-8", "backslashreplace").decode()  # without surrogates, which cannot be printed


def _number(tree: dict[str, Any], name: str) -> float:
    number = tree.get(name)
    if not isinstance(number, int | float) or isinstance(number, bool) or not 0 <= number < 1e15:
        raise ValueError(f"{name} is not a positive number, or a huge one")
    return float(number)
