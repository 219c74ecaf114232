"""What sessions and benchmarks need of whatever writes the code: our engine, or an endpoint elsewhere.

One request is one sample with a seed of its own, so a sample is a pure function of the model, the text and the
settings: whoever draws it, alone or beside others, in one run or after a resume, draws the same. Our engine keeps
that to the last bit with `load(..., strict=True)`; an endpoint keeps it as well as its server does.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from polyturn.engine.types import Completion, TextRequest


class Completer(Protocol):
    """Continues texts, given in pieces; see `TextRequest`."""

    @property
    def name(self) -> str:
        """The model, as it was asked for."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of the model in hex: two with the same one are the same. Empty where nobody can know."""
        ...

    @property
    def width(self) -> int:
        """How many requests are worked on at a time; calls with several times as many keep all of it busy."""
        ...

    @property
    def context(self) -> int | None:
        """The most tokens of text and sample together; None where nobody can know."""
        ...

    def complete_texts(self, requests: Sequence[TextRequest]) -> Iterator[tuple[int, Completion]]:
        """Draw one sample for each request; yields its index in `requests` and the sample, in any order.

        An endpoint yields each as it comes, so that it can be kept whatever happens to the others; our engine
        draws all of them first.

        The sample's `text` ends where a stop string or `complete` says, whoever writes it. One that does not fit,
        text and `max_tokens` together, has finish reason "context", no text, and does not disturb the others.

        Raises:
            UserError: the model cannot be asked at all; what was done before has been yielded.
        """
        ...
