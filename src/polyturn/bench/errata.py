"""The cases of MTPB that no right program can pass, or that a wrong one must: by id, case and class.

`errata.json` lists them; docs/graders.md explains the classes. A score is given for all cases, and beside it for the
fair ones, without these. The list is of the released file, which is known by its shape (`is_mtpb`), so that a mended
copy of it has the list too; files of another shape have no errata.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from polyturn.bench.mtpb import Problems


@dataclass(frozen=True)
class ErrataClass:
    """One kind of flaw. unfair: whether its cases are left out of fair scores. cases: (problem id, case from 1)."""

    name: str
    why: str
    unfair: bool
    cases: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Errata:
    """All classes, and the version of the list, which a score names."""

    version: int
    classes: tuple[ErrataClass, ...]


@cache
def errata() -> Errata:
    """The list that comes with the package."""
    data = json.loads(Path(__file__).with_name("errata.json").read_text(encoding="utf-8"))
    classes = [
        ErrataClass(
            each["class"],
            each["why"],
            each["unfair"],
            tuple((problem, case) for problem, cases in each["cases"].items() for case in cases),
        )
        for each in data["classes"]
    ]
    return Errata(data["version"], tuple(classes))


def is_mtpb(problems: Problems) -> bool:
    """Whether the errata apply: known by MTPB's shape, 115 problems with ids "1" to "115" and five cases each."""
    ids = sorted(problem.id for problem in problems.problems)
    return ids == sorted(map(str, range(1, 116))) and all(each.cases == 5 for each in problems.problems)


def unfair(problem_id: str, case: int) -> bool:
    """Whether a case of MTPB, counted from 1, is unfair. Ask `is_mtpb` of the file first."""
    return (problem_id, case) in _unfair()


@cache
def _unfair() -> frozenset[tuple[str, int]]:
    return frozenset(pair for each in errata().classes if each.unfair for pair in each.cases)
