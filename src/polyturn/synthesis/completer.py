"""What a session needs of whatever writes the code: our engine, or an endpoint elsewhere."""

from collections.abc import Sequence
from typing import Protocol

from polyturn.engine.types import Complete, Completion, Sampling


class Completer(Protocol):
    """Continues a text that is given in pieces, the same pieces at every call with new ones behind them.

    Pieces are encoded apart, so what was encoded for an earlier call stays valid for a later one.
    """

    def continue_text(self, pieces: Sequence[str], sampling: Sampling, complete: Complete) -> Completion:
        """Write on behind the last piece until `complete(text so far)` gives a position, which cuts the text."""
        ...
