"""Tensors in safetensors files: one file, or several with an index that says which tensor lies where."""

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from polyturn.hub.config_json import read_json
from polyturn.hub.names import INDEX, SINGLE
from polyturn.utils.errors import UserError

SHARD_BYTES = 4 * 2**30  # larger models are cut into files of at most this much
READABLE = {"F32", "F16", "BF16"}
WRITABLE = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def files_of(folder: Path) -> list[Path]:
    """The files that hold the weights of `folder`.

    Raises:
        UserError: there are none, or the index names one that is missing.
    """
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if (folder / INDEX).exists():
        return _shards(folder)
    if list(folder.glob("*.bin")):
        raise UserError(
            f"{folder} holds its weights as pytorch_model.bin, a format that can run code when it is opened; "
            "convert it to safetensors with from_pretrained and then save_pretrained of transformers."
        )
    raise UserError(f"There is no {SINGLE} in {folder}; fetch it, or give the path of another model folder.")


def _shards(folder: Path) -> list[Path]:
    index = folder / INDEX
    placed = read_json(index).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise UserError(f"{index} has no weight_map; fetch or copy it again.")
    names = sorted({str(name) for name in placed.values()})
    for name in names:
        if Path(name).name != name:
            raise UserError(f"{index} names {name!r}, which is no file of this folder; fetch or copy it again.")
        if not (folder / name).is_file():
            raise UserError(f"{index} names {name}, which is missing; fetch or copy that file too.")
    return [folder / name for name in names]


@contextmanager
def opened(path: Path) -> Iterator[safetensors.safe_open]:
    """Open one file for reading. Raises UserError where it is damaged, cut short or may not be read."""
    try:
        file = safetensors.safe_open(str(path), framework="numpy")
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is damaged or cut short ({error}); fetch or copy it again.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}); see to its permissions.") from error
    with file:
        yield file


def locate(files: list[Path], shapes: Mapping[str, tuple[int, ...]], ignored: Callable[[str], bool]) -> dict[str, Path]:
    """In which file each tensor of `shapes` lies, in the order of `shapes`. Reads headers alone.

    Raises:
        UserError: a tensor is missing, has another shape or an unreadable type, or is none of the model's.
    """
    found: dict[str, Path] = {}
    for path in files:
        with opened(path) as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                if not ignored(name):
                    _check(name, file, path, shapes)
                    found[name] = path
    missing = [name for name in shapes if name not in found]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{files[0].parent} lacks the tensor {missing[0]}{others}; fetch or copy the model again.")
    return {name: found[name] for name in shapes}


def _check(name: str, file: safetensors.safe_open, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    if name not in shapes:
        raise UserError(f"{path} holds a tensor {name} that a model of this shape has no use for; check config.json.")
    entry = file.get_slice(name)
    shape, dtype = tuple(entry.get_shape()), entry.get_dtype()
    if shape != shapes[name]:
        raise UserError(
            f"{path} holds {name} with shape {list(shape)} where config.json asks for {list(shapes[name])}; "
            "fetch both files again from one place."
        )
    if dtype not in READABLE:
        raise UserError(f"{path} holds {name} as {dtype}; save the model as float32, float16 or bfloat16.")


def read(located: Mapping[str, Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Each tensor as stored, in the order of `located`, one at a time."""
    for path, run in groupby(located, key=lambda name: located[name]):
        with opened(path) as file:
            for name in run:
                yield name, file.get_tensor(name)


def write(
    folder: Path,
    shapes: Mapping[str, tuple[int, ...]],
    fill: Callable[[str, np.ndarray], None],
    dtype: str,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write all tensors into an existing folder; holds one file's worth of them at a time.

    Args:
        folder: receives the files.
        shapes: names and shapes, in order.
        fill: puts the numbers of the named tensor into an empty array.
        dtype: "float32" or "bfloat16".
        shard_bytes: a model larger than this is cut into files of at most this size, an index beside them.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    parts = _parts(shapes, WRITABLE[dtype].itemsize, shard_bytes)
    placed: dict[str, str] = {}
    for number, names in enumerate(parts, start=1):
        tensors = {name: np.empty(shapes[name], WRITABLE[dtype]) for name in names}
        for name, tensor in tensors.items():
            fill(name, tensor)
        file = SINGLE if len(parts) == 1 else f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        with disk_errors():  # transformers reads no file without this format
            safetensors.numpy.save_file(tensors, folder / file, metadata={"format": "pt"})
            (folder / file).chmod(folder.stat().st_mode & 0o666)  # safetensors makes it the owner's alone
        placed |= dict.fromkeys(names, file)
    if len(parts) > 1:
        size = sum(math.prod(shape) for shape in shapes.values())
        sizes = {"total_parameters": size, "total_size": size * WRITABLE[dtype].itemsize}
        (folder / INDEX).write_text(json.dumps({"metadata": sizes, "weight_map": placed}, indent=2) + "\n")


def _parts(shapes: Mapping[str, tuple[int, ...]], itemsize: int, limit: int) -> list[list[str]]:
    """Cut the names into runs of at most `limit` bytes; a tensor larger than that stands alone."""
    parts: list[list[str]] = []
    room = -1
    for name, shape in shapes.items():
        size = math.prod(shape) * itemsize
        if size > room:
            parts.append([])
            room = limit
        parts[-1].append(name)
        room -= size
    return parts


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn the bare exceptions by which libraries written in Rust report a full disk into OSError."""
    try:
        yield
    except Exception as error:
        code = re.search(r"\(os error (\d+)\)", str(error))
        if isinstance(error, OSError) or code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1]))) from error
