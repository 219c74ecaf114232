"""The list of what its owners do not want in training data.

A text file, one entry a line, `#` begins a comment: an `owner` (the first part of a name: of GitLab's groups the
outermost), an `owner/repo` or `owner/group/repo`, or the hash of one file's bytes as they were published, as git counts
it (SHA-1 of the blob, 40 digits) or as `sha256sum` does (64 digits). Names are compared without regard to case.

Of a repository a corpus may know less than its whole name, and folders may stand before it. Rather one too many left
out than one too few: a name of one part is taken for an owner and for the last part of an entry, and an entry of two
parts or more is found anywhere in a name.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from polyturn.utils.errors import UserError

_NAME = re.compile(r"[\w.~-]+(?:/[\w.~-]+)*")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class OptOut:
    """A list, in lower case."""

    names: frozenset[str] = frozenset()
    hashes: frozenset[str] = frozenset()

    @classmethod
    def load(cls, path: str | Path) -> "OptOut":
        """Read a list. Raises UserError where it cannot be read or a line is none of the three."""
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not in UTF-8"
            raise UserError(f"Cannot read the opt-out list {path}: {reason}; check the path.") from None
        names, hashes = set(), set()
        for number, line in enumerate(lines, 1):
            entry = line.partition("#")[0].strip().lower()
            if _HASH.fullmatch(entry):
                hashes.add(entry)
            elif _NAME.fullmatch(entry):
                names.add(entry)
            elif entry:
                raise UserError(f"Line {number} of {path} is no owner, owner/repo or hash: {entry!r}; mend it.")
        return cls(frozenset(names), frozenset(hashes))

    def lists_repo(self, repo: str) -> bool:
        """Whether a repository, by `owner/repo` or what else is known of it, or its owner is on the list."""
        parts = plain_name(repo).split("/")
        alone = len(parts) == 1 and parts[0] in self._last_parts
        return parts[0] in self.names or alone or self.lists_folder("/".join(parts))

    def lists_folder(self, path: str, owners: bool = False) -> bool:
        """Whether an entry of two parts or more stands anywhere in a path of folders; with `owners`, one of one too."""
        parts = path.lower().split("/")
        if owners and self.names.intersection(parts):
            return True
        runs = ("/".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 2, len(parts) + 1))
        return bool(self._last_parts) and any(run in self.names for run in runs)

    @cached_property
    def _last_parts(self) -> frozenset[str]:
        """Of entries of two parts or more."""
        return frozenset(name.rpartition("/")[2] for name in self.names if "/" in name)

    def lists_bytes(self, data: bytes) -> bool:
        """Whether a file with these bytes is on the list."""
        if not self.hashes:
            return False
        blob = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
        blob.update(data)
        return blob.hexdigest() in self.hashes or hashlib.sha256(data).hexdigest() in self.hashes


def plain_name(repo: str) -> str:
    """`owner/repo` in small letters, of a repository that may be written as an address with scheme, host and `.git`."""
    name = repo.strip().lower()
    name = re.sub(r"^(?:\w[\w+.-]*://[^/]*/|[^/@]+@[^/:]+:|[\w-]+(?:\.[\w-]+)+/(?=[^/]+/))", "", name)
    return name.strip("/").removesuffix(".git")
