"""A model folder, loaded: what `polyturn.load` gives."""

import importlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import polyturn
from polyturn.api import Model, load
from polyturn.engine.types import Sampling, TextRequest
from polyturn.hub.folder import write_folder
from polyturn.model.decoder import forward
from polyturn.synthesis.completer import Completer
from polyturn.utils.errors import UserError

TEXT = "# Print the sum of xs.\nprint(sum(xs))\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, config, params, tokenizer) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    write_folder(path, config, params, tokenizer, dtype="float32")
    return path


@pytest.fixture(scope="module")
def model(folder) -> Model:
    return load(folder)


@pytest.fixture(scope="module")
def mute(tmp_path_factory, config, params) -> Model:
    """The same model from a folder without tokenizer."""
    path = tmp_path_factory.mktemp("models") / "mute"
    write_folder(path, config, params, dtype="float32")
    return load(path)


def test_logits_are_those_of_the_weights_saved(model, mute, config, params):
    tokens = np.random.default_rng(0).integers(0, config.vocab, (2, 16))
    expected = forward(params, config, tokens.astype(np.int32))
    np.testing.assert_allclose(model.logits(tokens), expected, atol=1e-4)
    np.testing.assert_allclose(mute.logits(tokens.tolist()), expected, atol=1e-4)


def test_generate_continues_text_and_ids_alike(model, mute):
    by_text = model.generate(TEXT, 3, max_tokens=8, temperature=1.0, seed=2)
    ids = model.tokenizer.encode(TEXT)
    by_ids = model.generate(ids, 3, max_tokens=8, temperature=1.0, seed=2)
    assert [c.text for c in by_text] == [c.text for c in by_ids]
    assert [c.text for c in by_text] == [model.tokenizer.decode(c.ids) for c in by_text]
    for ours, unended in zip(by_ids, mute.generate(ids, 3, max_tokens=8, temperature=1.0, seed=2), strict=True):
        assert unended.ids[: len(ours.ids)] == ours.ids  # without a tokenizer no token is known to end a text


def test_stop_strings_are_those_given(model):
    whole = model.generate(TEXT, max_tokens=16, temperature=1.0)[0].text
    stop = whole[5:7]
    stopped = model.generate(TEXT, max_tokens=16, temperature=1.0, stop=[stop])[0]
    assert stopped.text == whole[: whole.index(stop)]
    assert stopped.finish_reason == "stop"


def test_text_requests_are_continued_as_their_pieces_together(model):
    completer: Completer = model
    pieces, sampling = ("# Print the sum", " of xs.\n"), Sampling(temperature=1.0, max_tokens=12, seed=3)
    whole = TextRequest(pieces, sampling)
    ended = TextRequest(pieces, sampling, lambda text: 3 if len(text) > 3 else None)
    other = TextRequest(pieces, Sampling(temperature=1.0, max_tokens=12, seed=4))
    drawn = dict(completer.complete_texts([ended, other, whole]))
    ids = [token for piece in pieces for token in model.tokenizer.encode(piece)]
    for index, seed in [(1, 4), (2, 3)]:
        assert drawn[index].ids == model.generate(ids, temperature=1.0, max_tokens=12, seed=seed)[0].ids
    assert (drawn[0].text, drawn[0].finish_reason) == (drawn[2].text[:3], "stop")


def test_a_text_request_beyond_the_context_leaves_the_others_alone(model):
    room = model.context - len(model.tokenizer.encode(TEXT))
    asked = [TextRequest((TEXT,), Sampling(max_tokens=n)) for n in (room + 1, 4, room)]
    drawn = dict(model.complete_texts(asked))
    assert (drawn[0].text, drawn[0].finish_reason) == ("", "context")
    assert drawn[1].ids == drawn[2].ids[:4]
    assert "context" not in (drawn[1].finish_reason, drawn[2].finish_reason)


def test_perplexity_of_a_short_text_is_the_forward_passes(model, config, params):
    ids = np.array(model.tokenizer.encode(TEXT))
    logits = np.asarray(forward(params, config, ids[None].astype(np.int32)), np.float64)[0, :-1]
    losses = np.logaddexp.reduce(logits, axis=-1) - logits[np.arange(len(ids) - 1), ids[1:]]
    assert model.perplexity(TEXT) == pytest.approx(math.exp(losses.mean()), rel=1e-4)


def test_perplexity_of_a_long_text_scores_every_token_once_with_half_a_context_before_it(model, config, params):
    half = config.context // 2
    text = "".join(np.random.default_rng(0).choice(list("0123456789"), 3 * half + 10))
    ids = np.array(model.tokenizer.encode(text))
    assert len(ids) == len(text)
    losses = []
    for start in (0, half, 2 * half):
        window = ids[start : start + 2 * half].astype(np.int32)
        logits = np.asarray(forward(params, config, window[None]), np.float64)[0, :-1]
        scores = np.logaddexp.reduce(logits, axis=-1) - logits[np.arange(len(window) - 1), window[1:]]
        losses += scores.tolist() if start == 0 else scores[half - 1 :].tolist()
    assert len(losses) == len(ids) - 1
    assert model.perplexity(text) == pytest.approx(math.exp(np.mean(losses)), rel=1e-4)


def test_log_probabilities_are_those_of_each_piece_given_all_before(model, config, params):
    pieces = ["", "# Print", " the sum", "", " of xs.\n", "print(sum(xs))\n"]
    encoded = [model.tokenizer.encode(piece) for piece in pieces]
    ids = np.array([token for part in encoded for token in part], np.int32)
    logits = np.asarray(forward(params, config, ids[None]), np.float64)[0, :-1]
    expected = logits[np.arange(len(ids) - 1), ids[1:]] - np.logaddexp.reduce(logits, axis=-1)
    scores = model.log_probabilities(pieces)
    assert [len(s) for s in scores] == [0, len(encoded[1]) - 1, *(len(part) for part in encoded[2:])]
    np.testing.assert_allclose(np.concatenate(scores), expected, atol=1e-4)


def test_a_lone_token_has_no_log_probability(model):
    assert [s.tolist() for s in model.log_probabilities(["x"])] == [[]]
    with pytest.raises(UserError, match="empty"):
        model.log_probabilities([""])


def test_text_without_a_tokenizer_is_refused(mute):
    for call in (lambda: mute.generate("x"), lambda: mute.perplexity("x = 1"), lambda: mute.tokenizer):
        with pytest.raises(UserError, match="tokenizer"):
            call()


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.generate(""),
        lambda m: m.generate(TEXT, max_tokens=512),
        lambda m: m.generate(TEXT, temperature=-1.0),
        lambda m: m.generate(TEXT, top_p=2.0),
        lambda m: m.generate(TEXT, n=0),
        lambda m: m.generate([5000]),
        lambda m: m.logits([[1, 2], [3]]),
        lambda m: m.perplexity("x"),
    ],
)
def test_what_cannot_be_done_is_refused(model, call):
    with pytest.raises(UserError):
        call(model)


def test_a_model_that_is_not_there_is_named():
    with pytest.raises(UserError, match="no-such-model"):
        load("no-such-model")


def test_the_dtype_is_the_one_asked_for(folder, model):
    ours = load(folder, dtype="bfloat16").logits([[40, 41]])
    assert ours.dtype == np.float32
    assert 0 < np.abs(ours - model.logits([[40, 41]])).max() < 0.1
    with pytest.raises(UserError, match="float16"):
        load(folder, dtype="float16")  # pyright: ignore[reportArgumentType]


def test_every_name_offered_is_there():
    for name in set(polyturn.__all__) - {"__version__"}:  # the version is known once installed
        assert getattr(polyturn, name).__name__ == name
        assert name in dir(polyturn)
    with pytest.raises(AttributeError, match="nonsense"):
        importlib.import_module("polyturn").nonsense  # noqa: B018


def test_importing_the_package_imports_next_to_nothing():
    code = "import sys; before = set(sys.modules); import polyturn; print(*set(sys.modules) - before)"
    # -S: .pth files of other packages import things too, ours among them in an editable installation
    source = {**os.environ, "PYTHONPATH": str(Path(polyturn.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, env=source)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded <= sys.stdlib_module_names | {"polyturn"}
    assert "importlib.metadata" not in done.stdout.split()
