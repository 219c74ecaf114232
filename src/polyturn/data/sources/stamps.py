"""Whether sources are still what they were: a build that goes on must not mix two states of them.

A file is known by its size and the time of its last change. Only files that a build opens count: what Python compiles
beside its sources, or a log file, may come and go. Data sets on the Hugging Face Hub have neither and are not watched.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import zip_longest

from polyturn.data.config import Config
from polyturn.data.sources.folder import stamp, walk
from polyturn.data.sources.types import Unit
from polyturn.data.sources.wanted import Wanted


def stamped(unit: Unit) -> Unit:
    """The unit with the stamp of its file, or of all files of a folder that one other library reads."""
    if unit.kind == "files":
        return unit
    if unit.kind == "huggingface":
        inside = walk(unit.place) if os.path.isdir(unit.place) else ()
        found = [each for folder in inside for _, each in folder.entries if each]
        return replace(unit, stamp=f"{sum(f.st_size for f in found)}-{max((f.st_mtime_ns for f in found), default=0)}")
    try:
        return replace(unit, stamp=stamp(os.stat(unit.place)))
    except OSError:
        return unit


def changed(config: Config, before: Iterable[Unit], now: Iterable[Unit]) -> str | None:
    """What has become of the first file that is not as it was, its path in front; None where all are.

    Args:
        before: the units of a build, by `stamped`.
        now: the same, listed anew.
    """
    for old, new in zip_longest(_opened(config, before), _opened(config, now)):
        if old == new:
            continue
        if old is None or (new is not None and new[0] != old[0] and os.path.lexists(old[0])):
            return f"{new[0]} is new"
        if new is None or new[0] != old[0]:
            return f"{old[0]} is gone"
        return f"{old[0]} has changed" if old[3] != new[3] else f"{old[0]} is of another repository or licence"
    return None


def _opened(config: Config, units: Iterable[Unit]) -> Iterator[tuple[str, str, str, str]]:
    """Path, repository, licence and stamp of each file that is opened, in order."""
    wanted = {number: Wanted(config, number) for number in range(len(config.source))}
    for unit in units:
        if unit.kind != "files":
            yield unit.place, str(unit.part), "", unit.stamp
        for path, repo, licence, found in unit.files:
            if wanted[unit.source].name(path) is None:
                yield os.path.join(unit.place, path), repo, licence, found
