"""Keeps held-out benchmark text out of what we train on, by the digests of its word runs alone.

    held_out = Overlap.load("digests.bin")  # or Overlap.from_files(["benchmark.jsonl"])
    held_out.hits(text)  # the runs of words that both have; drop the text if there is one

The text of a benchmark need not be at hand: a digests file holds the first 8 bytes of the SHA-256 of each of
its runs of words, one after another. The rule, which whoever makes such a file has to follow too:

- a word is a match of `[A-Za-z0-9_]+`, in lower case; a run is 7 to 10 consecutive words joined by single
  spaces (10 for running text, fewer for a short sentence taken whole);
- a run counts only if at least 6 of its words have two or more characters of which one is a letter: lists of
  numbers prove nothing.

Every run of every training text has to be hashed, four for each word, so `hits` finds the runs' places with NumPy and
spends its time in SHA-256 itself. `runs` is the rule in its plain form.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

import numpy as np

from polyturn.utils.errors import UserError
from polyturn.utils.jsonl import read_jsonl

RUN_LENGTHS = (7, 8, 9, 10)
TELLING_WORDS = 6
DIGEST_BYTES = 8
WORD = re.compile(r"[A-Za-z0-9_]+")

_WORD_BYTES = re.compile(WORD.pattern.encode())
_BLOCK = 1 << 14  # runs hashed at a time: 512 KiB of digests
_TABLE_BITS = 20


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

    @classmethod
    def from_files(cls, paths: Iterable[str | Path]) -> "Overlap":
        """The digests of benchmark files: each string in a `.jsonl`, `.jsonl.gz` or `.json` file, any other as text.

        Of each string the runs of 10 words; one of 7 to 9 words is taken whole.

        Raises:
            UserError: a file cannot be read, or none of its strings has a run that counts.
        """
        digests: set[bytes] = set()
        for path in paths:
            found = {_digest(run) for text in _texts(Path(path)) for run in _held_out_runs(text)}
            if not found:
                raise UserError(f"{path} holds no run of 7 words or more to keep out; check that it is the right file.")
            digests |= found
        return cls(frozenset(digests))

    def hits(self, text: str) -> list[str]:
        """The runs of `text` that the held-out text holds too, shortest first, in order."""
        # Only ASCII letters change in bytes.lower(): str.lower() makes words of other letters (the Kelvin sign is a k).
        words = b" ".join(_WORD_BYTES.findall(text.encode("utf-8", "surrogatepass").lower()))
        found: list[str] = []
        for starts, ends in _places(words):
            for first in range(0, len(starts), _BLOCK):
                block = slice(first, first + _BLOCK)
                places = zip(starts[block].tolist(), ends[block].tolist(), strict=True)
                digests = b"".join([sha256(words[start:end]).digest() for start, end in places])
                heads = np.frombuffer(digests, "<u8")[::4]
                for i in np.flatnonzero(self._table[heads & _TABLE_MASK]):
                    if heads[i].tobytes() in self.digests:
                        found.append(words[starts[first + i] : ends[first + i]].decode())
        return found

    @cached_property
    def _table(self) -> np.ndarray:
        """Do any digests begin with these bits? bool [2**20]; the search for nearly all runs ends here."""
        table = np.zeros(1 << _TABLE_BITS, bool)
        table[np.frombuffer(b"".join(self.digests), "<u8") & _TABLE_MASK] = True
        return table


_TABLE_MASK = np.uint64((1 << _TABLE_BITS) - 1)


def runs(text: str, lengths: Iterable[int] = RUN_LENGTHS) -> list[str]:
    """All runs of `text` that count, shortest first, in order."""
    words = [word.lower() for word in WORD.findall(text)]
    telling = [0, *accumulate(_tells(word) for word in words)]
    return [
        " ".join(words[start : start + length])
        for length in lengths
        for start in range(len(words) - length + 1)
        if telling[start + length] - telling[start] >= TELLING_WORDS
    ]


def _tells(word: str) -> bool:
    return len(word) > 1 and any(character.isalpha() for character in word)


def _digest(run: str) -> bytes:
    return sha256(run.encode()).digest()[:DIGEST_BYTES]


def _places(words: bytes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each run length, where in `words` (joined by single spaces) the runs that count begin and end."""
    characters = np.frombuffer(words, np.uint8)
    spaces = np.flatnonzero(characters == ord(" "))
    starts = np.concatenate(([0], spaces + 1))
    ends = np.concatenate((spaces, [len(words)]))
    letters = np.concatenate(([0], np.cumsum(characters >= ord("a"))))  # in lower case; "_" comes before "a"
    tells = (ends - starts > 1) & (letters[ends] > letters[starts])
    telling = np.concatenate(([0], np.cumsum(tells)))
    for length in RUN_LENGTHS:
        counts = np.flatnonzero(telling[length:] - telling[: max(len(telling) - length, 0)] >= TELLING_WORDS)
        yield starts[counts], ends[counts + length - 1]


def _held_out_runs(text: str) -> list[str]:
    words = len(WORD.findall(text))
    return runs(text, [min(words, RUN_LENGTHS[-1])]) if words >= RUN_LENGTHS[0] else []


def _texts(path: Path) -> Iterator[str]:
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        for _, record in read_jsonl(path):
            yield from _strings(record)
        return
    try:
        text = path.read_text("utf-8")
        if path.suffix == ".json":
            yield from _strings(json.loads(text))
        else:
            yield text
    except OSError as error:
        raise UserError(f"Cannot read the benchmark file {path}: {error.strerror}; check the path.") from error
    except ValueError as error:
        raise UserError(f"{path} cannot be read as UTF-8 text or JSON ({error}); mend the file.") from error


def _strings(tree: object) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict | list):
        for branch in tree.values() if isinstance(tree, dict) else tree:
            yield from _strings(branch)
