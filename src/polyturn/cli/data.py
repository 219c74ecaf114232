"""`polyturn data`: build training shards from a corpus, look at them, verify them."""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from polyturn.utils.errors import UserError


def build(
    config: Annotated[str, tyro.conf.Positional],
    out: Path,
    source: str | None = None,
    tokenizer: str | None = None,
    workers: int = 0,
    runner: Literal["native", "ray", "plain"] = "native",
    address: str | None = None,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Turn source files into packed training shards. Run again, it goes on where it was stopped.

    Args:
        config: A shipped config (installed, nl, multi, mono), or a TOML file; docs/data.md says what may be in it.
        out: The folder of the build: shards in `train/`, a report, and every dropped file with its reason.
        source: What to read instead of the config's sources: `installed`, a folder, a .jsonl or .parquet file, or
            KIND:PATH with kind folder, jsonl, parquet or huggingface.
        tokenizer: Model folder, built-in name or Hub id whose tokenizer is used instead of the config's.
        workers: Processes at a time; 0 for one on each CPU.
        runner: native: processes of this machine. ray: a Ray cluster that sees the same files. plain: no engine.
        address: Of a running Ray cluster; by default one is started on this machine.
        json_output: Print the report as one JSON object.
    """
    from polyturn.data.build import build as built
    from polyturn.data.config import load
    from polyturn.data.runner import open_runner
    from polyturn.hub.catalogue import resolve

    chosen = load(config, source, tokenizer)
    folder = resolve(chosen.data.tokenizer)
    report = built(chosen, out, folder, open_runner(runner, workers or _cpus(), address))
    print(json.dumps(report) if json_output else _table(report))


def show(
    folder: Annotated[Path, tyro.conf.Positional],
    dropped: str | None = None,
    samples: int = 3,
    seed: int = 0,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Show what a build kept and dropped, by language and reason, and some of its documents.

    Args:
        folder: The folder of a build.
        dropped: List the files that were not kept whose name or reason contains this text instead; "" lists all.
        samples: Documents to show.
        seed: Which ones.
        json_output: Print the report as one JSON object.
    """
    from polyturn.data import show as shown
    from polyturn.data.build import read_report
    from polyturn.hub.catalogue import resolve
    from polyturn.tokenizer.bpe import load

    if dropped is not None:
        for each in shown.dropped(folder, dropped):
            print(f"{each.reason}\t{each.size}\t{each.id}")
        return
    report = read_report(folder)
    if json_output:
        print(json.dumps(report))
        return
    print(_table(report))
    tokenizer = load(resolve(report["tokenizer"]))
    for number, text in enumerate(shown.samples(folder / "train", tokenizer, samples, seed), 1):
        lines = text.split("\n")
        print(f"\n--- sample {number}\n" + "\n".join(lines[:20]))
        if len(lines) > 20:
            print(f"... {len(lines) - 20} more lines")


def verify(folder: Annotated[Path, tyro.conf.Positional]) -> int:
    """Read every byte of a build's shards and check digests, counts, token ranges and boundaries.

    Exit code 1 if anything is wrong.

    Args:
        folder: The folder of a build, or one of shards.
    """
    from polyturn.data import shards

    places = [place for place in (folder / "train", folder / "validation", folder) if (place / "index.json").exists()]
    if not places:
        raise UserError(f"{folder} holds no shards; give the folder of `polyturn data build`.")
    problems = [f"{place}: {problem}" for place in places for problem in shards.verify(place)]
    for problem in problems:
        print(problem)
    if not problems:
        for place in places:
            manifest = shards.open(place).manifest
            print(f"{place}: {manifest['rows']:,} rows, {manifest['tokens']:,} tokens, as they were written.")
    return 1 if problems else 0


def _table(report: dict[str, Any]) -> str:
    """The report for people: 80 columns."""
    from collections import Counter

    from polyturn.data.show import outcomes

    rows = outcomes(report)
    lines = [f"{'language':<18}{'outcome':<20}{'documents':>12}{'bytes':>16}{'tokens':>14}"]
    lines.append("-" * 80)
    before = ""
    for row in rows:
        name = row.language if row.language != before else ""
        tokens = f"{report['tokens'].get(row.language, 0):,}" if row.outcome == "kept" else ""
        lines.append(f"{name:<18}{row.outcome:<20}{row.documents:>12,}{row.size:>16,}{tokens:>14}")
        before = row.language
    kept: Counter[str] = Counter()
    for row in rows:
        kept["documents"] += row.documents if row.outcome == "kept" else 0
        kept["bytes"] += row.size if row.outcome == "kept" else 0
        kept["of"] += row.documents
        kept["of bytes"] += row.size
    lines.append("-" * 80)
    lines.append(
        f"{kept['documents']:,} of {kept['of']:,} files kept, {kept['bytes']:,} of {kept['of bytes']:,} bytes."
    )
    tokens = sum(report["tokens"].values()) - report["dropped_tokens"]
    share = tokens / (report["rows"] * report["row"]) if report["rows"] else 0
    lines.append(f"{tokens:,} tokens in {report['rows']:,} rows of {report['row']:,}, {100 * share:.1f} % full.")
    if report["dropped_tokens"]:
        lines.append(f"{report['dropped_tokens']:,} tokens were left over by packing.")
    if report["redacted"]:
        found = ", ".join(f"{count:,} {kind}" for kind, count in report["redacted"].items())
        lines.append(f"Replaced by placeholders: {found}.")
    if report["held_back"]:
        there = "are held back in validation/" if report["validation_rows"] else "for validation do not fill a row"
        lines.append(f"{report['held_back']:,} documents {there}.")
    return "\n".join(lines)


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
