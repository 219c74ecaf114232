"""Builds a corpus of verified programs: composes, filters, runs, drops duplicates, writes JSONL in parts.

    from polyturn.curriculum.corpus import build, read

    build("corpus/train", programs=100_000, seed=TRAIN_SEED, overlap_path="ngrams.bin", workers=2)
    for verified in read("corpus/train"):
        verified.program.turns, verified.value

A folder holds `part-00000.jsonl` and so on, and `manifest.json`. A line is one program:

    {"turns": [{"intent": ..., "code": ...}, ...], "families": [...], "pairs": [[maker, consumer], ...],
     "stdout": what it printed, "value": what it printed last, as the sandbox's tagged JSON}

The bytes depend on the arguments only, not on the number of workers or on interruptions: a build that was
stopped goes on where it stood.
"""

import hashlib
import json
import multiprocessing
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Literal

from polyturn.curriculum.compose import copy_program, program
from polyturn.curriculum.draft import Program
from polyturn.curriculum.heldout import Split
from polyturn.curriculum.verify import Verified, verify
from polyturn.data.overlap import Overlap
from polyturn.sandbox.values import from_tree, to_tree
from polyturn.synthesis.turns import Turn, history_text
from polyturn.utils.atomic import write_text
from polyturn.utils.errors import UserError
from polyturn.utils.progress import track

PART = 4_096
"""Programs composed for one part."""
MANIFEST = "manifest.json"

CorpusSplit = Split | Literal["copy"]
"""Programs without the held-out pairs of families, programs with at least one, or warm-up programs."""


@dataclass(frozen=True)
class _Job:
    """One part, for a worker."""

    seed: int
    split: CorpusSplit
    start: int
    stop: int
    overlap: Overlap | None


def compose(split: CorpusSplit, seed: int, index: int) -> Program:
    """The index-th program of a split and seed."""
    return copy_program(seed, index) if split == "copy" else program(seed, index, split)


def build(
    out_dir: str | Path,
    programs: int,
    seed: int,
    split: CorpusSplit = "train",
    overlap_path: str | Path | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Write the verified ones of the first `programs` programs of a seed, and return the manifest.

    Args:
        out_dir: a new folder, or one of an interrupted build with the same arguments.
        overlap_path: a digests file (`data/overlap.py`); programs that share a run of words with it are dropped.
        workers: processes that compose and verify, each with a sandboxed child of its own.

    Raises:
        UserError: `programs` is negative, the folder holds another corpus or cannot be written, or the digests file
            cannot be read.
        SandboxError: the sandbox cannot run programs on this host.
    """
    if programs < 0:
        raise UserError(f"A corpus cannot be made from {programs} programs: give 0 or more.")
    folder = Path(out_dir)
    overlap = Overlap.load(overlap_path) if overlap_path else None
    manifest = _manifest(folder, programs, seed, split, overlap)
    done: list[dict[str, Any]] = manifest["parts"]
    seen: set[bytes] = set()
    for part in done:
        seen.update(_key(item.program) for item in _read_part(folder / part["file"]))
    starts = range(len(done) * PART, programs, PART)
    jobs = [_Job(seed, split, start, min(start + PART, programs), overlap) for start in starts]
    for kept, dropped in track(_run(jobs, workers), f"programs in {PART}s", len(jobs)):
        lines = []
        for key, line in kept:
            if key in seen:
                dropped["duplicate"] += 1
            else:
                seen.add(key)
                lines.append(line)
        name = f"part-{len(done):05d}.jsonl"
        write_text(folder / name, "".join(lines))
        done.append({"file": name, "kept": len(lines), "dropped": dict(sorted(dropped.items()))})
        manifest["kept"] = sum(part["kept"] for part in done)
        manifest["dropped"] = dict(sorted(sum((Counter(part["dropped"]) for part in done), Counter()).items()))
        manifest["complete"] = len(done) * PART >= programs
        _write_manifest(folder, manifest)
    if not done:  # of no programs
        _write_manifest(folder, manifest)
    return manifest


def read(folder: str | Path) -> Iterator[Verified]:
    """The programs of a corpus, in order. Raises UserError where the folder holds no complete corpus."""
    folder = Path(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds no corpus: build one there first.") from error
    if not manifest["complete"]:
        raise UserError(f"The corpus in {folder} is unfinished: run the same build again to complete it.")
    for part in manifest["parts"]:
        yield from _read_part(folder / part["file"])


def _manifest(folder: Path, programs: int, seed: int, split: CorpusSplit, overlap: Overlap | None) -> dict[str, Any]:
    """The manifest of an interrupted build, or a new one."""
    settings = {
        "version": 1,
        "programs": programs,
        "seed": seed,
        "split": split,
        "composer": _fingerprint(split, seed),
        "overlap": overlap and hashlib.sha256(b"".join(sorted(overlap.digests))).hexdigest(),
    }
    path = folder / MANIFEST
    if not path.exists():
        return {**settings, "complete": programs == 0, "kept": 0, "dropped": {}, "parts": []}
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: remove {folder} or choose another folder.") from error
    other = [name for name, value in settings.items() if found.get(name) != value]
    if other:
        raise UserError(
            f"{folder} holds a corpus built with another {' and '.join(other)}: remove it or choose another."
        )
    return found


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _fingerprint(split: CorpusSplit, seed: int) -> str:
    """Tells composers apart: a digest of some of their programs. Parts of two must not be mixed."""
    texts = (history_text(compose(split, seed, index).turns) for index in range(100))
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]


def _run(jobs: list[_Job], workers: int) -> Iterator[tuple[list[tuple[bytes, str]], Counter[str]]]:
    """The parts' programs in order."""
    if workers == 1 or len(jobs) < 2:
        yield from map(_part, jobs)
        return
    # Ctrl-C is for this process, which then ends the workers: they inherit the block, from their first moment on.
    resource_tracker.ensure_running()  # whose start, before Python 3.13, would lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with multiprocessing.get_context("spawn").Pool(min(workers, len(jobs)), _end_cleanly) as pool:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            yield from pool.imap(_part, jobs)
            pool.close()  # all is done: workers end by themselves, and none by a signal in the middle of that
            pool.join()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_cleanly() -> None:
    """Have a worker that is ended stop its sandboxed child and remove that one's folder."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would break into the clearing up
        sys.exit()

    signal.signal(signal.SIGTERM, end)


def _part(job: _Job) -> tuple[list[tuple[bytes, str]], Counter[str]]:
    """One part: key and line of each program kept, and how many were dropped for which reason."""
    dropped: Counter[str] = Counter()
    composed = [compose(job.split, job.seed, index) for index in range(job.start, job.stop)]
    if job.overlap:
        clean = [item for item in composed if not job.overlap.hits(history_text(item.turns))]
        dropped["overlap"] = len(composed) - len(clean)
        composed = clean
    kept = []
    for item in verify(composed):
        if isinstance(item, Verified):
            kept.append((_key(item.program), _line(item)))
        else:
            dropped[item] += 1
    return kept, dropped


def _key(item: Program) -> bytes:
    return hashlib.sha256(history_text(item.turns).encode()).digest()[:16]


def _line(item: Verified) -> str:
    fields = {
        "turns": [asdict(turn) for turn in item.program.turns],
        "families": item.program.families,
        "pairs": item.program.pairs,
        "stdout": item.stdout,
        "value": to_tree(item.value),
    }
    return json.dumps(fields) + "\n"


def _read_part(path: Path) -> Iterator[Verified]:
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            fields = json.loads(line)
            item = Program(
                tuple(Turn(**turn) for turn in fields["turns"]),
                tuple(fields["families"]),
                tuple((maker, consumer) for maker, consumer in fields["pairs"]),
            )
            yield Verified(item, fields["stdout"], from_tree(fields["value"]))
