r"""Keeps held-out benchmark text out of what we train on, by the digests of its word runs alone.

    held_out = Overlap.load("digests.bin")  # or Overlap.from_files(["benchmark.jsonl"])
    held_out.hits(text)  # the runs of words that both have; drop the text if there is one

The text of a benchmark need not be at hand: a digests file holds the first 8 bytes of the SHA-256 of each of
its runs of words, one after another. The rule, which whoever makes such a file has to follow too:

- a word is a match of `[A-Za-z0-9_]+`, in lower case; a run is 7 to 10 consecutive words joined by single
  spaces (10 for running text, fewer for a short sentence taken whole);
- a run counts only if at least 6 of its words have two or more characters of which one is a letter: lists of
  numbers prove nothing.

A text is searched twice: as it stands, and as it reads (`as_read`), where escapes such as `\n` in a string stand
between words, letters of full width are plain ones, and soft hyphens are gone.

Every run of every training text has to be hashed, four for each word, so `hits` finds the runs' places with NumPy,
hashes the four that begin at one word in one go, and of the text as it reads only those runs that are other than
before. `runs` is the rule in its plain form.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
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

_ESCAPE = r"\\+(?:[abfnrtv0]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})"  # however often escaped itself
_ESCAPES = re.compile(_ESCAPE)
_HIDDEN = re.compile(rf"{_ESCAPE}|[^\x00-\x7f]+")
_IS_WORD = np.array([WORD.fullmatch(chr(byte)) is not None and byte < 128 for byte in range(256)])
_BLOCK = 1 << 12  # words whose runs are hashed at a time: 512 KiB of digests
_TABLE_BITS = 20


@dataclass(frozen=True)
class Overlap:
    """The digests of a held-out text's runs; of `strings` that were given, `short` ones have no run that counts."""

    digests: frozenset[bytes]
    strings: int = 0
    short: int = 0

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

        Of each string, as it stands and as it reads, the runs of 10 words; one of 7 to 9 words is taken whole. Shorter
        ones cannot be told from other text and are only counted.

        Raises:
            UserError: a file cannot be read, or none of its strings has a run that counts.
        """
        digests: set[bytes] = set()
        strings = short = 0
        for path in paths:
            before = len(digests)
            for text in _texts(Path(path)):
                found = {_digest(run) for form in {text, as_read(text)} for run in _held_out_runs(form)}
                digests |= found
                strings += 1
                short += not found
            if len(digests) == before:
                raise UserError(f"{path} holds no run of 7 words or more to keep out; check that it is the right file.")
        return cls(frozenset(digests), strings, short)

    def hits(self, text: str) -> list[str]:
        """The runs of `text` that the held-out text holds too, shortest first, in order; then those as it reads."""
        found = self._hits(text.encode("utf-8", "surrogatepass"), None)
        parts = _read_parts(text)
        if len(parts) > 1:
            # True: bytes that are other than before. A run that neither holds nor touches one was looked at above.
            changed = np.concatenate([np.full(len(part), i % 2 == 1) for i, part in enumerate(parts)])
            found += self._hits(b"".join(parts), changed)
        return found

    def _hits(self, data: bytes, changed: np.ndarray | None) -> list[str]:
        """The runs of UTF-8 text that are held out, or of those the ones at changed bytes, bool [len(data)]."""
        words, starts, ends, places = _split(data)
        counts = _counting(words, starts, ends)
        if changed is not None:
            counts &= _touching(changed, *places)
        found: list[tuple[int, int, int]] = []  # length, first word, and where the run ends
        stops = ends[np.minimum(np.arange(len(ends))[:, None] + _LAST, len(ends) - 1)]
        for shortest in range(len(RUN_LENGTHS)):  # that counts; where one does, so do longer ones from the same word on
            chosen = counts[:, shortest] & ~counts[:, :shortest].any(1)
            firsts = np.flatnonzero(chosen)
            for at in range(0, len(firsts), _BLOCK):
                block = firsts[at : at + _BLOCK]
                begins, *ends_of = starts[block].tolist(), *stops[block, shortest:].T.tolist()
                hashes = [sha256(words[a:b]) for a, b in zip(begins, ends_of[0], strict=True)]
                for length, those in enumerate(ends_of, shortest):
                    if length > shortest:  # the same run and one word more
                        for hashed, a, b in zip(hashes, begins, those, strict=True):
                            hashed.update(words[a:b])
                    begins = those
                    heads = np.frombuffer(b"".join([hashed.digest() for hashed in hashes]), "<u8")[::4]
                    for i in np.flatnonzero(self._table[heads & _TABLE_MASK] & counts[block, length]).tolist():
                        if heads[i].tobytes() in self.digests:
                            found.append((length, int(block[i]), those[i]))
        return [words[starts[first] : stop].decode() for _, first, stop in sorted(found)]

    @cached_property
    def _table(self) -> np.ndarray:
        """Do any digests begin with these bits? bool [2**20]; the search for nearly all runs ends here."""
        table = np.zeros(1 << _TABLE_BITS, bool)
        table[np.frombuffer(b"".join(self.digests), "<u8") & _TABLE_MASK] = True
        return table


_TABLE_MASK = np.uint64((1 << _TABLE_BITS) - 1)
_LAST = np.array(RUN_LENGTHS) - 1


def as_read(text: str) -> str:
    r"""The text as people read it: escapes are blanks, letters in NFKC, and what is not to be seen is gone.

    `\n`, `\x41`, `\u00e9` and the like become blanks, as do `\\n` and longer ones; soft hyphens, joiners and other
    characters of category Cf are removed; NFKC makes plain letters of those of full width, and of ligatures.
    """
    return b"".join(_read_parts(text)).decode("utf-8", "surrogatepass")


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


def _read_parts(text: str) -> list[bytes]:
    """`as_read` in pieces: as it stands, changed, as it stands, and so on."""
    parts: list[bytes] = []
    at = 0
    for match in (_ESCAPES if text.isascii() else _HIDDEN).finditer(text):
        start = match.start()
        if not match[0].isascii() and start > at:
            start -= 1  # an accent may belong to the character before
        hidden = text[start : match.end()]
        shown = _shown(hidden)
        if shown != hidden:
            parts += [text[at:start].encode("utf-8", "surrogatepass"), shown.encode("utf-8", "surrogatepass")]
            at = match.end()
    return [*parts, text[at:].encode("utf-8", "surrogatepass")]


@lru_cache(1 << 14)
def _shown(hidden: str) -> str:
    if hidden.isascii():
        return " " * len(hidden)
    seen = "".join(character for character in hidden if unicodedata.category(character) != "Cf")
    return unicodedata.normalize("NFKC", seen)


def _split(data: bytes) -> tuple[bytes, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The words in lower case, joined by single spaces; where each begins and ends in that, and in `data`."""
    # Only ASCII letters change in bytes.lower(): str.lower() makes words of other letters (the Kelvin sign is a k).
    characters = np.frombuffer(data.lower(), np.uint8)
    inside = np.zeros(len(data) + 2, bool)
    inside[1:-1] = _IS_WORD[characters]
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    firsts, lasts = edges[::2], edges[1::2]
    sizes = lasts - firsts
    behind = inside[:-2] & ~inside[1:-1]  # the character behind a word becomes the space
    joined = np.where(inside[1:-1], characters, ord(" "))[inside[1:-1] | behind].astype(np.uint8)
    starts = np.cumsum(sizes + 1) - sizes - 1
    return joined.tobytes(), starts, starts + sizes, (firsts, lasts)


def _counting(words: bytes, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Is there a run of each of RUN_LENGTHS from each word on, and does it count? bool [words, 4]."""
    letters = np.concatenate(([0], np.cumsum(np.frombuffer(words, np.uint8) >= ord("a"))))  # "_" comes before "a"
    tells = (ends - starts > 1) & (letters[ends] > letters[starts])
    telling = np.concatenate(([0], np.cumsum(tells)))
    counts = np.zeros((len(starts), len(RUN_LENGTHS)), bool)
    for i, length in enumerate(RUN_LENGTHS):
        whole = max(len(starts) - length + 1, 0)
        counts[:whole, i] = telling[length:] - telling[:whole] >= TELLING_WORDS
    return counts


def _touching(changed: np.ndarray, firsts: np.ndarray, lasts: np.ndarray) -> np.ndarray:
    """Has the run of each of RUN_LENGTHS from each word on a changed byte in it or beside it? bool [words, 4]."""
    until = np.concatenate(([0], np.cumsum(changed), [changed.sum()]))
    last = np.minimum(np.arange(len(firsts))[:, None] + _LAST, len(firsts) - 1)
    return until[lasts[last] + 1] > until[np.maximum(firsts - 1, 0)][:, None]


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
