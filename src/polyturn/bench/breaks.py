"""Where programs break, turn by turn: which turn, in which way, and which earlier turn is to blame.

Python stops at the first exception, so a program breaks at one turn: the one whose line raised. A `NameError` there is
often the fault of an earlier turn that did not define the name; the turn whose intent speaks of that name first is
taken as its root. Some breaks have no line (a timeout, a killed process): their turn is unknown, and they are counted
apart. What ended a turn's text (`truncate`) is set against whether its program passed: a rule that cuts
good code shows there. A program that ran to its end and printed a wrong value has no turn to blame.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from polyturn.bench.mtpb import Problem
from polyturn.bench.samples import Key, Sample
from polyturn.bench.script import turn_lines
from polyturn.synthesis.truncate import parses

_CLASSES = {
    "syntax": ("SyntaxError", "IndentationError", "TabError"),
    "name": ("NameError", "UnboundLocalError"),
    "type": ("TypeError", "AttributeError"),
    "value": ("ValueError", "IndexError", "KeyError", "ZeroDivisionError", "OverflowError"),
    "import": ("ImportError", "ModuleNotFoundError"),
}
_CLASS_OF = {error: name for name, errors in _CLASSES.items() for error in errors}


def class_of(record: Mapping[str, Any]) -> str:
    """How a graded program failed: a class of exceptions, `other` for another one, or its verdict."""
    if record["verdict"] != "error" or record["error"] is None:
        return record["verdict"]
    return _CLASS_OF.get(record["error"]["type"].rpartition(".")[2], "other")


def broken_turn(problem: Problem, sample: Sample, record: Mapping[str, Any]) -> int | None:
    """The turn, from 1, whose line raised; None where that is not known."""
    line = record["error"] and record["error"]["line"]
    if line is None:
        return None
    turns = turn_lines(problem, sample.key.case, sample.codes)
    return next((number for number, lines in enumerate(turns, 1) if line in lines), None)


def root_turn(problem: Problem, case: int, turn: int, record: Mapping[str, Any]) -> int:
    """The turn to blame: for a missing name the first whose intent speaks of it, up to `turn` itself."""
    missing = re.search(r"name '(\w+)'", record["error"]["message"])
    if class_of(record) != "name" or missing is None:
        return turn
    spoken = re.compile(rf"\b{re.escape(missing[1])}\b")
    intents = problem.intents(case)[:turn]
    return next((number for number, intent in enumerate(intents, 1) if spoken.search(intent)), turn)


def analyse(
    problems: Mapping[str, Problem], samples: Sequence[Sample], graded: Mapping[Key, Mapping[str, Any]]
) -> dict[str, Any]:
    """The table of breaks of one set of samples, as JSON types.

    problems: by id; empty for benchmarks without turns, of which only `outcomes` is told.

    Returns:
        outcomes: count of samples by `class_of`.
        unknown: breaks whose turn is not known, by class.
        turns: for each turn from 1: `written`, how many programs have it that were run, less those of `unknown`;
            `alive`, how many ran as far as its end, none of which was no Python; `broke`, by class; `blamed`, breaks
            whose root it is; `ended_by`, by rule: count, and how many passed.
    """
    outcomes = Counter(class_of(graded[s.key]) for s in samples)
    turns: defaultdict[int, dict[str, Any]] = defaultdict(
        lambda: {"written": 0, "alive": 0, "broke": Counter(), "blamed": 0, "ended_by": {}}
    )
    unknown: Counter[str] = Counter()
    for sample in samples:
        record = graded[sample.key]
        problem = problems.get(sample.key.task)
        if problem is None:
            continue
        for offset, rule in enumerate(sample.ended_by):
            place = turns[offset + (sample.key.turn or 1)]
            ends = place["ended_by"].setdefault(rule or "itself", {"samples": 0, "passed": 0})
            ends["samples"] += 1
            ends["passed"] += record["verdict"] == "passed"
        if sample.too_long or not sample.ended_by or len(sample.codes) != len(problem.prompts):
            continue  # not run, another tool's, written at once, or one turn alone
        turn = broken_turn(problem, sample, record)
        if turn is None and record["verdict"] not in ("passed", "wrong"):
            unknown[class_of(record)] += 1
            continue
        started = parses(sample.completion)
        for number in range(1, len(sample.codes) + 1):
            turns[number]["written"] += 1
            turns[number]["alive"] += started and (turn is None or number < turn)
        if turn is not None:
            turns[turn]["broke"][class_of(record)] += 1
            turns[root_turn(problem, sample.key.case, turn, record)]["blamed"] += 1
    return {
        "outcomes": dict(sorted(outcomes.items())),
        "unknown": dict(sorted(unknown.items())),
        "turns": [
            {
                "turn": number,
                **place,
                "broke": dict(sorted(place["broke"].items())),
                "ended_by": dict(sorted(place["ended_by"].items())),
            }
            for number, place in sorted(turns.items())
        ],
    }
