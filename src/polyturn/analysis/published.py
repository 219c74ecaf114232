"""Scores that others published, to be shown beside our own and never mixed with them.

`published.json` holds them, rates from 0 to 1. A row is `verified` where its figures were read in the source that it
names; the others are quoted at second hand, and `source` says so. Protocols differ from ours in what docs/statistics.md
and docs/benchmarks.md say, so a difference of a few points means nothing.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from polyturn.bench.results import Run


@dataclass(frozen=True)
class Published:
    """One row of a published table. size: parameters, as the authors name them. mode: as ours. pass_at: by k."""

    benchmark: str
    model: str
    size: str | None
    mode: str
    pass_rate: float | None
    pass_at: dict[str, float]
    verified: bool
    source: str

    @property
    def name(self) -> str:
        """Model and size."""
        return f"{self.model} {self.size}" if self.size else self.model


def published(benchmarks: Iterable[str]) -> list[Published]:
    """The rows of these benchmarks, in the order of the published tables; none for benchmarks without any."""
    wanted = set(benchmarks)
    return [row for row in map(lambda record: Published(**record), _data()["rows"]) if row.benchmark in wanted]


def protocol(benchmark: str) -> str:
    """How the published scores of a benchmark came about."""
    return _data()["protocol"][benchmark]


def is_published_data(run: Run) -> bool:
    """Whether a run is of the problems that the published scores are of, as far as ids tell.

    MTPB is known by its shape, as for the errata, HumanEval by its ids, all 164 of them. HumanEval+ has the same ids,
    and other tests.
    """
    if run.benchmark == "mtpb":
        return run.settings.get("errata_version") is not None
    return run.benchmark == "humaneval" and set(run.scores) == {f"HumanEval/{number}" for number in range(164)}


@cache
def _data() -> dict[str, Any]:
    return json.loads((files("polyturn.analysis") / "published.json").read_text(encoding="utf-8"))
