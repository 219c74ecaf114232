"""What a session needs of whatever writes the code: our engine, or an endpoint elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Sampling:
    """How a continuation is drawn. Temperature 0 takes the likeliest token each time."""

    temperature: float = 0.2
    top_p: float = 0.95
    max_tokens: int = 256
    seed: int = 0


class Continuation(Protocol):
    """What came back: the text, and why it ended ("stop", "eos" or "length")."""

    @property
    def text(self) -> str: ...
    @property
    def finish_reason(self) -> str: ...


class Completer(Protocol):
    """Continues a text that is given in pieces, the same pieces at every call with new ones behind them.

    Pieces are encoded apart, so what was encoded for an earlier call stays valid for a later one.
    """

    def continue_text(
        self, pieces: Sequence[str], sampling: Sampling, end: Callable[[str], int | None]
    ) -> Continuation:
        """Write on behind the last piece until `end(text so far)` gives a position, which cuts the text."""
        ...
