"""A benchmark's data file, from the disk or the network: named by its digest, so that it is the file that was meant."""

import hashlib
import os
from pathlib import Path
from urllib.parse import urlsplit

from polyturn.utils.atomic import replacing
from polyturn.utils.errors import UserError, reason
from polyturn.utils.progress import Counter

CHUNK = 1 << 20


def fetch(source: str, digest: str | None, cache: Path | None = None) -> Path:
    """The path of a data file.

    Args:
        source: a path, or an address that begins with http:// or https://, which is fetched once and kept.
        digest: SHA-256 in hex that the file must have; needed for an address.
        cache: where fetched files are kept; by default `polyturn/benchmarks` in the user's cache folder.

    Raises:
        UserError: the file has another digest (both are named), or cannot be read or fetched.
    """
    if not source.startswith(("http://", "https://")):
        if digest is not None:
            _check(Path(source), digest, source)
        return Path(source)
    if digest is None:
        raise UserError("A file from the network needs --data-digest, its SHA-256, so that it is the one you mean.")
    folder = cache or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "polyturn" / "benchmarks"
    place = folder / digest.lower() / Path(urlsplit(source).path).name
    if not place.exists():
        with replacing(place) as temporary:
            _download(source, temporary)
            _check(temporary, digest, source)
    return place


def _check(path: Path, digest: str, source: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}; check the path.") from None
    if found != digest.lower():
        raise UserError(f"{source} has the digest {found}, not {digest}; give the file that is meant, or its digest.")


def _download(source: str, path: Path) -> None:
    import httpx2

    try:
        with httpx2.stream("GET", source, follow_redirects=True, timeout=60) as answer, Counter("bytes") as counter:
            answer.raise_for_status()
            size = answer.headers.get("Content-Length")
            with path.open("wb") as file:
                for chunk in answer.iter_bytes(CHUNK):
                    file.write(chunk)
                    counter.show(file.tell(), int(size) if size else None)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise UserError(
            f"Cannot fetch {source} ({reason(error)}); try again, or fetch it yourself and give its path."
        ) from None
