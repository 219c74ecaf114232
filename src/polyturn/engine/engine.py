"""Samples for many prompts at once: who sits in which row of the pool, and when a sample is done.

    engine = Engine(params, config, tokenizer)
    engine.complete_many([Request(prompt, Sampling(temperature=0.8), n=32)])

All busy rows decode together; as soon as a sample ends, the next one waiting takes its row (continuous
batching). The pool is kept from call to call, so a conversation costs only what is new in it.

What shares the batch: every row is computed for itself, with random numbers of its own (`nucleus.uniforms`).
But XLA chooses the order of a sum by the shapes at hand, and the number of rows and their length follow the
load: the same logits then differ by about 3e-6 in float32 and 3e-2 in bfloat16, which may decide a draw,
in float32 once in some hundred thousand tokens. With `strict`, shapes are fixed and a row offers for reuse
only what was read in whole chunks of a prompt: results are the same to the last bit, whatever else is asked
or was asked before, at some cost in speed.
"""

from collections import deque
from collections.abc import Sequence
from functools import cached_property
from math import isnan
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from polyturn.engine.nucleus import uniforms
from polyturn.engine.pool import Feed, Pool, common_prefix, unstack
from polyturn.engine.stopping import TextStream, find_cut
from polyturn.engine.types import Completion, Request
from polyturn.model.config import ModelConfig
from polyturn.model.params import Params
from polyturn.tokenizer.bpe import Tokenizer
from polyturn.utils.errors import UserError

LEAST_LENGTH = 256
MOST_ROWS = 32
STRICT_ROWS = 8
CACHE_BYTES = {"cpu": 2**30}  # keys and values; longer samples are drawn fewer at a time
CACHE_BYTES_ELSEWHERE = 2**33


class Engine:
    """Draws samples from one model. Not for use by several threads at a time."""

    def __init__(
        self,
        params: Params,
        config: ModelConfig,
        tokenizer: Tokenizer | None = None,
        dtype: Literal["float32", "bfloat16"] | None = None,
        strict: bool = False,
    ) -> None:
        """Put the weights on the device.

        Args:
            params: the weights, of any float type, layers stacked.
            config: the model's shape.
            tokenizer: without it there is no end of text and no stop rule, only token ids.
            dtype: what to compute in. By default bfloat16, but float32 on CPUs: one row in bfloat16 there
                takes twice the time, as XLA converts weights and cache at every step, and 32 rows gain little.
            strict: fixed shapes, see above.
        """
        cpu = jax.default_backend() == "cpu"
        dtype = dtype or ("float32" if cpu else "bfloat16")
        if dtype not in ("float32", "bfloat16"):
            raise UserError(f"Cannot compute in {dtype}; choose float32 or bfloat16.")
        self.dtype = jnp.dtype(dtype)
        self.config = config
        self.tokenizer = tokenizer
        self.strict = strict
        self.params = unstack(params, self.dtype)
        self._least_rows = 2 if cpu and dtype == "bfloat16" else 1  # XLA's bfloat16 products want two rows
        self._pool: Pool | None = None
        self._clock = 0

    def complete_many(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """The samples of every request, in order.

        Raises:
            UserError: a request asks for what the model cannot do, or the weights yield no numbers.
        """
        for request in requests:
            self._check(request)
        groups = []
        for request in requests:
            prompt = [int(token) for token in request.prompt]
            numbers = range(request.first, request.first + request.n)
            groups.append([_Sample(request, prompt, number, self.tokenizer) for number in numbers])
        if groups:
            try:
                self._run(groups)
            except BaseException:  # an interrupt too may have left the pool without its arrays
                self._pool = None
                raise
        return [[sample.completion() for sample in group] for group in groups]

    def _check(self, request: Request) -> None:
        length, context, vocab = len(request.prompt), self.config.context, self.config.vocab
        most = request.sampling.max_tokens
        if not length:
            raise UserError("The prompt is empty; give at least one token.")
        if length + most > context:
            raise UserError(
                f"The prompt has {length} tokens and max_tokens is {most}, together more than the model's "
                f"context of {context}; shorten the prompt or lower max_tokens."
            )
        if not 0 <= min(request.prompt) <= max(request.prompt) < vocab:
            raise UserError(
                f"The prompt has token ids from {min(request.prompt)} to {max(request.prompt)}, but the "
                f"model knows 0 to {vocab - 1}; encode it with the model's own tokenizer."
            )
        if self.tokenizer is None and (request.sampling.stop or request.complete):
            raise UserError("The model has no tokenizer, so no stop rule can look at its text; put one in its folder.")

    def _run(self, groups: "list[list[_Sample]]") -> None:
        pool = self._fitted_pool(groups)
        # whoever finds most of the prompt in the pool chooses a row first
        groups = sorted(groups, key=lambda g: -max(common_prefix(held, g[0].prompt) for held in pool.held))
        waiting = deque(sample for group in groups for sample in group)
        busy: dict[int, _Sample] = {}
        while waiting or busy:
            while waiting and len(busy) < pool.rows:
                sample = waiting.popleft()
                busy[self._seat(pool, sample, busy)] = sample
            if max(len(pool.held[row]) for row in busy) >= pool.length:
                pool.refit(pool.rows, min(2 * pool.length, self.config.context), list(range(pool.rows)))
            drawn, log_probability = pool.step({row: sample.feed() for row, sample in busy.items()})
            for row, sample in list(busy.items()):
                if sample.take(int(drawn[row]), float(log_probability[row])):
                    del busy[row]

    def _fitted_pool(self, groups: "list[list[_Sample]]") -> Pool:
        """The pool in a shape for these samples. What is likeliest to be of use again stays in it."""
        longest = max(len(group[0].prompt) for group in groups)
        furthest = max(len(group[0].prompt) + group[0].request.sampling.max_tokens for group in groups)
        if self.strict:
            rows, length = STRICT_ROWS, self.config.context
        else:
            rows = _bucket(sum(map(len, groups)), self._least_rows)
            rows = min(rows, self._affordable_rows(furthest))
            length = min(_bucket(longest, LEAST_LENGTH), self.config.context)
        if self._pool is None:
            self._pool = Pool(self.params, self.config, self.dtype, rows, length)
        pool = self._pool
        known = [max(common_prefix(held, group[0].prompt) for group in groups) for held in pool.held]
        ranked = sorted(range(pool.rows), key=lambda row: (-known[row], -pool.used[row]))
        pool.refit(rows, length, sorted(ranked[:rows]))
        return pool

    def _affordable_rows(self, length: int) -> int:
        row = 2 * self.config.layers * self.config.width * self.dtype.itemsize * _bucket(length, LEAST_LENGTH)
        most = CACHE_BYTES.get(jax.default_backend(), CACHE_BYTES_ELSEWHERE) // row
        rows = self._least_rows
        while 2 * rows <= min(most, MOST_ROWS):
            rows *= 2
        return rows

    def _seat(self, pool: Pool, sample: "_Sample", busy: "dict[int, _Sample]") -> int:
        """Find the sample a row and read what is new of its prompt, but for the last token, left to `step`.

        The row that knows most of the prompt is continued in place if it is free and little else would be
        lost; otherwise the free row that was not used for longest takes a copy.
        """
        prompt = sample.prompt[:-1]
        prefixes = [common_prefix(held, prompt) for held in pool.held]
        if self.strict:
            prefixes = [min(known) // pool.chunk * pool.chunk for known in zip(prefixes, pool.prefilled, strict=True)]
        best = max(range(pool.rows), key=lambda row: prefixes[row])
        shared = prefixes[best]
        free = [row for row in range(pool.rows) if row not in busy]
        if best in free and 2 * shared >= len(pool.held[best]):
            row = best
        else:
            row = min(free, key=lambda row: (row == best, pool.used[row]))
            if shared and row != best:
                pool.copy(best, row)
        pool.read(row, prompt[shared:], shared)
        self._clock += 1
        pool.used[row] = self._clock
        sample.encoded = len(sample.prompt) - shared
        return row


class _Sample:
    """One sample on its way."""

    def __init__(self, request: Request, prompt: list[int], number: int, tokenizer: Tokenizer | None) -> None:
        self.request = request
        self.prompt = prompt
        self.number = number
        self.encoded = 0
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.text = ""
        self.finish_reason: Literal["stop", "length", "eos"] | None = None
        self._eos = tokenizer.eos_id if tokenizer else None
        self._stream = TextStream(tokenizer) if tokenizer else None

    @cached_property
    def _uniforms(self) -> np.ndarray:
        sampling = self.request.sampling
        return uniforms(sampling.seed, self.request.number, self.number, len(self.prompt) + sampling.max_tokens)

    def feed(self) -> Feed:
        """The token to be read next, and how to draw the one behind it."""
        sampling = self.request.sampling
        last = self.ids[-1] if self.ids else self.prompt[-1]
        uniform = self._uniforms[len(self.prompt) + len(self.ids)]
        return Feed(last, sampling.temperature, sampling.top_p, uniform)

    def take(self, token: int, log_probability: float) -> bool:
        """Add a token; whether the sample is done."""
        if isnan(log_probability):
            raise UserError("The model's logits are not numbers; its weights are damaged, fetch or train them again.")
        if token == self._eos:
            return self._finish("eos")
        self.ids.append(token)
        self.logprobs.append(log_probability)
        if self._stream:
            seen, self.text = len(self.text), self._stream.add(token)
            if len(self.text) > seen:
                cut = find_cut(self.text, seen, self.request.sampling.stop, self.request.complete)
                if cut is not None:
                    self.text = self.text[:cut]
                    self.finish_reason = "stop"
                    return True
        return len(self.ids) == self.request.sampling.max_tokens and self._finish("length")

    def _finish(self, reason: Literal["length", "eos"]) -> bool:
        self.finish_reason = reason
        self.text = self._stream.finish() if self._stream else ""
        return True

    def completion(self) -> Completion:
        assert self.finish_reason is not None, "asked for before the sample was done"
        return Completion(self.ids, self.text, self.finish_reason, self.logprobs, self.encoded)


def _bucket(n: int, least: int) -> int:
    """`least`, or the first of its doublings that is at least `n`."""
    return least << ((n - 1) // least).bit_length()
