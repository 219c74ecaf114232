"""What tells a whole checkpoint from half of one: a manifest beside it, written last.

    checkpoints/500/         the arrays
    checkpoints/500.json     the manifest: whose checkpoint it is, and the SHA-256 of every file in the folder

A folder without a manifest was not finished, and one whose files differ from it is damaged. Knows nothing of what is in
the files.
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

from polyturn.utils.atomic import write_text
from polyturn.utils.errors import UserError

OURS = re.compile(r"(\d+)(\..*)?")  # a checkpoint, its manifest, or what a kill left of one

type Manifest = Mapping[str, Any]


def steps(folder: Path) -> list[int]:
    """The steps of the checkpoints that were finished, in order."""
    return sorted(int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit())


def unfinished(folder: Path) -> list[int]:
    """The steps of folders without a manifest, in order: of writing that never ended."""
    found = {int(path.name.split(".")[0]) for path in folder.glob("*") if path.is_dir() and OURS.fullmatch(path.name)}
    return sorted(found - set(steps(folder)))


def write(folder: Path, step: int, about: Mapping[str, Any]) -> None:
    """Declare the checkpoint of `step` whole: hash its files, write the manifest. Raises UserError for a full disk."""
    files = _hashes(folder / str(step))
    write_text(_manifest(folder, step), json.dumps({"step": step, **about, "files": files}, indent=1) + "\n")


def read(folder: Path, step: int) -> Manifest | None:
    """The manifest of the checkpoint of `step`; None where it is damaged itself."""
    try:
        manifest = json.loads(_manifest(folder, step).read_text())
    except (ValueError, FileNotFoundError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("step") == step and "files" in manifest else None


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
    """Take the manifest away: the checkpoint no longer counts, and `prune` removes it in time."""
    _manifest(folder, step).unlink(missing_ok=True)


def prune(folder: Path, last: int, every: int | None) -> None:
    """Keep the newest `last` checkpoints and those of every `every` steps, and nothing else."""
    whole = steps(folder)
    kept = {*whole[-last:], *(step for step in whole if every and step % every == 0)}
    for step in set(whole) - kept:
        disown(folder, step)  # first, so that a kill in between leaves nothing that looks whole
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
