"""Signatures by which near-duplicates are found without comparing every text with every other.

    found = signature(text, "Python")  # uint32 [128]; two texts share about as many entries as runs of five tokens
    bands(found, 0.7)                  # uint64 [21]; texts with one band in common are worth comparing
    similarity(one, other)             # the estimated Jaccard index of their runs of tokens, from 0 to 1

Tokens are words and numbers, and each other character by itself; blanks are left out, and comments in the languages
that `comments.py` knows, so that layout, line ends and headers do not count. A text is the set of its runs of `words`
consecutive tokens.

Each entry of a signature is the least value that one of 128 permutations of 32-bit numbers gives to a run's hash
(Broder, "On the resemblance and containment of documents", 1997). The permutations are h -> a h + b modulo 2**32 with
odd a: one multiplication of 32 bits each, which NumPy does 16 at a time. Everything before it works on whole arrays of
bytes as well; there is no Python loop over tokens. One-permutation hashing with densification needs 128 times fewer
multiplications, but tokens take most of the time either way, and for short texts its error is twice as large:
docs/dedup.md has the measurements.
"""

from functools import cache

import numpy as np

from polyturn.data.comments import without

WORDS = 5
PERMUTATIONS = 128
CERTAINTY = 0.9
"""The chance that two texts just as similar as the threshold have a band in common."""

_BLANK, _WORD, _OTHER = 0, 1, 2
_LETTERS = frozenset(b"_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") | set(range(128, 256))
_CLASSES = bytes(_BLANK if b in b" \t\n\r\v\f\0" else _WORD if b in _LETTERS else _OTHER for b in range(256))
"""Of each byte; those from 128 are parts of letters other than ASCII's."""


def signature(text: str, language: str = "", words: int = WORDS, permutations: int = PERMUTATIONS) -> np.ndarray:
    """uint32 [permutations] of a text, of any length.

    Of a text of fewer than `words` tokens, all of them are the one run. Of one that is all comments, they are the text.
    """
    found = runs(tokens(text, language), words)
    factors, offsets = _permutations(permutations)
    least = np.full(permutations, 0xFFFF_FFFF, np.uint32)
    space = np.empty((permutations, min(len(found), _BLOCK)), np.uint32)
    for start in range(0, len(found), _BLOCK):  # a block's products stay in the cache
        block = found[start : start + _BLOCK]
        values = np.multiply(block, factors[:, None], out=space[:, : len(block)])
        values += offsets[:, None]
        np.minimum(least, values.min(axis=1), out=least)
    return least


def bands(signatures: np.ndarray, threshold: float) -> np.ndarray:
    """uint64 [..., bands] of signatures, uint32 [..., permutations]: two texts with one in common are candidates.

    The band's number is part of its hash.
    """
    count, rows = shape(threshold, signatures.shape[-1])
    grouped = signatures[..., : count * rows].reshape(*signatures.shape[:-1], count, rows).astype(np.uint64)
    mixed = np.full(grouped.shape[:-1], 0, np.uint64) + np.arange(count, dtype=np.uint64)
    for row in range(rows):
        mixed = mix(mixed ^ grouped[..., row])
    return mixed


@cache
def shape(threshold: float, permutations: int = PERMUTATIONS) -> tuple[int, int]:
    """(bands, rows of each) for a threshold: the most rows, so the fewest candidates, that keep the certainty.

    Texts of similarity s have a band in common with a chance of 1 - (1 - s**rows)**bands.
    """
    rows = max(
        (r for r in range(1, permutations + 1) if 1 - (1 - threshold**r) ** (permutations // r) >= CERTAINTY), default=1
    )
    return permutations // rows, rows


def similarity(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The share of entries that signatures [..., permutations] have in common. Its standard error is below 0.045."""
    return (one == other).mean(axis=-1)


# ---- tokens and runs, as hashes

_BLOCK = 4096  # 2 MiB of products
_SPREAD = np.uint64(0x9E37_79B9_7F4A_7C15)  # 2**64 over the golden ratio, odd


def tokens(text: str, language: str = "") -> np.ndarray:
    """uint64: a hash of each token of a text in order, comments left out unless there is nothing else."""
    found = _hashes(without(text, language).encode("utf-8", "surrogatepass"))
    return found if len(found) else _hashes(text.encode("utf-8", "surrogatepass"))


def _hashes(encoded: bytes) -> np.ndarray:
    """Of a token c0 c1 ...: the sum of b[c_i] m**i modulo 2**64, mixed; all at once, by differences of running sums."""
    classes = np.frombuffer(encoded.translate(_CLASSES), np.uint8)
    begins = classes == _OTHER  # a token each
    begins[:1] = True
    begins[1:] |= classes[1:] != classes[:-1]
    edges = np.append(np.flatnonzero(begins), len(encoded))
    words = classes[edges[:-1]] != _BLANK if encoded else np.empty(0, bool)
    powers, inverses = _powers(max(len(encoded) - 1, 1).bit_length())
    sums = np.zeros(len(encoded) + 1, np.uint64)
    np.cumsum(_BYTES[np.frombuffer(encoded, np.uint8)] * powers[: len(encoded)], out=sums[1:])
    starts, ends = edges[:-1][words], edges[1:][words]
    return mix((sums[ends] - sums[starts]) * inverses[starts])


@cache
def _powers(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """uint64 [2**bits] each: the powers of m, and those of its inverse modulo 2**64."""

    def first(number: int) -> np.ndarray:
        return np.multiply.accumulate(np.r_[np.uint64(1), np.full((1 << bits) - 1, number, np.uint64)])

    return first(int(_SPREAD)), first(pow(int(_SPREAD), -1, 1 << 64))


def runs(hashes: np.ndarray, words: int = WORDS) -> np.ndarray:
    """uint32: a hash of each run of `words` tokens; of fewer tokens, one of them all."""
    count = max(len(hashes) - words + 1, 1)
    total = np.zeros(count, np.uint64)
    for place in range(min(words, len(hashes))):
        total = (total + hashes[place : place + count]) * _SPREAD
    return (mix(total) >> np.uint64(32)).astype(np.uint32)


def mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of MurmurHash3: every bit of the result depends on every bit of the value."""
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51_AFD7_ED55_8CCD)
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xC4CE_B9FE_1A85_EC53)
    return values ^ (values >> np.uint64(33))


def _numbers(seed: int, count: int) -> np.ndarray:
    """uint64: numbers that look random, the same in every version of NumPy."""
    return mix((np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed << 32)) * _SPREAD)


_BYTES = _numbers(1, 256)


@cache
def _permutations(count: int) -> tuple[np.ndarray, np.ndarray]:
    return (_numbers(2, count) | np.uint64(1)).astype(np.uint32), _numbers(3, count).astype(np.uint32)
