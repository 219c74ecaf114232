"""Keeps held-out benchmark text out of what we train on, by the digests of its word runs alone.

The text of a benchmark need not be at hand: a digests file holds the first 8 bytes of the SHA-256 of each of
its runs of words, one after another. The rule, which whoever makes such a file has to follow too:

- a word is a match of `[A-Za-z0-9_]+`, in lower case; a run is 7 to 10 consecutive words joined by single
  spaces (10 for running text, fewer for a short sentence taken whole);
- a run counts only if at least 6 of its words have two or more characters of which one is a letter: lists of
  numbers prove nothing.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

from polyturn.utils.errors import UserError

RUN_LENGTHS = (7, 8, 9, 10)
TELLING_WORDS = 6
DIGEST_BYTES = 8
WORD = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class Overlap:
    """The digests of a held-out text's runs."""

    digests: frozenset[bytes]

    @classmethod
    def load(cls, path: str | Path) -> "Overlap":
        """Read a digests file. Raises UserError where it is missing or is no such file."""
        try:
            raw = Path(path).read_bytes()
        except OSError as error:
            raise UserError(f"Cannot read the digests file {path}: {error.strerror}; check the path.") from error
        if not raw or len(raw) % DIGEST_BYTES:
            raise UserError(f"{path} is no digests file: give one whose size is a multiple of 8 bytes.")
        return cls(frozenset(raw[i : i + DIGEST_BYTES] for i in range(0, len(raw), DIGEST_BYTES)))

    def hits(self, text: str) -> list[str]:
        """The runs of `text` that the held-out text holds too, shortest first."""
        return [run for run in runs(text) if sha256(run.encode()).digest()[:DIGEST_BYTES] in self.digests]


def runs(text: str) -> list[str]:
    """All runs of `text` that count, shortest first, in order."""
    words = [word.lower() for word in WORD.findall(text)]
    telling = [0, *accumulate(_tells(word) for word in words)]
    return [
        " ".join(words[start : start + length])
        for length in RUN_LENGTHS
        for start in range(len(words) - length + 1)
        if telling[start + length] - telling[start] >= TELLING_WORDS
    ]


def _tells(word: str) -> bool:
    return len(word) > 1 and any(character.isalpha() for character in word)
