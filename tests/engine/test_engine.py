"""The engine against the plain forward pass, and against itself under other circumstances."""

from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
import pytest

from polyturn.engine import engine as engine_file
from polyturn.engine import pool as pool_file
from polyturn.engine.engine import Engine
from polyturn.engine.nucleus import reference_nucleus, uniforms
from polyturn.engine.types import Completion, Request, Sampling
from polyturn.model.decoder import forward
from polyturn.utils.errors import UserError

GREEDY = Sampling(temperature=0, max_tokens=24)
WARM = Sampling(temperature=0.9, top_p=0.9, max_tokens=24, seed=5)
PROMPT = [40, 41, 42, 50, 60, 70]


@pytest.fixture(scope="module")
def engine(config, params) -> Engine:
    return Engine(params, config)


@pytest.fixture
def fresh(config, params) -> Engine:
    """An engine that has read nothing yet."""
    return Engine(params, config)


def ask(engine: Engine, prompt=PROMPT, sampling=GREEDY, **more) -> Completion:
    return engine.complete_many([Request(prompt, sampling, **more)])[0][0]


def reference_sample(params, config, prompt: list[int], sampling: Sampling, request: int, sample: int) -> Completion:
    """One sample by the plain forward pass over everything so far, and by sorting, in float64."""
    ids, logprobs = list(prompt), []
    random = uniforms(sampling.seed, request, sample, len(prompt) + sampling.max_tokens)
    for _ in range(sampling.max_tokens):
        padded = np.array([ids + [0] * (64 - len(ids))], np.int32)
        logits = np.asarray(forward(params, config, padded))[0, len(ids) - 1].astype(np.float64)
        if sampling.temperature == 0:
            token = int(logits.argmax())
        else:
            weight = np.exp((logits - logits.max()) / sampling.temperature)
            kept = np.where(reference_nucleus(-logits, weight / weight.sum(), sampling.top_p), weight, 0)
            token = int(np.searchsorted(np.cumsum(kept) / kept.sum(), random[len(ids)], side="right"))
        logprobs.append(float(logits[token] - np.logaddexp.reduce(logits)))
        ids.append(token)
    return Completion(ids[len(prompt) :], "", "length", logprobs, len(prompt))


@pytest.mark.parametrize(("sampling", "request_number", "sample"), [(GREEDY, 0, 0), (WARM, 0, 0), (WARM, 3, 2)])
def test_samples_are_those_of_the_plain_forward_pass(engine, params, config, sampling, request_number, sample):
    expected = reference_sample(params, config, PROMPT, sampling, request_number, sample)
    ours = ask(engine, sampling=sampling, number=request_number, first=sample)
    assert ours.ids == expected.ids
    assert ours.finish_reason == "length"
    np.testing.assert_allclose(ours.logprobs, expected.logprobs, atol=1e-4)


def test_every_turn_of_a_conversation_reads_only_what_is_new(config, params, fresh):
    history = list(PROMPT)
    for turn in range(3):
        answer = ask(fresh, history)
        unread = 1 if turn else len(PROMPT) - 1  # the last token drawn was not read yet, nor the last of the prompt
        assert answer.prompt_tokens_encoded == unread + (2 if turn else 1)
        assert answer.ids == ask(Engine(params, config), history).ids
        history += [*answer.ids, 90 + turn, 80 + turn]


def test_going_back_and_changing_a_turn_keeps_what_is_common(config, params, fresh):
    history = [*PROMPT, *ask(fresh).ids, 90, 91, 92]
    ask(fresh, history)
    changed = [*history[:20], 33, 34]
    answer = ask(fresh, changed)
    assert answer.prompt_tokens_encoded == 2
    assert answer.ids == ask(Engine(params, config), changed).ids
    again = ask(fresh, changed, WARM)  # another seed for the same turn
    assert again.prompt_tokens_encoded == 1
    assert again.ids == ask(Engine(params, config), changed, WARM).ids


def test_a_conversation_longer_than_a_chunk_and_than_the_first_length(config, params, fresh):
    prompt = [int(t) for t in np.random.default_rng(0).integers(32, config.vocab, 250)]
    answer = ask(fresh, prompt)  # grows from 256 to 512 positions on the way
    assert answer.prompt_tokens_encoded == 250
    longer = np.array([prompt + answer.ids], np.int32)
    logits = np.asarray(forward(params, config, longer))[0, 249:-1]
    assert answer.ids == logits.argmax(axis=-1).tolist()
    assert ask(fresh, prompt + answer.ids).prompt_tokens_encoded == 1


def test_samples_of_one_prompt_read_it_once_and_are_those_asked_for_one_by_one(engine, fresh):
    together = fresh.complete_many([Request(PROMPT, WARM, n=5)])[0]
    assert [c.prompt_tokens_encoded for c in together] == [len(PROMPT), 1, 1, 1, 1]
    assert len({tuple(c.ids) for c in together}) == 5
    for number, completion in enumerate(together):
        assert ask(engine, sampling=WARM, first=number).ids == completion.ids


def test_what_shares_the_batch_changes_no_token(engine, config):
    rng = np.random.default_rng(1)
    prompts = [[int(t) for t in rng.integers(32, config.vocab, length)] for length in (3, 40, 9, 17, 5, 33, 12)]
    requests = [Request(p, replace(WARM, max_tokens=8 + i), number=i) for i, p in enumerate(prompts)]
    together = [group[0].ids for group in engine.complete_many(requests)]
    backwards = [group[0].ids for group in engine.complete_many(requests[::-1])][::-1]
    alone = [engine.complete_many([request])[0][0].ids for request in requests]
    assert together == backwards == alone
    assert [len(ids) for ids in alone] == [8 + i for i in range(7)]


def test_more_samples_than_rows_take_turns(engine, monkeypatch):
    expected = [c.ids for c in engine.complete_many([Request(PROMPT, WARM, n=5)])[0]]
    monkeypatch.setattr(engine_file, "MOST_ROWS", 2)
    assert [c.ids for c in engine.complete_many([Request(PROMPT, WARM, n=5)])[0]] == expected


class Circumstance(NamedTuple):
    """What happens before and beside a request."""

    before: list[Request]
    beside: list[Request]


CIRCUMSTANCES = [
    Circumstance([], []),
    Circumstance([], [Request([99, 98, 97] * 15, WARM, n=6)]),
    Circumstance([Request(PROMPT * 6, WARM)], []),
    Circumstance([Request((PROMPT * 8)[:45], WARM, number=1)], [Request([*PROMPT * 7, 5], WARM, n=3)]),
    Circumstance([Request(PROMPT, WARM), Request(PROMPT * 30, GREEDY)], [Request(PROMPT * 9, WARM, n=9)]),
]


def test_strict_results_are_the_same_to_the_last_bit_whatever_happens_beside(config, params):
    request = Request(PROMPT * 8, WARM, n=2)
    seen = set()
    for circumstance in CIRCUMSTANCES:
        engine = Engine(params, config, strict=True)
        for earlier in circumstance.before:
            engine.complete_many([earlier])
        group = engine.complete_many([*circumstance.beside, request])[-1]
        seen.add(tuple((tuple(c.ids), tuple(c.logprobs)) for c in group))
    assert len(seen) == 1


def test_strict_reuses_nothing_that_was_written_token_by_token(config, params):
    first = Request(PROMPT * 5, WARM)
    short = [Request([90 + i], replace(WARM, max_tokens=8)) for i in range(8)]
    continued = Request([*first.prompt, *ask(Engine(params, config, strict=True), first.prompt, WARM).ids], WARM)
    alone = Engine(params, config, strict=True).complete_many([continued])[0][0]
    engine = Engine(params, config, strict=True)
    while_first_is_at_it = engine.complete_many([first, *short, continued])[-1][0]
    once_more = engine.complete_many([continued])[0][0]
    assert alone.ids == while_first_is_at_it.ids == once_more.ids
    assert alone.logprobs == while_first_is_at_it.logprobs == once_more.logprobs
    assert once_more.prompt_tokens_encoded < len(continued.prompt)


def test_bfloat16_draws_close_to_float32(config, params):
    low = ask(Engine(params, config, dtype="bfloat16"))
    high = ask(Engine(params, config, dtype="float32"))
    assert low.ids[0] == high.ids[0]
    assert low.logprobs[0] == pytest.approx(high.logprobs[0], abs=0.1)
    assert low.logprobs[0] != high.logprobs[0]


def scripted_engine(scripted, config, tokenizer, text: str, end: bool = False) -> tuple[Engine, list[int]]:
    """An engine that writes `text` from its first token on."""
    ids = tokenizer.encode(text) + [tokenizer.eos_id] * end
    return Engine(scripted(ids), config, tokenizer), ids


def test_end_of_text_ends_a_sample(scripted, config, tokenizer):
    engine, ids = scripted_engine(scripted, config, tokenizer, "x=1\n", end=True)
    answer = ask(engine, ids[:1])
    assert (answer.text, answer.finish_reason) == ("=1\n", "eos")
    assert answer.ids == ids[1:-1]
    assert len(answer.logprobs) == len(answer.ids)


def test_a_stop_string_spread_over_tokens_is_cut_off(scripted, config, tokenizer):
    engine, ids = scripted_engine(scripted, config, tokenizer, "x=[7,8];del y")
    answer = ask(engine, ids[:1], replace(GREEDY, stop=("];d", "nothing")))
    assert (answer.text, answer.finish_reason) == ("=[7,8", "stop")
    assert tokenizer.decode(ids[:1] + answer.ids) == "x=[7,8];d"


def test_a_callable_sees_the_text_after_every_token_and_ends_it(scripted, config, tokenizer):
    engine, ids = scripted_engine(scripted, config, tokenizer, "x=[7,8];del y")
    seen = []

    def complete(text: str) -> int | None:
        seen.append(text)
        return text.index(",") if "8" in text else None

    answer = ask(engine, ids[:1], complete=complete)
    assert (answer.text, answer.finish_reason) == ("=[7", "stop")
    assert seen == [tokenizer.decode(answer.ids[: i + 1]) for i in range(len(answer.ids))]
    assert seen[-1].endswith("8")


def test_characters_spread_over_tokens_come_out_whole(scripted, config, tokenizer):
    engine, ids = scripted_engine(scripted, config, tokenizer, "a€ñ", end=True)
    seen = []
    answer = ask(engine, ids[:1], complete=lambda text: seen.append(text))
    assert answer.text == "€ñ"
    assert seen == ["€", "€ñ"]
    assert ask(engine, ids[:1], replace(GREEDY, max_tokens=4)).text == "€\ufffd"


def test_the_context_can_be_filled_to_its_end(config, params, fresh):
    short = replace(config, context=40)
    engine = Engine(params, short)
    answer = ask(engine, PROMPT, replace(GREEDY, max_tokens=34))
    assert len(answer.ids) == 34
    assert answer.ids[:24] == ask(fresh).ids
    assert ask(engine, (PROMPT + answer.ids)[:39], replace(GREEDY, max_tokens=1)).ids == answer.ids[-1:]


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "named"),
    [
        ([], 1, "empty"),
        ([40] * 510, 3, "510 tokens and max_tokens is 3.*512"),
        ([40, 5000], 1, "5000"),
        ([-1], 1, "-1"),
    ],
)
def test_a_prompt_the_model_cannot_take_is_refused(engine, prompt, max_tokens, named):
    with pytest.raises(UserError, match=named):
        ask(engine, prompt, replace(GREEDY, max_tokens=max_tokens))


def test_stop_rules_without_a_tokenizer_are_refused(engine):
    with pytest.raises(UserError, match="tokenizer"):
        ask(engine, sampling=replace(GREEDY, stop=("\n",)))
    with pytest.raises(UserError, match="tokenizer"):
        ask(engine, complete=lambda text: None)


def test_damaged_weights_are_named(config, params):
    broken = jax.tree.map(lambda a: a * np.float32("nan"), params)
    with pytest.raises(UserError, match="damaged"):
        ask(Engine(broken, config))


def test_an_engine_goes_on_after_an_interrupt_at_the_worst_moment(config, params, monkeypatch):
    engine = Engine(params, config)
    expected = ask(engine)

    def interrupted(*arguments):
        step(*arguments)  # the old cache is given away, the new one not yet kept
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        step = pool_file._step
        patch.setattr(pool_file, "_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ask(engine)
    assert ask(engine).ids == expected.ids


def test_nothing_asked_nothing_given(engine):
    assert engine.complete_many([]) == []
