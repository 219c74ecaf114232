"""The list of what its owners do not want in training data.

A text file, one entry a line, `#` begins a comment: an `owner`, an `owner/repo`, or the hash of one file's bytes as
they were published, as git counts it (SHA-1 of the blob, 40 digits) or as `sha256sum` does (64 digits). Names are
compared without regard to case. Where a corpus says no more of a repository than one name, that name counts as its
owner too: rather one too many left out than one too few.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from polyturn.utils.errors import UserError

_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
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
        repo = repo.lower()
        return repo in self.names or repo.partition("/")[0] in self.names

    def lists_bytes(self, data: bytes) -> bool:
        """Whether a file with these bytes is on the list."""
        if not self.hashes:
            return False
        blob = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
        blob.update(data)
        return blob.hexdigest() in self.hashes or hashlib.sha256(data).hexdigest() in self.hashes
