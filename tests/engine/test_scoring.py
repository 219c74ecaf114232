import numpy as np
import pytest

from polyturn.engine import scoring
from polyturn.engine.pool import unstack
from polyturn.model.decoder import forward
from polyturn.utils.errors import UserError


@pytest.mark.parametrize("shape", [(2, 1), (2, 13), (1, 300)])
def test_logits_are_those_of_the_forward_pass(config, params, shape):
    tokens = np.random.default_rng(0).integers(0, config.vocab, shape)
    ours = scoring.logits(unstack(params, np.float32), config, tokens)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, forward(params, config, tokens.astype(np.int32)), atol=1e-4)


def test_log_probabilities_are_those_of_the_logits(config, params):
    tokens = np.random.default_rng(0).integers(0, config.vocab, (1, 300))
    exact = np.asarray(forward(params, config, tokens.astype(np.int32)), np.float64)
    exact -= np.logaddexp.reduce(exact, axis=-1, keepdims=True)
    expected = np.take_along_axis(exact[:, :-1], tokens[:, 1:, None], axis=-1)[..., 0]
    ours = scoring.log_probabilities(unstack(params, np.float32), config, tokens)
    np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("tokens", "named"),
    [
        (np.zeros(3, int), "rows"),
        (np.zeros((1, 0), int), "rows"),
        (np.zeros((1, 3)), "float64"),
        (np.zeros((1, 513), int), "513.*512"),
        (np.full((1, 2), -1), "-1"),
        (np.full((1, 2), 9999), "9999"),
    ],
)
def test_tokens_the_model_cannot_take_are_refused(config, params, tokens, named):
    with pytest.raises(UserError, match=named):
        scoring.logits(params, config, tokens)
