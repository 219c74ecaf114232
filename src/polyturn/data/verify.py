"""Whether a finished build is whole: its report, its shards, and that they speak of the same."""

from pathlib import Path
from typing import Any

from polyturn.data import shards
from polyturn.data.build import REPORT, read_report
from polyturn.data.sources.folder import BUILD
from polyturn.utils.errors import UserError

COUNTS = ("rows", "pieces", "tokens", "documents", "sha256")  # of each set of shards, in the report


def verify(folder: Path) -> list[str]:
    """Everything that is wrong with a build, or with a folder of shards alone, a sentence each.

    Raises:
        UserError: it is neither.
    """
    if (folder / shards.INDEX).exists() and not (folder / REPORT).exists():
        return shards.verify(folder)
    if not (folder / REPORT).exists():
        if (folder / BUILD).exists():
            raise UserError(f"The build in {folder} is not finished; run `polyturn data build` again, and it goes on.")
        raise UserError(f"{folder} holds neither a build nor shards; give the folder of `polyturn data build`.")
    report = read_report(folder)
    problems = []
    for name, counts in report["sets"].items():
        place = folder / name
        if not place.is_dir():
            problems.append(f"{place} is missing; run `polyturn data build` again to make it anew.")
            continue
        wrong = [f"{place}: {problem}" for problem in shards.verify(place)]
        problems += wrong or _differences(place, counts)
    problems += [
        f"{folder / name} is not in {REPORT}."
        for name in ("train", "validation")
        if (folder / name).exists() and name not in report["sets"]
    ]
    return problems


def _differences(place: Path, counts: dict[str, Any]) -> list[str]:
    """Where the report and the manifest of a set of shards do not agree."""
    manifest = shards.open(place).manifest
    return [
        f"{place}: {REPORT} says {counts[name]} {name}, and {shards.MANIFEST} {manifest[name]}."
        for name in COUNTS
        if manifest[name] != counts[name]
    ]
