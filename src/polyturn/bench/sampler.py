"""Draws the samples of a run from a model, many side by side, and writes each as soon as it is whole.

A sample depends on the model, its own key and the run's seed, and on nothing else: not on what is drawn beside it, nor
on what was there before. So a run that is killed goes on where it stopped, and can be spread over machines.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import islice

from polyturn.bench.samples import Key, Sample
from polyturn.bench.script import Script
from polyturn.engine.types import Complete, Completion, Sampling, TextRequest
from polyturn.synthesis.completer import Completer

WAVES = 4  # samples on their way for each request that the completer works on at a time, so that all of it is busy


@dataclass
class _Open:
    """A sample on its way."""

    key: Key
    script: Script
    codes: list[str] = field(default_factory=list)
    ended_by: list[str | None] = field(default_factory=list)
    tokens: list[int | None] = field(default_factory=list)

    def request(self, sampling: Sampling, salt: str) -> TextRequest:
        seed = seed_of(salt, self.key, len(self.codes))
        drawn = replace(sampling, seed=seed, max_tokens=self.script.max_tokens, stop=self.script.stop)
        # in one piece: tokenizers may join what pieces keep apart, and an endpoint gets the text as a whole too
        return TextRequest(("".join(self.script.prompt(self.codes)),), drawn, _whole(self.script.ends))

    def take(self, completion: Completion) -> None:
        """Add a turn."""
        if completion.finish_reason == "context":
            missing = self.script.turns - len(self.codes)
            self.codes += [""] * missing
            self.ended_by += ["context"] * missing
            self.tokens += [0] * missing
            return
        cut = self.script.cut(completion.text, completion.finish_reason == "length")
        self.codes.append(cut.code)
        self.ended_by.append(cut.reason)
        self.tokens.append(len(completion.ids) or completion.tokens)

    @property
    def done(self) -> bool:
        return len(self.codes) == self.script.turns

    def sample(self) -> Sample:
        program = self.script.completion(self.codes)
        return Sample(self.key, program, tuple(self.codes), tuple(self.ended_by), tuple(self.tokens))


def draw(
    completer: Completer,
    work: Iterable[tuple[Key, Script]],
    sampling: Sampling,
    salt: str,
    write: Callable[[Sample], None],
) -> None:
    """Draw a sample for each piece of work; `write` gets each one when it is whole, in no particular order.

    Args:
        completer: the model.
        work: what to draw; taken as there is room.
        sampling: temperature and top_p; the rest comes from the script and the key.
        salt: all else that the random numbers depend on, such as the run's seed and the mode.
        write: keeps a sample.

    Raises:
        UserError: the model cannot go on, as when an endpoint does not answer.
    """
    waiting = iter(work)
    running: list[_Open] = []
    while running := [*running, *(_Open(*item) for item in islice(waiting, WAVES * completer.width - len(running)))]:
        requests = [item.request(sampling, salt) for item in running]
        for index, completion in completer.complete_texts(requests):
            item = running[index]
            item.take(completion)
            if item.done:
                write(item.sample())
        running = [item for item in running if not item.done]


def seed_of(salt: str, key: Key, turn: int) -> int:
    """The seed of one completion: 31 bits, which every endpoint takes."""
    return int.from_bytes(hashlib.sha256(f"{salt}/{list(key)}/{turn}".encode()).digest()[:4], "big") >> 1


def _whole(ends: Complete) -> Complete:
    """Ends a completion where `ends` does, but keeps all of its text, so that truncation can tell why it ended."""
    return lambda text: None if ends(text) is None else len(text)
