"""Why the strict grader says otherwise than the released one: the classes of docs/graders.md, each with its rule.

A rule looks at the program, the expected value and what was seen when the program ran, and says whether the class
explains a disagreement. `PASSES` names the grader that passes a program of the class, or both where either may.
"""

import ast
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from polyturn.sandbox import Opaque, Result

TAKEN_AWAY = ("getcwd", "rmtree", "Popen", "os.remove", "resource", "tkinter", "exit", "quit")


@dataclass(frozen=True)
class Seen:
    """A program, what was expected, whether the released grader passes it, and how it ran under each of ours."""

    source: str
    gold: object
    released: bool
    original: Result
    strict: Result

    @property
    def value(self) -> object:
        """What it printed last, to the strict grader."""
        return self.strict.last_value

    @property
    def last(self) -> ast.stmt | None:
        """Its last statement."""
        return self.statements[-1] if self.statements else None

    @property
    def statements(self) -> list[ast.stmt]:
        """Its statements; none if it is not a program."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(self.source).body
        except (SyntaxError, ValueError):
            return []

    @property
    def called(self) -> str:
        """The name that its last statement calls, if that is what it does."""
        value = getattr(self.last, "value", None)
        return getattr(value.func, "id", "") if isinstance(value, ast.Call) else ""


def _raised(seen: Seen) -> bool:
    return seen.strict.verdict in ("error", "memory") and bool(seen.original.last_text)


def _interrupted(seen: Seen) -> bool:
    return seen.strict.verdict == "timeout"


def _cast(seen: Seen) -> bool:
    return seen.strict.verdict == "wrong" and bool(seen.strict.printed) and _kind(seen.value) != _kind(seen.gold)


def _several(seen: Seen) -> bool:
    return bool(seen.strict.printed) and len(seen.strict.printed[-1]) > 1


def _nothing_printed_last(seen: Seen) -> bool:
    return bool(seen.strict.printed) and seen.strict.printed[-1] == ()


def _assigned(seen: Seen) -> bool:
    assigns = isinstance(seen.last, ast.Assign | ast.AnnAssign | ast.AugAssign)
    return assigns and not seen.called.startswith("print")


def _none_last(seen: Seen) -> bool:
    shows_none = isinstance(seen.last, ast.Expr) and not seen.called.startswith("print")
    return shows_none and seen.original.last_text == "None" and seen.value is not None


def _called_print_something(seen: Seen) -> bool:
    return isinstance(seen.last, ast.Expr) and seen.called.startswith("print") and seen.called != "print"


def _changed_later(seen: Seen) -> bool:
    same_kind = isinstance(seen.value, list | dict) and _kind(seen.value) == _kind(seen.gold)
    prints = [at for at, each in enumerate(seen.statements) if ast.unparse(each).startswith("print(")]
    return same_kind and bool(prints) and prints[-1] < len(seen.statements) - 1


def _unseen_by_one(seen: Seen) -> bool:
    names = ("file=", "redirect_stdout", "builtins.print", "sys.stdout = None", "def print(")
    return any(name in seen.source for name in names)


def _in_reach(seen: Seen) -> bool:
    return any(
        name in seen.source
        for name in ("print_stack", "builtins", "globals()", "print.", "signature(print)", "sys.stdout.")
    )


def _star(seen: Seen) -> bool:
    value = getattr(seen.last, "value", None)
    return isinstance(value, ast.Starred)


def _taken_away(seen: Seen) -> bool:
    return any(name in seen.source for name in TAKEN_AWAY)


def _type_refused(seen: Seen) -> bool:
    return seen.gold is None or isinstance(seen.gold, dict)


def _tuple_inside(seen: Seen) -> bool:
    return _holds(seen.value, lambda item: isinstance(item, tuple)) and isinstance(seen.gold, list)


def _array_inside(seen: Seen) -> bool:
    is_python = seen.original.last_text == repr(seen.value)  # as for a bare array, which both graders take apart
    return isinstance(seen.gold, list) and "np." in seen.source and not is_python


def _relative(seen: Seen) -> bool:
    """Both graders saw the same numbers, and some are close in one sense only."""
    return any(
        isinstance(got, float) and isinstance(gold, float) and got != gold and math.isclose(got, gold, rel_tol=2e-6)
        for got, gold in _leaves(seen.value, seen.gold)
    )


def _tiny(seen: Seen) -> bool:
    got, gold = seen.value, seen.gold
    return isinstance(got, float) and isinstance(gold, float) and 0 < abs(got - gold) < 1e-6 and abs(gold) < 1


def _not_finite(seen: Seen) -> bool:
    return any(isinstance(gold, float) and not math.isfinite(gold) for _, gold in _leaves(seen.value, seen.gold))


def _equal_kinds_inside(seen: Seen) -> bool:
    both = isinstance(seen.value, list) and isinstance(seen.gold, list)
    return both and any(_kind(got) != _kind(gold) for got, gold in _leaves(seen.value, seen.gold))


def _series(seen: Seen) -> bool:
    return "pandas" in seen.source


def _deep(seen: Seen) -> bool:
    return seen.original.error is not None and seen.original.error.type == "RecursionError"


RELEASED, STRICT, EITHER = "released", "strict", "either"
CLASSES: dict[str, tuple[str, Callable[[Seen], bool]]] = {
    "raised after printing": (RELEASED, _raised),
    "interrupted after printing": (RELEASED, _interrupted),
    "cast to the expected type": (RELEASED, _cast),
    "series": (RELEASED, _series),
    "changed after printing": (EITHER, _changed_later),
    "assignment at the end": (EITHER, _assigned),
    "several arguments": (EITHER, _several),
    "seen by one only": (EITHER, _unseen_by_one),
    "within reach of the program": (EITHER, _in_reach),
    "functions taken away": (EITHER, _taken_away),
    "equal in Python, of other types": (RELEASED, _equal_kinds_inside),
    "small numbers": (RELEASED, _tiny),
    "bare star": (RELEASED, _star),
    "relative tolerance": (STRICT, _relative),
    "not finite": (STRICT, _not_finite),
    "None at the end": (STRICT, _none_last),
    "print without arguments": (STRICT, _nothing_printed_last),
    "calls print-something": (STRICT, _called_print_something),
    "dict or null expected": (STRICT, _type_refused),
    "tuples inside": (STRICT, _tuple_inside),
    "arrays inside": (STRICT, _array_inside),
    "recursion near the limit": (STRICT, _deep),
}


def explanations(seen: Seen) -> list[str]:
    """The classes that explain why the strict grader disagrees with the released one."""
    passing = RELEASED if seen.released else STRICT
    return [name for name, (passes, rule) in CLASSES.items() if passes in (passing, EITHER) and rule(seen)]


def _kind(value: object) -> str:
    return "list" if isinstance(value, tuple) else type(value).__name__


def _holds(value: object, wanted: Callable[[object], bool]) -> bool:
    """Whether a container holds such a value, at any depth."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list | tuple):
        return False
    return any(wanted(item) or _holds(item, wanted) for item in value)


def _leaves(got: object, gold: object) -> list[tuple[object, object]]:
    """The values that stand at the same place in both."""
    if isinstance(got, list | tuple) and isinstance(gold, list) and len(got) == len(gold):
        return [pair for g, w in zip(got, gold, strict=True) for pair in _leaves(g, w)]
    if isinstance(got, dict) and isinstance(gold, dict) and got.keys() == gold.keys():
        return [pair for key in gold for pair in _leaves(got[key], gold[key])]
    return [(got, gold)] if not isinstance(got, Opaque) or not isinstance(gold, list) else []
