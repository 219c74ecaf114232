"""What tells a whole checkpoint from half of one: a manifest beside it, written last.

    checkpoints/500/         the arrays
    checkpoints/500.json     the manifest: whose checkpoint it is, and the SHA-256 of every file in the folder

A folder without a manifest was not finished, and one whose files differ from it is damaged. So is a manifest that
differs from its own SHA-256. Knows nothing of what is in the files.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from polyturn.utils.atomic import sync, write_bytes
from polyturn.utils.errors import UserError
from polyturn.utils.sealed import SEAL, intact, seal

OURS = re.compile(r"(\d+)(\..*)?")  # a checkpoint, its manifest, or what a kill left of one

UNSEALED = frozenset("step settings data tokens useful_s files".split())  # what manifests held before they were sealed
DAMAGED = ".damaged"  # is added to the name of the manifest of a checkpoint that does not count

type Manifest = Mapping[str, Any]


def steps(folder: Path) -> list[int]:
    """The steps of the checkpoints that were finished, in order."""
    return sorted(int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit())


def unfinished(folder: Path) -> list[int]:
    """The steps of folders that never had a manifest, in order: of writing that never ended."""
    found = {int(path.name.split(".")[0]) for path in folder.glob("*") if path.is_dir() and OURS.fullmatch(path.name)}
    return sorted(found - set(steps(folder)) - {int(path.name.split(".")[0]) for path in folder.glob(f"*{DAMAGED}")})


def write(folder: Path, step: int, about: Mapping[str, Any]) -> None:
    """Declare the checkpoint of `step` whole: hash its files, write the manifest. Raises UserError for a full disk.

    From then on it outlives a power cut: earlier ones may go.
    """
    files = _hashes(folder / str(step))
    for name in files:
        sync(folder / str(step) / name)
    write_bytes(_manifest(folder, step), seal({"step": step, **about, "files": files}))


def read(folder: Path, step: int) -> Manifest | None:
    """The manifest of the checkpoint of `step`; None where it is damaged itself, or gone."""
    try:
        manifest = json.loads(_manifest(folder, step).read_bytes())
    except (ValueError, RecursionError, FileNotFoundError):
        return None
    sound = isinstance(manifest, dict) and (intact(manifest) if SEAL in manifest else _looks_whole(manifest))
    return manifest if sound and manifest.get("step") == step else None


def _looks_whole(manifest: dict[str, Any]) -> bool:
    """Whether a manifest that carries no digest of its own has everything of the right kind."""
    files = manifest.get("files")
    return (
        manifest.keys() == UNSEALED
        and isinstance(manifest["useful_s"], int | float)
        and isinstance(files, dict)
        and len(files) > 0
        and all(isinstance(file, dict) and file.keys() == {"bytes", "sha256"} for file in files.values())
    )


def damage(folder: Path, manifest: Manifest) -> str | None:
    """What is wrong with the checkpoint of a manifest: a file that is missing or differs; None where it is whole.

    Raises:
        UserError: a file is there and cannot be read.
    """
    place, files = folder / str(manifest["step"]), manifest["files"]
    missing = [name for name in files if not (place / name).is_file()]
    if missing:
        return f"{missing[0]} is missing"
    short = [name for name, file in files.items() if (place / name).stat().st_size != file["bytes"]]
    if short:  # known without reading the others
        return f"{short[0]} has another size"
    differ = [name for name, file in _hashes(place, files).items() if file["sha256"] != files[name]["sha256"]]
    return f"{differ[0]} has other content" if differ else None


def disown(folder: Path, step: int) -> None:
    """Put the manifest aside: the checkpoint no longer counts, and `prune` removes both with the next whole one.

    Until then nothing is lost, should the files still have been on their way here.
    """
    path = _manifest(folder, step)
    path.replace(path.with_name(path.name + DAMAGED))


def prune(folder: Path, last: int, every: int | None) -> None:
    """Keep the newest `last` checkpoints and those of every `every` steps, and nothing else."""
    whole = steps(folder)
    kept = {*whole[-last:], *(step for step in whole if every and step % every == 0)}
    for step in set(whole) - kept:
        _manifest(folder, step).unlink(
            missing_ok=True
        )  # first, so that a kill in between leaves nothing that looks whole
    for path in folder.glob("*"):
        match = OURS.fullmatch(path.name)
        if match and not (int(match[1]) in kept and match[2] in (None, ".json")):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _manifest(folder: Path, step: int) -> Path:
    return folder / f"{step}.json"


def _hashes(place: Path, names: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of files in `place`, of all that are there unless `names` are given."""
    found = sorted(names or (str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()))

    def look(name: str) -> dict[str, Any]:
        try:
            with open(place / name, "rb") as handle:
                digest = hashlib.file_digest(handle, "sha256").hexdigest()
                return {"bytes": os.fstat(handle.fileno()).st_size, "sha256": digest}
        except OSError as error:
            raise UserError(
                f"Cannot read {place / name}: {error.strerror}; mend the disk, or remove {place} to go on from an "
                "earlier checkpoint."
            ) from error

    with ThreadPoolExecutor() as pool:  # hashlib lets other threads run
        return dict(zip(found, pool.map(look, found), strict=True))
