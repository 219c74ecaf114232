"""Which models there are, and where: built in, in a local folder, in the Hugging Face cache, on the Hub.

Built-in models are folders under `builtin/`, part of the package. The cache is the one that huggingface_hub
keeps; its documented layout is read directly, so that listing models needs the standard library alone.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from polyturn.hub.config_json import read_config
from polyturn.hub.names import CONFIG, GENERATION, INDEX, SINGLE, TOKENIZER, TOKENIZER_GPT2
from polyturn.utils.errors import UserError

DEFAULT = "polyturn-micro-mono"
BUILTIN = Path(__file__).parent / "builtin"
NAME = re.compile(r"[\w-][\w.-]*")
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
WANTED = [CONFIG, GENERATION, "*.safetensors", INDEX, *TOKENIZER, *TOKENIZER_GPT2]


@dataclass(frozen=True)
class Entry:
    """A model that can be loaded without a network."""

    name: str  # what `resolve` takes
    parameters: int
    source: str  # "built-in" or "cache"
    path: Path


class Row(TypedDict):
    """One model as `polyturn models --json` shows it."""

    name: str
    parameters: int
    source: str
    default: bool


class Listing(TypedDict):
    """What `polyturn models --json` prints."""

    schema: int
    models: list[Row]


def builtin_models() -> list[Entry]:
    """The models that are part of the package, by name."""
    folders = sorted(path.parent for path in BUILTIN.glob(f"*/{CONFIG}"))
    return [Entry(path.name, read_config(path).parameters, "built-in", path) for path in folders]


def cached_models() -> list[Entry]:
    """The CodeGen models with safetensors weights in the local Hugging Face cache, by name."""
    found = []
    for repository in sorted(_cache().glob("models--*--*")):
        name = repository.name.removeprefix("models--").replace("--", "/", 1)
        path = _cached(name)
        if path is None:
            continue
        try:
            found.append(Entry(name, read_config(path).parameters, "cache", path))
        except UserError:  # another architecture: most of what lies in the cache is not for us
            continue
    return found


def listing() -> Listing:
    """All local models, the built-in ones first."""
    rows = [
        Row(name=entry.name, parameters=entry.parameters, source=entry.source, default=entry.name == DEFAULT)
        for entry in builtin_models() + cached_models()
    ]
    return {"schema": 1, "models": rows}


def resolve(name_or_path: str | Path) -> Path:
    """The folder of a model: a built-in name, else a local folder, else a Hub id (`owner/name`).

    A Hub id that is not in the local cache is downloaded into it.

    Raises:
        UserError: it is none of these, or cannot be downloaded.
    """
    name = str(name_or_path)
    if NAME.fullmatch(name) and (BUILTIN / name / CONFIG).is_file():
        return BUILTIN / name
    if Path(name).is_dir():
        return Path(name)
    if isinstance(name_or_path, str) and HUB_ID.fullmatch(name):
        return _cached(name) or _download(name)
    names = ", ".join(entry.name for entry in builtin_models()) or "there are none"
    raise UserError(f"There is no model {name!r}; give a built-in name ({names}), a folder, or a Hub id (owner/name).")


def _cache() -> Path:
    """The folder of huggingface_hub's cache, by its own environment variables."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    user = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    home = Path(os.environ.get("HF_HOME") or user / "huggingface")
    return (home / "hub").expanduser()


def _cached(name: str) -> Path | None:
    """The snapshot of the main branch of `name`, if it is there with configuration and weights."""
    repository = _cache() / f"models--{name.replace('/', '--')}"
    try:
        path = repository / "snapshots" / (repository / "refs" / "main").read_text().strip()
    except OSError:
        return None
    whole = (path / CONFIG).is_file() and ((path / SINGLE).is_file() or (path / INDEX).is_file())
    return path if whole else None


def _download(name: str) -> Path:
    """Fetch a model into the cache with huggingface_hub, which shows its progress."""
    absent = f"{name} is not built in, no folder, and not in the local Hugging Face cache"
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UserError(
            f"{absent}; run `pip install huggingface_hub` to download it, or give the path of a copy."
        ) from error
    try:
        return Path(snapshot_download(name, allow_patterns=WANTED))
    except Exception as error:  # its own errors, the HTTP client's, the system's: the model did not come
        reason = str(error).partition("\n")[0].rstrip(". ") or type(error).__name__
        raise UserError(
            f"{absent}, and the download failed ({reason}); check the name and the network, or give the path of a copy."
        ) from error
