"""Logits of folders in Hugging Face's layout equal those that transformers computed.

The stored outputs come from `tests/parity/make_reference.py --store`; the weights are made anew from a seed.
`make test-parity` does the same with fresh outputs and many more of them.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from codegen_cases import KEPT, SHAPES, Case

from polyturn.hub.folder import read_folder
from polyturn.model.decoder import forward

STORED = Path(__file__).parent / "reference"


@pytest.mark.parametrize("case", SHAPES, ids=lambda case: case.name)
def test_logits_are_those_of_transformers(case: Case, write_theirs):
    folder = read_folder(write_theirs(case))
    params = jax.tree.map(jnp.asarray, folder.params)
    ours = forward(params, folder.config, jnp.asarray(case.tokens(), jnp.int32))[:, -KEPT:]
    with np.load(STORED / f"{case.name}.npz") as stored:
        assert np.abs(ours - stored["logits"]).max() <= 1e-4
        assert stored["logits"].std() > 0.5  # else agreement would mean little


def test_every_stored_output_is_compared():
    assert {path.stem for path in STORED.iterdir()} == {case.name for case in SHAPES}
