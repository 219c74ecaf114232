"""`polyturn data`: build training shards from a corpus, look at them, verify them."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro


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
        address: Of a running Ray cluster; by default that of RAY_ADDRESS, or one is started on this machine.
        json_output: Print the report as one JSON object.
    """
    from polyturn.data.build import build as built
    from polyturn.data.config import load
    from polyturn.data.runner import open_runner
    from polyturn.hub.catalogue import resolve

    chosen = load(config, source, tokenizer)
    folder = resolve(chosen.data.tokenizer)
    try:
        report = built(chosen, out, folder, open_runner(runner, workers or _cpus(), address))
    except KeyboardInterrupt:
        print("\nStopped; the same command goes on where it was.", file=sys.stderr)
        raise
    print(json.dumps(report) if json_output else _table(report))
    if not json_output:
        print(f"Look at documents with `polyturn data show {out}`; docs/data.md says what each outcome means.")


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
        dropped: List files that were not kept instead: those with exactly this reason, or if there are none, those
            whose name contains it; "" lists all. What would break a line is escaped as in Python, a backslash too.
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
            print(shown.line(each))
        return
    report = read_report(folder)
    if json_output:
        print(json.dumps(report))
        return
    tokenizer = load(resolve(shown.tokenizer_name(folder)))
    texts = shown.samples(folder / "train", tokenizer, samples, seed)
    print(_table(report))
    for number, text in enumerate(texts, 1):
        lines = text.rstrip("\n").split("\n")
        print(f"\n--- sample {number} of {len(texts)} ".ljust(81, "-"))
        print("\n".join(line if len(line) <= 80 else line[:79] + "…" for line in lines[:20]))
        if len(lines) > 20:
            print(f"... {len(lines) - 20} more lines")


def verify(folder: Annotated[Path, tyro.conf.Positional]) -> int:
    """Read every byte of a build's shards and check digests, counts, token ranges, boundaries, and the report.

    Exit code 1 if anything is wrong.

    Args:
        folder: The folder of a build, or one of shards.
    """
    from polyturn.data import shards
    from polyturn.data.build import SETS
    from polyturn.data.verify import verify as verified

    problems = verified(folder)
    for problem in problems:
        print(problem)
    if not problems:
        for place in (folder / SETS[0], folder / SETS[1], folder):
            if (place / shards.INDEX).exists():
                manifest = shards.open(place).manifest
                print(f"{place}: {manifest['rows']:,} rows, {manifest['tokens']:,} tokens, as they were written.")
    return 1 if problems else 0


def _table(report: dict[str, Any]) -> str:
    """The report for people: 80 columns. Languages that nobody asked for share a line."""
    from polyturn.data.show import outcomes, stages, together

    lines = [f"{'language':<18}{'outcome':<20}{'files':>12}{'bytes of files':>16}{'tokens':>14}", "-" * 80]
    before = ""
    for row in together(outcomes(report)):
        name = row.language if row.language != before else ""
        tokens = f"{report['tokens'].get(row.language, 0):>14,}" if row.outcome == "kept" else ""
        lines.append(f"{name:<18}{row.outcome:<20}{row.documents:>12,}{row.size:>16,}{tokens}")
        before = row.language
    lines += ["", f"{'stage':<18}{'files in':>12}{'bytes in':>18}{'files out':>14}{'bytes out':>18}", "-" * 80]
    flows = stages(report)
    for flow in flows:
        said = {"filters": "filters", "duplicate": "duplicates", "near-duplicate": "near-duplicates"}[flow.stage]
        lines.append(f"{said:<18}{flow.documents_in:>12,}{flow.size_in:>18,}{flow.documents:>14,}{flow.size:>18,}")
    lines += ["", *_summary(report, flows[-1].documents)]
    return "\n".join(lines)


def _summary(report: dict[str, Any], kept: int) -> list[str]:
    """A sentence for everything else that is known of a build."""
    tokens, dropped = sum(report["tokens"].values()), report["dropped_tokens"]
    lines = [f"{kept:,} files kept: {sum(report['characters'].values()):,} characters of text, {tokens:,} tokens."]
    for name, found in report["sets"].items():
        share = 100 * found["tokens"] / (found["rows"] * report["row"])
        told = f"{found['rows']:,} rows of {report['row']:,} tokens, {share:.1f} % full"
        lines.append(f"{name}/: {found['documents']:,} documents in {told}.")
    if dropped:
        lines.append(f"{dropped:,} tokens were left over by packing.")
    if report.get("rearranged"):  # reports of older builds do not have it
        lines.append(f"{report['rearranged']:,} documents are rearranged for filling in the middle.")
    if report["redacted"]:
        found = ", ".join(f"{count:,} {kind}" for kind, count in report["redacted"].items())
        lines.append(f"Replaced by placeholders: {found}.")
    if report["held_back"]:
        there = "are held back in validation/" if report["validation_rows"] else "for validation do not fill a row"
        lines.append(f"{report['held_back']:,} documents {there}.")
    strings, short = report["held_out"].values()
    if short:
        lines.append(f"Of {strings:,} held-out strings {short:,} are too short to be told from other text.")
    return lines


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
