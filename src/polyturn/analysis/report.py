"""The report of one or several folders of results: tables, Markdown, JSON or CSV.

    print(report(["runs/base", "runs/tuned"], "table"))

For each benchmark and grader: a row for each run with its interval; pass@k at the best temperature; differences of
modes and of models on the same problems; what others published. Then the studies of each folder. Rates are
percentages in tables and in Markdown, and from 0 to 1 in JSON and CSV. docs/statistics.md says how each number comes
about.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from polyturn.analysis.compare import Best, Comparison, best_temperatures, compare, differing
from polyturn.analysis.published import Published, is_published_data, protocol, published
from polyturn.analysis.studies import perplexities, read_study, study_tables
from polyturn.analysis.tables import Table, heat, to_markdown, to_terminal
from polyturn.analysis.ungraded import notes_on_ungraded, ungraded
from polyturn.bench.benchmarks import place
from polyturn.bench.grading import KS
from polyturn.bench.results import DIGITS, SAMPLING, Interval, Run, RunKey, read_results
from polyturn.utils.errors import UserError

SCHEMA = 1

type Format = Literal["table", "markdown", "json", "csv"]
type Name = Callable[[Run], str]


def report(
    folders: Sequence[str | Path], format: Format = "table", with_published: bool = False, width: int = 80
) -> str:
    """Report on the results in these folders; the first model is the one that others are compared with.

    Args:
        folders: each with a `results.json`.
        format: `table` for a terminal, `markdown`, `json` ({"schema": 1, "runs": [...]} and more), or `csv`, one row
            a run.
        with_published: show published scores of the same benchmarks too; not in CSV.
        width: columns of the terminal.

    Raises:
        UserError: a folder holds no results, or damaged ones, or two hold the same run.
    """
    runs = read_all(folders)
    if format == "csv":
        if with_published:
            raise UserError("CSV holds one row a run and no published scores; choose another format for those.")
        return _csv(runs)
    rows = published({run.benchmark for run in runs}) if with_published else []
    if format == "json":
        return _json(folders, runs, rows, with_published)
    tables = all_tables(runs, rows)
    behind = [note for folder in folders for note in notes_on_ungraded(folder, read_results(folder))]
    tables[:1] = [replace(first, notes=[*first.notes, *behind]) for first in tables[:1]]
    for folder in folders:
        tables += [
            replace(t, title=f"{folder}: {t.title}") if len(folders) > 1 else t
            for t in study_tables(folder, read_results(folder))
        ]
    tables = _each_note_once(tables)
    return to_markdown(tables) if format == "markdown" else to_terminal(tables, width)


def read_all(folders: Sequence[str | Path]) -> list[Run]:
    """The runs of all folders, in their order, those of a folder by grader and mode. Raises UserError like `report`."""
    if not folders:
        raise UserError("Give at least one folder with results.")
    where: dict[RunKey, str | Path] = {}
    runs: list[Run] = []
    for folder in folders:
        for run in sorted(read_results(folder), key=lambda run: place(run.mode, run.grader)):
            if run.key in where:
                remedy = "put shards together with `polyturn bench merge`" if run.shard else "give one of them only"
                raise UserError(f"{where[run.key]} and {folder} both hold the run {run.key}; {remedy}.")
            where[run.key] = folder
            runs.append(run)
    return runs


# ---- tables


def all_tables(runs: Sequence[Run], rows: Sequence[Published]) -> list[Table]:
    """All tables of a report, by benchmark."""
    tables: list[Table] = []
    name = _names(runs)
    for benchmark, of_benchmark in _by(runs, lambda run: run.benchmark):
        files = {run.key.data for run in of_benchmark}
        for data, of_file in _by(of_benchmark, lambda run: run.key.data or ""):
            for grader, of_grader in _by(of_file, lambda run: run.grader):
                title = f"{benchmark}, grader {grader}" + (f", data {data[:8]}" if len(files) > 1 else "")
                tables += _tables_of(title, of_grader, name)
        tables += _published_tables(benchmark, [row for row in rows if row.benchmark == benchmark], of_benchmark)
    return tables


def _each_note_once(tables: Sequence[Table]) -> list[Table]:
    """The tables without the notes that stand below an earlier one."""
    seen: set[str] = set()
    found: list[Table] = []
    for table in tables:
        found.append(replace(table, notes=[note for note in table.notes if note not in seen]))
        seen.update(table.notes)
    return found


def _tables_of(title: str, runs: Sequence[Run], name: Name) -> list[Table]:
    tables = [_rates(title, runs, name)]
    best = best_temperatures(runs)
    if any(choice.k > 1 or len(choice.runs) > 1 for choice in best):
        tables.append(_pass_at(title, best, runs, name))
    compared = compare(runs)
    for mode, others in _by([c for c in compared if c.of == "mode"], lambda c: c.a.mode):
        others.sort(key=lambda c: place(c.b.mode, c.b.grader))
        tables.append(_differences(f"{title}: mode {mode} less the mode named", others, lambda c: c.b, name))
    for base, others in _by([c for c in compared if c.of == "model"], lambda c: name(c.b)):
        tables.append(_differences(f"{title}: the model named less {base}", others, lambda c: c.a, name))
    return tables


def _rates(title: str, runs: Sequence[Run], name: Name) -> Table:
    problems, cases = max(run.problems for run in runs), max(run.cases for run in runs)
    fair = any(run.fair_pass_rate is not None for run in runs)
    guess = any(run.baseline is not None for run in runs)
    rows = [
        [
            name(run) + ("*" if run.partial else "") + ("†" if run.too_long else ""),
            run.mode,
            heat(run.temperature),
            str(run.n),
            _rate(run.pass_rate, run.ci95),
            *([_percent(run.baseline)] if guess else []),
            *([_rate(run.fair_pass_rate, run.fair_ci95)] if fair else []),
            *([_percent(run.fair_baseline)] if fair and guess else []),
        ]
        for run in runs
    ]
    notes = ["Percent, with the 95 % interval over problems. T: temperature. n: samples a case."]
    notes += ["fair: without the cases that no right program passes."] if fair else []
    notes += ["guess: always the commonest answer."] if guess else []
    rates = ["pass rate", *(["guess"] if guess else [])]
    rates += ["fair", *(["fair guess"] if guess else [])] if fair else []
    columns = ["model", "mode", "T", "n", *rates]
    size = f"{problems} problems" + (f", {cases} cases" if cases != problems else "")
    return Table(
        f"{title}: {size}",
        columns,
        rows,
        2,
        [" ".join(notes), *_shard_notes(runs, name), *_partial_notes(runs, name), *_context_notes(runs, name)],
    )


def _shard_notes(runs: Iterable[Run], name: Name) -> list[str]:
    """Each once: all modes and temperatures of a folder are of one shard."""
    notes = (
        f"{name(run)} is shard {run.shard}, a part of a run, and the samples of the other parts count as missing; "
        "`polyturn bench merge` puts all parts together."
        for run in runs
        if run.shard
    )
    return list(dict.fromkeys(notes))


def _partial_notes(runs: Iterable[Run], name: Name) -> list[str]:
    return [
        f"* partial: {run.missing} of {run.missing + run.samples} samples of {name(run)}, {run.mode}{_at(run)}, "
        f"are missing; its scores are over the {run.problems} problems and {run.cases} cases that are there."
        for run in runs
        if run.partial
    ]


def _context_notes(runs: Iterable[Run], name: Name) -> list[str]:
    return [
        f"† context too short: {run.too_long} of {run.samples} samples of {name(run)}, {run.mode}{_at(run)}, did "
        "not fit into the model's context; they were not run, and count as not passed."
        for run in runs
        if run.too_long
    ]


def _pass_at(title: str, best: Sequence[Best], runs: Sequence[Run], name: Name) -> Table:
    ks = sorted({choice.k for choice in best})
    rows = []
    for _, choices in _by(best, lambda choice: choice.run.key._replace(temperature=None)):
        cells = {choice.k: _best_cell(choice) for choice in choices}
        run = choices[0].run
        rows.append([name(run), run.mode, *(cells.get(k, "–") for k in ks)])
    notes: list[str] = []
    if any(len(choice.runs) > 1 for choice in best):
        notes.append(
            "Each k at the temperature T that is best for it, as in the CodeGen paper; that choice flatters a little, "
            "which the intervals do not count."
        )
    absent = [str(k) for k in KS if not all(str(k) in run.pass_at for run in runs)]
    if absent:
        notes.append(f"Not there for k = {', '.join(absent)}: pass@k takes at least k samples of every case.")
    if any(choice.run.partial for choice in best):
        notes.append("* partial, see above.")
    return Table(f"{title}: pass@k", ["model", "mode", *(f"pass@{k}" for k in ks)], rows, 2, notes)


def _best_cell(choice: Best) -> str:
    at = f" T {heat(choice.run.temperature)}" if len(choice.runs) > 1 else ""
    mark = "*" if choice.run.partial else ""
    return f"{_percent(choice.pass_at)}{mark}{at}\n{_ends(choice.ci95)}"


def _differences(title: str, compared: Sequence[Comparison], named: Callable[[Comparison], Run], name: Name) -> Table:
    rows = []
    for comparison in compared:
        run = named(comparison)
        result = comparison.paired
        marks = "*" if comparison.a.partial or comparison.b.partial else ""
        marks += "‡" if comparison.settings else ""
        low, high = result.ci95
        size = result.smallest_detectable
        rows.append(
            [
                name(run) + marks,
                run.mode,
                heat(run.temperature),
                str(result.problems),
                f"{100 * result.difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
                "<0.001" if result.p_value < 0.001 else f"{result.p_value:.3f}",
                "none" if size is None else _percent(size),
            ]
        )
    notes = [
        "Points of pass rate on the N problems that both have, with 95 % intervals. p: sign-flip test of the row. "
        "detects: the difference that N problems show in 4 of 5 tries."
    ]
    notes += ["* partial, see above."] if any(c.a.partial or c.b.partial for c in compared) else []
    notes += [
        f"‡ {name(c.a)} and {name(c.b)}{_at(c.a)} also differ in {', '.join(c.settings)}."
        for c in compared
        if c.settings
    ]
    return Table(title, ["model", "mode", "T", "N", "difference", "p", "detects"], rows, 2, notes)


def _published_tables(benchmark: str, rows: Sequence[Published], runs: Sequence[Run]) -> list[Table]:
    if not rows:
        return []
    ks = sorted({int(k) for row in rows for k in row.pass_at})
    rated = any(row.pass_rate is not None for row in rows)
    lines = [
        [
            row.name,
            row.mode,
            *([_printed(row.pass_rate)] if rated else []),
            *(_printed(row.pass_at.get(str(k))) for k in ks),
            "published" if row.verified else "published, unverified",
        ]
        for row in rows
    ]
    columns = ["model", "mode", *(["pass rate"] if rated else []), *(f"pass@{k}" for k in ks), "status"]
    notes = [f"Protocol: {protocol(benchmark)}. The source of each row: --format json."]
    if not all(map(is_published_data, runs)):
        notes.insert(0, "Of other problems than those measured here: the two do not compare.")
    return [Table(f"{benchmark}: published by others, not measured here", columns, lines, 2, notes)]


def _names(runs: Iterable[Run]) -> Name:
    """How to call the model of a run: by its name, and where several have it by digest or the settings that differ."""
    runs = list(runs)
    models = {(run.model, run.key.digest) for run in runs}
    shared = Counter(model for model, _ in models)
    alike = _by(runs, lambda run: (run.model, run.key.digest))
    differ = {model: [n for n in differing(of_model) if n in SAMPLING] for model, of_model in alike}

    def name(run: Run) -> str:
        digest = f"@{(run.key.digest or 'unknown')[:8]}" if shared[run.model] > 1 else ""
        names = differ[run.model, run.key.digest]
        return run.model + digest + "".join(f" {setting}={run.settings.get(setting)}" for setting in names)

    return name


def _by[T, K](items: Iterable[T], key: Callable[[T], K]) -> list[tuple[K, list[T]]]:
    """Items by a key, in the order in which each key comes first."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.items())


def _at(run: Run) -> str:
    """The temperature in a sentence; nothing where it is not known."""
    return "" if run.temperature is None else f" at T {run.temperature!r}"


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f}"


def _printed(rate: float | None) -> str:
    """With the digits that it was published with."""
    return "–" if rate is None else f"{100 * rate:.4g}"


def _ends(ends: Interval) -> str:
    return f"[{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"


def _rate(rate: float | None, ends: Interval | None) -> str:
    return _percent(rate) if ends is None else f"{_percent(rate)} {_ends(ends)}"


# ---- for programs


def _json(folders: Sequence[str | Path], runs: Sequence[Run], rows: Sequence[Published], with_published: bool) -> str:
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "runs": [_record(run) for run in runs],
        "best_temperature": [
            {
                **_which(choice.run, "benchmark", "model", "mode", "grader", "temperature"),
                "k": choice.k,
                "pass_at": choice.pass_at,
                "ci95": choice.ci95,
                "chosen_from": [run.temperature for run in choice.runs],
                "partial": choice.run.partial,
            }
            for choice in best_temperatures(runs)
        ],
        "differences": [
            {
                "of": c.of,
                **_which(c.a, "benchmark", "grader", "temperature"),
                "a": _which(c.a, "model", "mode"),
                "b": _which(c.b, "model", "mode"),
                **_rounded(asdict(c.paired)),
                "partial": c.a.partial or c.b.partial,
                "settings_differ": c.settings,
            }
            for c in compare(runs)
        ],
    }
    turns = {str(folder): found for folder in folders if (found := read_study(folder, "turns.json"))}
    studied = {str(folder): perplexities(folder, read_results(folder)) for folder in folders}
    content |= {"turns": turns} if turns else {}
    behind = {str(folder): ungraded(folder, read_results(folder)) for folder in folders}
    behind = {folder: {path.stem: count for path, count in found.items()} for folder, found in behind.items() if found}
    content |= {"not_graded": behind} if behind else {}
    for name, part in (("perplexity", 0), ("perplexity_stale", 1)):
        found = {folder: both[part] for folder, both in studied.items() if both[part]}
        content |= {name: found} if found else {}
    if with_published:
        content["published"] = [asdict(row) for row in rows]
        content["published_data"] = {
            benchmark: all(map(is_published_data, of_benchmark))
            for benchmark, of_benchmark in _by(runs, lambda run: run.benchmark)
        }
    return json.dumps(content, indent=1) + "\n"


def _record(run: Run) -> dict[str, Any]:
    """A run without the scores of single problems, which are in its results file."""
    record = {name: value for name, value in asdict(run).items() if name not in ("scores", "fair_scores")}
    return {**record, "partial": run.partial, "too_long": run.too_long}


def _which(run: Run, *names: str) -> dict[str, Any]:
    record = {name: getattr(run, name) for name in names}
    return record | ({"digest": run.key.digest} if "model" in names else {})


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [_rounded(part) for part in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def _csv(runs: Sequence[Run]) -> str:
    ks = sorted({int(k) for run in runs for k in run.pass_at})
    out = StringIO()
    records = [_row(run, ks) for run in runs]
    writer = csv.DictWriter(out, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def _row(run: Run, ks: Iterable[int]) -> dict[str, object]:
    plain = "benchmark model mode grader temperature n problems cases samples missing too_long".split()
    row: dict[str, object] = {name: getattr(run, name) for name in plain}
    row |= {"partial": run.partial, "model_digest": run.key.digest, "data_digest": run.key.data}
    row |= {name: run.settings.get(name) for name in ("shard", *SAMPLING)}
    rates = {"pass_rate": (run.pass_rate, run.ci95), "fair_pass_rate": (run.fair_pass_rate, run.fair_ci95)}
    rates |= {f"pass_at_{k}": (run.pass_at.get(str(k)), run.pass_at_ci95.get(str(k))) for k in ks}
    for name, (rate, ends) in rates.items():
        row |= {name: rate, f"{name}_low": ends and ends[0], f"{name}_high": ends and ends[1]}
    row |= {"baseline": run.baseline, "fair_baseline": run.fair_baseline}
    return {name: json.dumps(value) if isinstance(value, bool) else value for name, value in row.items()}
