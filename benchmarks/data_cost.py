"""What training data costs: processor time, memory and disk of each stage of a build, and an estimate for more.

    python benchmarks/data_cost.py
    python benchmarks/data_cost.py --source FOLDER --every 1

Builds from a part of `installed` (every fourth unit) with everything switched on that a large corpus wants: all
filters, redaction, near-duplicates, decontamination against digests. One process does all tasks one after the other,
so that its processor time is theirs; the joins of the duplicates stage are those of the reference runner. Then it
builds without decontamination, then without redaction too, and so on: the differences tell what each of them takes.

The estimate takes every stage to grow with the bytes read. The last line of output is one JSON object.
"""

import argparse
import json
import os
import platform
import random
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from polyturn.data import sources
from polyturn.data.build import build
from polyturn.data.config import Config, Decontaminate, Dedup, load
from polyturn.data.runner import Item, Plain, Task
from polyturn.hub.catalogue import DEFAULT, resolve

TERABYTE = 1e12


class Metered(Plain):
    """Does everything in this process and takes down what it took, by the name of the task."""

    def __init__(self) -> None:
        super().__init__(1)
        self.cpu: dict[str, float] = {}  # seconds
        self.peak: dict[str, float] = {}  # MiB of this process, up to the end of a stage
        self.disk: dict[str, int] = {}  # bytes of each folder of parts

    def map(self, task: Task, items: Sequence[Item]) -> Iterator[tuple[int, Item]]:
        """See `runner.Runner`."""
        for place, item in enumerate(items):
            begun = time.process_time()
            found = task(item)
            self._count(type(task).__name__, time.process_time() - begun)
            yield place, json.loads(json.dumps(found))
        work = getattr(task, "work", None)
        if work is not None:
            self.disk = {each.name: size(each) for each in sorted(work.iterdir()) if each.is_dir()}

    def groups(self, *arguments: Any, **more: Any) -> Any:
        """See `runner.Runner`."""
        begun = time.process_time()
        found = super().groups(*arguments, **more)
        self._count("joins", time.process_time() - begun)
        return found

    def _count(self, name: str, seconds: float) -> None:
        self.cpu[name] = self.cpu.get(name, 0) + seconds
        self.peak[name] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(config: Config, folder: Path) -> tuple[Metered, dict[str, Any], float]:
    """The meter, the report, and all of the processor time of one build."""
    runner, begun = Metered(), time.process_time()
    report = build(config, folder, resolve(DEFAULT), runner)
    return runner, report, time.process_time() - begun


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def digests(path: Path, runs: int = 16_362) -> Path:
    """A digests file as long as that of two benchmarks, of runs that no text holds."""
    chance = random.Random(0)
    path.write_bytes(b"".join(sha256(chance.randbytes(32)).digest()[:8] for _ in range(runs)))
    return path


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="what to read in place of `installed`")
    parser.add_argument("--every", type=int, default=4, help="of so many units one is read")
    options = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = "1"
    config = load("mono", source=options.source)
    config = replace(config, filter=replace(config.filter, licences=()))
    listed = sources.units
    sources.units = lambda config: (unit for n, unit in enumerate(listed(config)) if n % options.every == 0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        whole = replace(config, decontaminate=Decontaminate(digests=str(digests(folder / "digests.bin"))))
        runner, report, every = measured(whole, folder / "full")
        shards = size(folder / "full" / "train")
        before = runner.cpu["Read"]
        cpu: dict[str, float] = {}
        for name, less in (
            ("decontamination", without(whole)),
            ("redaction", without(whole, redact=False)),
            ("parsing", without(whole, redact=False, python_parses=False)),
            ("signatures", replace(without(whole, redact=False, python_parses=False), dedup=Dedup(near=False))),
        ):
            now = measured(less, folder / name)[0].cpu["Read"]
            cpu[name], before = max(before - now, 0.0), now
    cpu = {"reading, other filters": before, **cpu}
    cpu["joins"], cpu["encoding"], cpu["packing"] = (runner.cpu[name] for name in ("joins", "Encode", "Pack"))
    cpu["one process alone"] = every - sum(runner.cpu.values())  # lists sources, finds components, writes shards
    read = sum(size for _, size in report["outcomes"]["Python"].values())
    results = {
        "mb": round(read / 1e6, 1),
        "mb_per_s_per_core": {name: round(read / 1e6 / max(seconds, 1e-9), 1) for name, seconds in cpu.items()},
        "all_mb_per_s_per_core": round(read / 1e6 / sum(cpu.values()), 2),
        "peak_mib": {name: round(peak) for name, peak in runner.peak.items()},
        "disk_per_byte_read": {name: round(size / read, 3) for name, size in runner.disk.items()},
        "shards_per_byte_read": round(shards / read, 3),
    }
    print(f"{read / 1e6:,.0f} MB of source.\n")
    print("| stage | MB/s and core | core-hours for 1 TB | for 10 TB |\n| --- | ---: | ---: | ---: |")
    for name, seconds in [*cpu.items(), ("all", sum(cpu.values()))]:
        hours = TERABYTE / read * seconds / 3600
        print(f"| {name} | {read / 1e6 / max(seconds, 1e-9):,.1f} | {hours:,.0f} | {10 * hours:,.0f} |")
    for key in ("peak_mib", "disk_per_byte_read", "shards_per_byte_read"):
        print(f"{key}: {results[key]}")
    host = {"cpus": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()}
    print(json.dumps({"ours": results, "host": host}))


def without(config: Config, **rules: Any) -> Config:
    """The config without decontamination, and with these rules."""
    return replace(config, decontaminate=Decontaminate(), filter=replace(config.filter, **rules))


if __name__ == "__main__":
    main()
