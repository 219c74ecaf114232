"""The turn format: how intents and code become one text, in training and in use alike.

A program of several turns is written as the paper's sampler writes it (CodeGen repository, MTPB sampling):

    # first intent
    code of the first turn

    # second intent
    code of the second turn

Each intent is a comment, each subprogram ends with one empty line, and so does a prefix, code that stands before
the first turn. The curriculum, the session and the
benchmarks all build their texts here, so that a model is never asked in another form than it was taught.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard

SURROGATE = re.compile("[\ud800-\udfff]")  # half a character; JSON and terminals can bring one in


class Encoder(Protocol):
    """What this file needs of a tokenizer."""

    eos_id: int

    def encode(self, text: str, /) -> list[int]:
        """Token ids of `text`."""
        ...


@dataclass(frozen=True)
class Turn:
    """One step of a program: what was asked for, and the code that answers it (no trailing newline)."""

    intent: str
    code: str


def is_text(value: object) -> TypeGuard[str]:
    """Whether `value` is a string that UTF-8 can hold: one without half characters (lone surrogates)."""
    return isinstance(value, str) and SURROGATE.search(value) is None


def prefix_text(prefix: str) -> str:
    """Code before the first turn as it stands in the history: with one empty line, or nothing where it is blank."""
    return code_text(prefix) if prefix.strip() else ""


def intent_text(intent: str) -> str:
    """The comment that states an intent. Every line of it is commented, so that no line becomes code."""
    lines = intent.strip().splitlines() or [""]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def code_text(code: str) -> str:
    """A finished subprogram as it stands in the history: the code and one empty line."""
    return code.rstrip() + "\n\n"


def history_text(turns: Sequence[Turn], prefix: str = "") -> str:
    """The text of finished turns; the next intent's comment goes right behind it."""
    return prefix_text(prefix) + "".join(intent_text(t.intent) + code_text(t.code) for t in turns)


def program_source(turns: Sequence[Turn], prefix: str = "") -> str:
    """The program so far, runnable: the same text without the empty line at its end."""
    return history_text(turns, prefix).rstrip("\n") + "\n"


def encode_history(tokenizer: Encoder, turns: Sequence[Turn], prefix: str = "") -> list[int]:
    """Token ids of `history_text`, encoded piece by piece.

    A session appends one piece at a time and never encodes the history again, so pieces are encoded apart in
    training too: the ids do not depend on how a turn came to be there.
    """
    ids = tokenizer.encode(prefix_text(prefix)) if prefix.strip() else []
    for turn in turns:
        ids += tokenizer.encode(intent_text(turn.intent))
        ids += tokenizer.encode(code_text(turn.code))
    return ids


def encode_for_training(tokenizer: Encoder, turns: Sequence[Turn], prefix: str = "") -> tuple[list[int], list[bool]]:
    """A whole program as one document, and which of its tokens the model has to learn to write.

    Returns:
        ids: the history, then end of text.
        target: for each id, whether it counts in the loss: code, and the token that shows a turn has ended
            (the next comment's first one, or end of text).
    """
    ids = tokenizer.encode(prefix_text(prefix)) if prefix.strip() else []
    target = [False] * len(ids)
    for turn in turns:
        intent = tokenizer.encode(intent_text(turn.intent))
        code = tokenizer.encode(code_text(turn.code))
        target += [bool(ids)] + [False] * (len(intent) - 1) + [True] * len(code)
        ids += intent + code
    return [*ids, tokenizer.eos_id], [*target, True]
