"""When a sample ends, and the text it spells: decoded token by token, characters never broken.

A character may be spread over several tokens, and so may a stop string. A character that is still incomplete
is held back, so that every rule sees only text that will stay.
"""

from collections.abc import Sequence

from polyturn.engine.types import Complete
from polyturn.tokenizer.bpe import Tokenizer

REPLACEMENT = "\ufffd"  # what a decoder writes for bytes that are no whole character


class TextStream:
    """Decodes tokens as they come; at the end the text is `tokenizer.decode` of all of them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._text = ""
        self._pending: list[int] = []  # tokens since the last one that ended with a whole character

    def add(self, token: int) -> str:
        """Take one more token in; the text so far, without a character that may still be incomplete."""
        self._pending.append(token)
        piece = self.tokenizer.decode(self._pending)
        if piece.endswith(REPLACEMENT):
            return self._text + piece[:-1]
        self._text += piece
        self._pending.clear()
        return self._text

    def finish(self) -> str:
        """The whole text. Bytes that never became a character are U+FFFD."""
        return self._text + self.tokenizer.decode(self._pending)


def find_cut(text: str, seen: int, stop: Sequence[str], complete: Complete | None) -> int | None:
    """Where `text` is to be cut, or None.

    Args:
        text: the sample so far.
        seen: how much of its start was searched before.
        stop: strings before the first of which the text ends.
        complete: asked about the whole text.
    """
    found = [text.find(s, max(0, seen - len(s) + 1)) for s in stop]
    cuts = [at for at in found if at >= 0]
    if complete is not None and (at := complete(text)) is not None:
        if not 0 <= at <= len(text):
            raise ValueError(f"complete() asked for a cut at {at} in a text of {len(text)} characters")
        cuts.append(at)
    return min(cuts, default=None)
