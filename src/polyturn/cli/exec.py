"""`polyturn exec`: run a JSONL file of programs in the sandbox."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro


def execute(
    programs: Annotated[Path, tyro.conf.Positional],
    out: Path,
    workers: int = 1,
    cpu_s: float = 5.0,
    wall_s: float | None = None,
    memory_mb: int = 1024,
    isolation: Literal["full", "light"] = "full",
    allow_weaker_isolation: bool = False,
    packages: tuple[str, ...] = ("numpy",),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Run every program of a file and write one result a line, in the same order. Run again, it goes on.

    Exit code 1 if lines of PROGRAMS could not be read; the others were run.

    Args:
        programs: JSONL of {"id", "program", "stdin"?, "expected"?}.
        out: Where the results go, JSONL; results that are there are kept.
        workers: Programs run at a time.
        cpu_s: Seconds of CPU time for each.
        wall_s: Seconds on the clock for each; by default three times the CPU time and at least 5. One that still
            computes then, on a busy machine, has up to four times as long.
        memory_mb: MiB for each, on top of the interpreter's.
        isolation: full: namespaces and all. light: no namespaces, for hosts that refuse them.
        allow_weaker_isolation: Run with the strongest layers this host gives; otherwise a missing one is an error.
        packages: What programs may import besides the standard library.
        json_output: Print the summary as one JSON object.
    """
    from polyturn.sandbox import Isolation, Limits, exec_file
    from polyturn.utils.progress import Counter

    limits, held = Limits(cpu_s, wall_s, memory_mb), Isolation(isolation, allow_weaker_isolation, packages)
    try:
        with Counter("programs") as counter:
            summary = exec_file(programs, out, limits, workers, held, counter.show)
    except KeyboardInterrupt:
        print(f"\nStopped. The results so far are in {out}; the same command runs the rest.", file=sys.stderr)
        return 130
    for sentence in summary.malformed:
        print(sentence, file=sys.stderr)
    if json_output:
        print(
            json.dumps(
                {
                    "schema": 1,
                    "verdicts": summary.verdicts,
                    "kept": summary.kept,
                    "malformed": len(summary.malformed),
                }
            )
        )
    else:
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(summary.verdicts.items()))
        kept = f" ({summary.kept} kept from an earlier run)" if summary.kept else ""
        print(f"{sum(summary.verdicts.values())} results in {out}{kept}: {counts or 'none'}")
        if summary.malformed:
            print(f"lines of {programs} left out: {len(summary.malformed)}")
    return 1 if summary.malformed else 0
