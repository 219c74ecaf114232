"""Encodes corpora some times faster than the tokenizer itself, to the same ids: it remembers the pieces of words.

A byte-level BPE cuts a text into pieces by a pattern and encodes each for itself; source code has few pieces, over and
over. So texts are cut here, by Python's `re`, and a piece is encoded once. That is possible where the pattern is known
and can be said for `re`, which does not know Unicode's classes: for tokenizers made by `training.py`, and lines of
ASCII. All else goes to the tokenizer, which is the reference that a test holds this to.
"""

import json
import re
from collections.abc import Iterable

import numpy as np
import tokenizers

MOST_PIECES = 1 << 20  # remembered; then all are forgotten

# training.SPLIT, for ASCII, what is frequent first: only blanks begin more than one of these. The tokenizer takes runs
# of two blanks and more out of a text before it cuts what is between them, so a blank that begins such a run ends no
# piece here.
_ASCII = re.compile(
    "|".join(
        [
            r"[A-Za-z]+",
            r"""['"`_()\[\]{}.;\\]""",
            r" {2,31}",
            r" [=+\-*/%<>!&|^~@]+ (?! )",
            r" ",
            r"\n+",
            r"[,:#](?: (?! ))?",
            r"[0-9]",
            r"\t{2,9}",
            r"\t",
            r"""[^ \t\n\x0b\x0cA-Za-z0-9'"`_()\[\]{}.;\\,:#]+""",
            r"[\x0b\x0c]",
        ]
    )
)
_OTHER_LINES = re.compile(
    r"^[^\n\x80-\U0010ffff]*[^\x00-\x7f][^\n]*\n*", re.MULTILINE
)  # a line that is not ASCII, and all line ends behind it


class Pieces:
    """A tokenizer, and the ids of each piece met so far, as bytes: joining those is as fast as copying."""

    def __init__(self, backend: "tokenizers.Tokenizer") -> None:
        self.backend = backend
        self._known: dict[str, bytes] = {}

    def encode(self, text: str) -> np.ndarray:
        """The ids of a text, uint32, as `backend.encode` gives them."""
        return np.frombuffer(self._encode(text), np.uint32)

    def _encode(self, text: str) -> bytes:
        if "\r" in text:  # may stand in one piece with a line end
            return self._plain(text)
        if text.isascii():
            return self._ascii(text)
        ids: list[bytes] = []
        at = 0
        for other in _OTHER_LINES.finditer(text):
            ids += (self._ascii(text[at : other.start()]), self._plain(other[0]))
            at = other.end()
        return b"".join([*ids, self._ascii(text[at:])])

    def _plain(self, text: str) -> bytes:
        return _bytes(self.backend.encode(text, add_special_tokens=False))

    def _ascii(self, text: str) -> bytes:
        pieces = _ASCII.findall(text)
        known = self._known
        try:
            return b"".join([known[piece] for piece in pieces])
        except KeyError:
            if len(known) > MOST_PIECES:
                known.clear()
            new = [piece for piece in dict.fromkeys(pieces) if piece not in known]
            for piece, encoded in zip(new, self.backend.encode_batch_fast(new, add_special_tokens=False), strict=True):
                known[piece] = _bytes(encoded)
            return b"".join([known[piece] for piece in pieces])


def _bytes(encoded: "tokenizers.Encoding") -> bytes:
    return np.array(encoded.ids, np.uint32).tobytes()


def fits(backend: "tokenizers.Tokenizer", split: str, runs: Iterable[str]) -> bool:
    """Whether a tokenizer cuts texts by this pattern and takes these runs, and only these, out of them first."""
    shape = json.loads(backend.to_str())
    steps = (shape["pre_tokenizer"] or {}).get("pretokenizers", [])
    patterns = [step.get("pattern") for step in steps if step["type"] == "Split"]
    plain = {token["content"] for token in shape["added_tokens"] if not token["special"]}
    return shape["normalizer"] is None and len(steps) == 2 and patterns == [{"Regex": split}] and plain == set(runs)
