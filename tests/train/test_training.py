"""Training as a whole: able to learn the one thing that matters here."""

from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from small_run import CONFIG, MODEL, written

from polyturn.data.packing import best_fit
from polyturn.data.sampler import Mixture, as_batch
from polyturn.data.shards import Shards
from polyturn.model.decoder import forward
from polyturn.train.loop import train


def test_a_small_model_learns_to_copy(tmp_path: Path) -> None:
    """The whole of attention, rotary embedding, packing, loss and optimiser: copying must reach 100 %."""
    rng = np.random.default_rng(0)

    def repeated_once(count: int) -> Shards:
        """No token twice before the repeat, so that there is one right answer; one document a row."""
        drawn = [(rng.permutation(62)[: rng.integers(12, 17)] + 2).tolist() for _ in range(count)]
        wanted = ([False] * (len(d) + 1) + [True] * len(d) for d in drawn)
        return written(best_fit(([*d, 0, *d] for d in drawn), 33, 64, 1, wanted), 64)

    config = replace(CONFIG, steps=800, rows=32, log_every=100, save_every=800)
    config = replace(config, optimizer=replace(config.optimizer, peak_rate=3e-3))
    state = train(config, Mixture([(repeated_once(16_000), 1)], config.seed), tmp_path)
    held = as_batch(repeated_once(200).read(np.arange(200)))
    predicted = np.asarray(forward(state.params, MODEL, jnp.asarray(held.tokens))).argmax(-1)
    counted = held.weights > 0
    assert np.mean(predicted[counted] == held.targets[counted]) == 1.0
