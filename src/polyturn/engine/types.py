"""What the engine is asked for and what it gives back. Imports no JAX, so that every room can speak of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from polyturn.utils.errors import UserError

type Complete = Callable[[str], int | None]
"""Looks at a sample's text after every token: the position to cut it at, which ends it, or None to go on."""

type FinishReason = Literal["stop", "length", "eos", "context"]
"""A stop string or `complete` matched; max_tokens was reached; the model ended the text; prompt and max_tokens are
more than the context, so that nothing was drawn (of text requests only: a `Request` like that is an error)."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn, and when a sample ends at the latest.

    Raises:
        UserError: a value is out of its range.
    """

    temperature: float = 0.2  # 0 takes the likeliest token every time
    top_p: float = 0.95  # the nucleus: the smallest set of likeliest tokens with at least this probability
    max_tokens: int = 64
    stop: tuple[str, ...] = ()  # the text ends before the first of these strings
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"The temperature is {self.temperature}; give 0 (greedy) or a positive number.")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p is {self.top_p}; give a number above 0 and at most 1.")
        if self.max_tokens < 1:
            raise UserError(f"max_tokens is {self.max_tokens}; give 1 or more.")
        if isinstance(self.stop, str) or "" in self.stop:
            raise UserError('The stop strings must be a sequence of strings none of which is empty, like ["\\n\\n"].')


@dataclass(frozen=True)
class Request:
    """Samples to draw from one prompt.

    A sample depends on the prompt, the sampling settings, the request's `number` and its own number (from
    `first` to `first + n - 1`), and on nothing else: missing samples of a long run can be drawn later.

    Raises:
        UserError: `n` is below 1, or a number is negative.
    """

    prompt: Sequence[int]  # token ids
    sampling: Sampling = Sampling()
    n: int = 1
    number: int = 0
    first: int = 0
    complete: Complete | None = None

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UserError(f"{self.n} samples were asked for; ask for 1 or more.")
        if self.number < 0 or self.first < 0:
            raise UserError(f"A request's number ({self.number}) and first sample ({self.first}) start at 0.")


@dataclass(frozen=True)
class TextRequest:
    """One sample to draw from a text that is given in pieces."""

    pieces: tuple[str, ...]
    """The text. Our engine encodes each piece apart, so that what was encoded for one turn stays valid for the
    next; an endpoint gets them joined. Both read the same tokens where the tokenizer splits at the end of every
    piece: ours does in the turn format unless a turn's code is empty, GPT-2's and CodeGen's does not (the empty line
    before a comment is one token if encoded apart and two if joined). A single piece is the same for both."""
    sampling: Sampling = Sampling()
    """How tokens are drawn. A server takes a `seed` from 0 to 2**63 - 1."""
    complete: Complete | None = None
    """Ends the sample. Its answer for a text must not change as the text grows: our engine asks after every token
    and stops drawing, an endpoint's answer comes whole and is cut afterwards."""


@dataclass(frozen=True)
class Completion:
    """One finished sample."""

    ids: list[int]
    """The tokens drawn, end of text left out. They spell the stop string too, which `text` does not."""
    text: str
    """What they spell, cut where a stop rule said so. Empty for a model without tokenizer."""
    finish_reason: FinishReason
    logprobs: list[float]
    """For each of `ids` the natural logarithm of the model's own probability: temperature 1, no nucleus."""
    prompt_tokens_encoded: int
    """Prompt tokens that were read for this sample, at least the last one; the others were remembered."""
    tokens: int | None = None
    """How many were drawn, as a server counts them that does not tell `ids`."""
