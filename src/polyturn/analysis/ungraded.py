"""Samples that were drawn, or changed, after a folder was graded: its scores are not over them."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from polyturn.analysis.studies import read_study
from polyturn.bench.results import Run
from polyturn.bench.samples import samples_path


def ungraded(folder: str | Path, runs: Iterable[Run]) -> dict[Path, int]:
    """How many samples of each samples file are not graded yet; 0 where as many are there as were graded, but others.

    Files that are as they were graded are left out. runs: the folder's results. Raises UserError like `read_study`.
    """
    graded: Counter[Path] = Counter()
    for table in read_study(folder, "turns.json"):  # which counts each turn of an oracle sample, as the lines do
        path = samples_path(Path(folder), table["mode"], table["temperature"])
        graded[path] = max(graded[path], sum(table["outcomes"].values()))
    digests = {samples_path(Path(folder), run.mode, run.temperature): run.settings.get("samples") for run in runs}
    found: dict[Path, int] = {}
    for path in sorted((Path(folder) / "samples").glob("*.jsonl")):
        content = path.read_bytes()
        lines = content[: content.rfind(b"\n") + 1]  # behind them is what a kill left, or what is being written now
        if lines and hashlib.sha256(lines).hexdigest() != digests.get(path):
            found[path] = max(0, lines.count(b"\n") - graded[path])
    return found


def notes_on_ungraded(folder: str | Path, runs: Iterable[Run]) -> list[str]:
    """A sentence for each such file."""
    remedy = f"`polyturn bench grade {folder}` with the data file brings the scores up to date."
    return [
        f"Not graded yet: {count} of the samples in {path}; {remedy}"
        if count
        else f"The samples in {path} have changed since they were graded; {remedy}"
        for path, count in ungraded(folder, runs).items()
    ]
