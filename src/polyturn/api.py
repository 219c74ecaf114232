"""A model, loaded: it scores and continues text.

    model = load("polyturn-micro-mono")
    model.generate("# Print the sum of xs.", n=4, temperature=0.8)

This joins two rooms that do not know each other: the one that reads model folders and the one that samples.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from polyturn.engine import scoring
from polyturn.engine.engine import MOST_ROWS, STRICT_ROWS, Engine
from polyturn.engine.types import Completion, Request, Sampling, TextRequest
from polyturn.hub.catalogue import DEFAULT, resolve
from polyturn.hub.folder import Folder, read_folder
from polyturn.model.config import ModelConfig
from polyturn.tokenizer.bpe import Tokenizer
from polyturn.utils.errors import UserError


def load(
    name_or_path: str | Path | None = None,
    *,
    dtype: Literal["float32", "bfloat16"] | None = None,
    qkv_blocks: int = 4,
    strict: bool = False,
) -> "Model":
    """Load a model.

    Args:
        name_or_path: a built-in name, a folder, or a Hub id (`owner/name`); by default the built-in model.
        dtype: what to compute in, `float32` or `bfloat16`; by default float32 on CPUs and bfloat16 elsewhere.
        qkv_blocks: into how many blocks the folder cuts its fused projection: 4, or 8 for CodeGen2 1B and
            3.7B.
        strict: samples do not depend on what else is asked at the same time or was asked before, to the last
            bit; see `polyturn.engine.engine`. Slower.

    Raises:
        UserError: there is no such model, or its folder is damaged.
    """
    name = DEFAULT if name_or_path is None else str(name_or_path)
    return Model(read_folder(resolve(name), qkv_blocks=qkv_blocks), name=name, dtype=dtype, strict=strict)


class Model:
    """A model on the device.

    Attributes:
        name: as it was asked for.
        config: its shape.
        digest: SHA-256 of shape, weights and tokenizer, in hex: two models with the same one are the same.
        context: the longest text in tokens.
        width: how many samples are drawn at a time; more take the rows of those that end.
    """

    def __init__(
        self, folder: Folder, *, name: str, dtype: Literal["float32", "bfloat16"] | None, strict: bool
    ) -> None:
        """Put a model folder's weights on the device; `load` does this."""
        self.name = name
        self.config: ModelConfig = folder.config
        self.digest = folder.digest
        self.context = folder.config.context
        self.width = STRICT_ROWS if strict else MOST_ROWS
        self._tokenizer = folder.tokenizer
        self._engine = Engine(folder.params, folder.config, folder.tokenizer, dtype, strict)
        self._encode = lru_cache(maxsize=1024)(lambda text: self.tokenizer.encode(text))

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to token ids and back. Raises UserError where the folder has none."""
        if self._tokenizer is None:
            raise UserError(f"{self.name} has no tokenizer; add its tokenizer.json to the folder, or use token ids.")
        return self._tokenizer

    def logits(self, tokens: np.ndarray | Sequence[Sequence[int]]) -> np.ndarray:
        """Next-token logits at every position: int `[B, T]` -> float32 `[B, T, V]`.

        Raises:
            UserError: rows of different lengths or longer than the context, or ids out of range.
        """
        return scoring.logits(self._engine.params, self.config, _array(tokens))

    def log_probabilities(self, pieces: Sequence[str]) -> list[np.ndarray]:
        """The natural logarithm of each token's probability given all before it, for a text given in pieces.

        Pieces are encoded apart, as `complete_texts` does. A text longer than the context is read in windows
        that overlap by half, each token scored with at least half a context before it.

        Returns:
            For each piece float32 `[its tokens]`. The first token of all has nothing before it and gets no number.

        Raises:
            UserError: the text is empty, or the model has no tokenizer.
        """
        parts = [self.tokenizer.encode(piece) for piece in pieces]
        ids = np.array([token for part in parts for token in part], np.int32)
        if not len(ids):
            raise UserError("The text is empty; give some text to score.")
        found = [np.zeros(0, np.float32)]
        scored, start = 1, 0
        while scored < len(ids):
            window = ids[start : start + self.context]
            scores = scoring.log_probabilities(self._engine.params, self.config, window[None])[0]
            found.append(scores[scored - start - 1 :])
            scored = start + len(window)
            start = scored - self.context // 2
        ends = np.cumsum([len(part) for part in parts]) - 1
        return np.split(np.concatenate(found), np.maximum(ends, 0)[:-1])

    def perplexity(self, text: str) -> float:
        """How unexpected a text is: e to the mean negative log-likelihood of its tokens.

        The first token does not count; see `log_probabilities`, also for texts longer than the context.

        Raises:
            UserError: the text has fewer than two tokens, or the model has no tokenizer.
        """
        (scores,) = self.log_probabilities([text])
        if not len(scores):
            raise UserError("Perplexity needs a text of at least two tokens; give a longer one.")
        return float(np.exp(-np.mean(scores, dtype=np.float64)))

    def generate(
        self,
        prompt: str | Sequence[int],
        n: int = 1,
        *,
        max_tokens: int = 64,
        temperature: float = 0.2,
        top_p: float = 0.95,
        stop: Sequence[str] = (),
        seed: int = 0,
    ) -> list[Completion]:
        """Draw `n` continuations of a text or of token ids; each has `.text`, `.ids` and more.

        Args:
            prompt: what to continue; it is encoded once, and what was read before is not read again.
            n: how many. The same call with a larger `n` begins with the same continuations.
            max_tokens: the longest a continuation gets.
            temperature: 0 takes the likeliest token every time.
            top_p: draw from the smallest set of likeliest tokens with at least this probability.
            stop: a continuation ends before the first of these strings.
            seed: of the random numbers. They depend on it, the sample's number and the position alone.

        Raises:
            UserError: an empty prompt, one too long for the context, ids or settings out of range.
        """
        sampling = Sampling(temperature, top_p, max_tokens, _strings(stop), seed)
        ids = self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
        return self.complete_many([Request(ids, sampling, n)])[0]

    def complete_many(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """The samples of every request, in order, drawn together. Raises UserError like `generate`."""
        return self._engine.complete_many(requests)

    def complete_texts(self, requests: Sequence[TextRequest]) -> Iterator[tuple[int, Completion]]:
        """One sample for each request, with its index: what sessions and benchmarks ask of a completer.

        Each is sample 0 of request 0, so that its text, settings and seed alone decide it. Pieces are encoded
        apart, and what was read of them before is not read again. All samples are drawn together, then yielded;
        one that does not fit the context has finish reason "context".

        Raises:
            UserError: an empty text, or the model has no tokenizer.
        """
        prompts = [[token for piece in r.pieces for token in self._encode(piece)] for r in requests]
        fitting = []
        for index, (request, ids) in enumerate(zip(requests, prompts, strict=True)):
            if len(ids) + request.sampling.max_tokens <= self.context:
                fitting.append(index)
            else:
                yield index, Completion([], "", "context", [], 0)
        wanted = [Request(prompts[i], requests[i].sampling, complete=requests[i].complete) for i in fitting]
        for index, samples in zip(fitting, self.complete_many(wanted), strict=True):
            yield index, samples[0]


def _strings(stop: Sequence[str]) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop)


def _array(tokens: np.ndarray | Sequence[Sequence[int]]) -> np.ndarray:
    try:
        return np.asarray(tokens)
    except ValueError as error:  # rows of different lengths
        raise UserError("Token rows must be of one length; pad them or pass them one by one.") from error
