"""Grades programs as the grader that was released with the paper does, defects included, but isolated.

For scores that are to be compared with the paper's. docs/graders.md has the rules, and how `strict.py` differs. The
emulation agrees with the released script on every program of tests/bench/test_original.py, which also says how to
compare with the script itself.

Who does what: the child runs the program and casts what it printed to each type that an expected value can have
(`original_child.py`); the supervisor picks the cast that the expected value's type calls for, and compares. The
expected value never leaves the supervisor.
"""

import math
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from polyturn.bench.in_child import child_source
from polyturn.bench.original_child import REPORT, casts
from polyturn.sandbox import Isolation, Limits, ProgramError, Result, run_programs
from polyturn.sandbox.limits import DEFAULT_ISOLATION, DEFAULT_LIMITS

ALARM_S = 20.0
_REPORT_BYTES = 8 << 20  # more than a report can have
_NUMERIC = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()


def grade_original(
    jobs: Iterable[tuple[str, object]],
    limits: Limits = DEFAULT_LIMITS,
    workers: int = 1,
    isolation: Isolation = DEFAULT_ISOLATION,
    alarm_s: float = ALARM_S,
) -> Generator[Result, None, None]:
    """Grade programs, each with its expected JSON value, and yield the results in order.

    limits: what the sandbox holds the program to. Output is not limited, as it was not; a clock that is shorter than
        the alarm is made a little longer than it.
    alarm_s: wall seconds until a program is interrupted. What it printed before counts all the same.

    `passed`: the value printed last is accepted, even if the program raised later. `wrong`: it is not. `error`,
    `timeout`: it is not, and the program raised, or was interrupted. `last_text` is the value's text, `stdout` the
    first 10,000 characters written; `printed` is empty.

    Raises SandboxError where this host does not give the isolation.
    """
    expected: deque[object] = deque()

    def sources() -> Iterator[str]:
        for source, gold in jobs:
            expected.append(gold)
            yield child_source("original_child.py", f"({source!r}, {float(alarm_s)!r})")

    with closing(run_programs(sources(), limits_in_force(limits, alarm_s), workers, isolation)) as results:
        for result in results:
            yield _judged(result, expected.popleft())


def limits_in_force(limits: Limits, alarm_s: float = ALARM_S) -> Limits:
    """What the sandbox holds a program to that the alarm interrupts: no clock ends it before."""
    backstop = 1.25 * alarm_s + 1
    return replace(
        limits,
        cpu_s=max(limits.cpu_s, backstop),
        wall_s=max(limits.wall_clock_s, backstop),
        output_bytes=_REPORT_BYTES,
    )


def accepts(value: object, gold: object) -> bool:
    """Whether a program that printed `value`, a plain Python value, passes where `gold` is expected."""
    return _equivalent(casts(value), gold)


def _judged(result: Result, gold: object) -> Result:
    """The verdict on what a child reported; without a report, what the sandbox says of the program's end."""
    report: Any = next((call[0] for call in reversed(result.printed) if _is_report(call)), None)
    if report is None:
        if result.verdict != "passed":
            return result
        error = ProgramError("SystemExit", "it left before its end")
        return replace(result, verdict="error", error=error, stdout="", printed=(), last_text="")
    _, error, output, value, series = report
    text = value[0][0] if value is not None and value[0] else ""
    seen = replace(result, verdict="wrong", error=None, stdout=output, printed=(), last_text=text)
    if _equivalent(value, gold) if series is None else _all_close(series, gold):
        return replace(seen, verdict="passed")
    if error is None:
        return seen
    name, message, line = error
    verdict = {"TimeoutException": "timeout", "MemoryError": "memory"}.get(name, "error")
    return replace(seen, verdict=verdict, error=ProgramError(name, message, line))


def _is_report(call: tuple[object, ...]) -> bool:
    """Whether it is a report that a child writes, or a program that forged one: it may choose its own answer."""
    match call:
        case ((str() as name, None | (str(), str(), int() | None), str(), value, None | tuple()),):
            casts_fit = value is None or (
                isinstance(value, tuple)
                and len(value) == 4
                and all(isinstance(cast, tuple) and len(cast) < 2 for cast in value)
                and all(isinstance(part, str) for part in value[0])
            )
            return name == REPORT and casts_fit
    return False


def _equivalent(value: tuple[Any, ...] | None, gold: object) -> bool:
    """The comparison of the cast that the expected value's type calls for. Other types than these never pass."""
    if value is None:
        return False
    text, number, real, items = value
    if isinstance(gold, bool):
        return text == (str(gold),)
    if isinstance(gold, str):
        return text == (gold,)
    if isinstance(gold, int):
        return number == (gold,)
    if isinstance(gold, float):
        return bool(real) and isinstance(real[0], float) and abs(real[0] - gold) < 1e-6
    return isinstance(gold, list) and bool(items) and _equal(items[0], gold)


def _equal(items: object, gold: list[object]) -> bool:
    """Python's == of the printed list and the expected one; where that raises, the program fails."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numpy, about comparisons of arrays that it will change
            return bool(_rebuilt(items) == gold)
    except Exception:
        return False


def _all_close(series: tuple[Any, ...], gold: object) -> bool:
    """Whether numpy's allclose holds for a Series and the expected value, broadcast."""
    import numpy

    try:
        return bool(numpy.allclose(_rebuilt(series), numpy.array(gold)))
    except Exception:
        return False


def _rebuilt(item: Any) -> Any:
    """The value of its plain form (`original_child`), with numpy arrays where they were."""
    if isinstance(item, list):
        return [_rebuilt(each) for each in item]
    if isinstance(item, dict):
        return {key: _rebuilt(each) for key, each in item.items()}
    if not isinstance(item, tuple) or not item:
        return item
    import numpy

    _, kind, shape, flat = item
    if math.prod(shape) != len(flat):
        raise ValueError("not an array")
    array = numpy.empty(len(flat), dtype=object)
    for at, each in enumerate(flat):
        array[at] = _rebuilt(each)
    return array.astype(kind if kind in _NUMERIC else object).reshape(shape)
