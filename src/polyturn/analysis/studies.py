"""The tables of a run's studies: how programs ended, where they broke, what ended their turns, perplexity of prompts.

A folder holds them as `turns.json` (`bench/breaks.py`) and `perplexity.json` (`analysis/perplexity.py`). A report shows
them for the first grader of each run. A study of perplexity that was made of other samples or scores than are there now
is left out, and that is said.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polyturn.analysis.tables import Table, heat
from polyturn.bench.benchmarks import place
from polyturn.bench.results import Run
from polyturn.utils.errors import UserError, reason

SCHEMA = 1
ENDED = ("passed", "wrong", "syntax", "name", "type", "value", "import", "other", "timeout", "memory", "context")

type Record = dict[str, Any]


def read_study(folder: str | Path, file: str) -> list[Record]:
    """The runs of a study, none if it was not made. Raises UserError for one that is damaged or of another version."""
    path = Path(folder) / file
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged ({reason(error)}); grade the samples again with `polyturn bench grade`."
        ) from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or not isinstance(content.get("runs"), list):
        raise UserError(f"{path} is of another version; grade the samples again with `polyturn bench grade`.")
    return content["runs"]


def perplexities(folder: str | Path, runs: Sequence[Run]) -> tuple[list[Record], list[str]]:
    """The studies of perplexity that fit the runs, and the modes of stale ones. Raises UserError like `read_study`."""
    there = {run.fingerprint for run in runs}
    studies = read_study(folder, "perplexity.json")
    fresh = [study for study in studies if study.get("of") in there]
    return fresh, [study["mode"] for study in studies if study.get("of") not in there]


def study_tables(folder: str | Path, runs: Sequence[Run]) -> list[Table]:
    """All tables of a folder's studies; runs: its results. Raises UserError like `read_study`."""
    turns = read_study(folder, "turns.json")
    turns.sort(key=lambda run: (*place(run["mode"], run["grader"]), run["temperature"] or 0.0))
    grader = turns[0]["grader"] if turns else ""
    tables = [_endings(grader, [run for run in turns if run["grader"] == grader])] if turns else []
    for mode in dict.fromkeys(run["mode"] for run in turns):
        of_mode = [run for run in turns if run["grader"] == grader and run["mode"] == mode and run["turns"]]
        if of_mode:
            tables += [_turns(of_mode)] if mode == "multi" else []
            tables += [_cuts(mode, of_mode)]
    studies, stale = perplexities(folder, runs)
    studies.sort(key=lambda study: place(study["mode"], study["grader"]))
    if studies or stale:
        tables.append(_prompts(studies, stale, any(run.mode == "oracle" for run in runs)))
        tables += _by_turns(studies)
    return tables


def _endings(grader: str, runs: Sequence[Record]) -> Table:
    seen = {name for run in runs for name in run["outcomes"]}
    names = [name for name in ENDED if name in seen] + sorted(seen - set(ENDED))
    rows = []
    for run in runs:
        total = sum(run["outcomes"].values())
        shares = [_percent(run["outcomes"].get(name, 0), total) for name in names]
        rows.append([run["mode"], heat(run["temperature"]), str(total), *shares])
    notes = ["Percent of all programs (in oracle, one for each turn), by verdict or kind of exception."]
    return Table(f"How programs ended, grader {grader}", ["mode", "T", "N", *names], rows, 1, notes)


def _turns(runs: Sequence[Record]) -> Table:
    rows = []
    for run in runs:
        for turn in run["turns"]:
            alive = _percent(turn["alive"], turn["written"])
            counts = [str(turn["turn"]), str(turn["written"]), alive, str(turn["blamed"])]
            rows.append([heat(run["temperature"]), *counts, _commonest(turn["broke"]) or "–"])
    notes = [
        "runs: percent of the programs that ran beyond this turn. broke: how others raised in it. blamed: programs "
        "that broke for it, here or in a later turn that misses a name of this one."
    ]
    unknown = [f"T {heat(run['temperature'])}: {_commonest(run['unknown'])}" for run in runs if run["unknown"]]
    if unknown:
        notes.append(f"Left out: programs that broke in a turn that is not known ({'; '.join(unknown)}).")
    return Table("Turn by turn, mode multi", ["T", "turn", "programs", "runs", "blamed", "broke"], rows, 1, notes)


def _cuts(mode: str, runs: Sequence[Record]) -> Table:
    rows = []
    for run in runs:
        samples: Counter[str] = Counter()
        passed: Counter[str] = Counter()
        for turn in run["turns"]:
            for rule, counts in turn["ended_by"].items():
                samples[rule] += counts["samples"]
                passed[rule] += counts["passed"]
        for rule, count in samples.most_common():
            rows.append([heat(run["temperature"]), rule, str(count), _percent(passed[rule], count)])
    notes = ["passed: percent of the programs in which a turn ended so. itself: the model ended it."]
    return Table(f"What ended turns, mode {mode}", ["T", "ended by", "turns", "passed"], rows, 2, notes)


def _prompts(runs: Sequence[Record], stale: Sequence[str], oracle: bool) -> Table:
    rows = [
        [run["mode"], heat(run["temperature"]), *(_mean(run[group]) for group in ("all", "passed", "not_passed"))]
        for run in runs
    ]
    notes = [
        "Mean over problems ± standard error (number of problems). passed: some sample of the problem passed. T: the "
        "lowest of the mode, whose samples tell what passed and, in multi, stand between the intents."
    ]
    if oracle:
        notes.append(
            "oracle is not there: its turns are asked one by one, each behind reference code for the turns before, so "
            "that no prompt holds the problem as the model meets it in the other modes."
        )
    if stale:
        notes.append(
            f"Left out: {', '.join(stale)}, studied of other samples or scores than are there now; "
            "`polyturn bench run` with --perplexity studies them anew."
        )
    return Table("Perplexity of prompts", ["mode", "T", "all", "passed", "not passed"], rows, 1, notes)


def _by_turns(runs: Sequence[Record]) -> list[Table]:
    counts = sorted({int(turns) for run in runs for turns in run["by_turns"]})
    if not counts:
        return []
    rows = [[str(count), *(_mean(run["by_turns"].get(str(count))) for run in runs)] for count in counts]
    return [Table("Perplexity by number of turns", ["turns", *(run["mode"] for run in runs)], rows, 1)]


def _commonest(counts: dict[str, int]) -> str:
    """Names with their counts, the commonest first."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "–"


def _mean(group: Record | None) -> str:
    if not group or group["mean"] is None:
        return "–"
    error = "" if group["standard_error"] is None else f" ± {group['standard_error']:.3g}"
    return f"{group['mean']:.4g}{error} ({group['problems']})"
