"""Ours against transformers, fresh on both sides. How to run: make_reference.py."""

import json
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from codegen_cases import KEPT, SHAPES, STORAGE, TEXTS, Case

from polyturn.hub.catalogue import BUILTIN, builtin_models
from polyturn.hub.folder import Folder, read_folder
from polyturn.model.decoder import forward

pytestmark = pytest.mark.parity

TOLERANCE = 1e-4
OURS = ["float32", "bfloat16", "sharded"]
type Report = Callable[[str, float], None]


def logits_of(folder: Folder, tokens: np.ndarray) -> np.ndarray:
    params = jax.tree.map(jnp.asarray, folder.params)
    return np.asarray(forward(params, folder.config, jnp.asarray(tokens, jnp.int32)))


def largest_difference(folder: Folder, stored: Path) -> float:
    with np.load(stored) as reference:
        ours = logits_of(folder, reference["tokens"])[:, -KEPT:]
        assert ours.shape == reference["logits"].shape
        assert reference["logits"].std() > 0.1  # else agreement would mean little
        return float(np.abs(ours - reference["logits"]).max())


@pytest.mark.parametrize("case", SHAPES + STORAGE, ids=lambda case: case.name)
def test_folders_saved_by_transformers_give_its_logits(case: Case, reference: Path, report_difference: Report) -> None:
    folder = read_folder(reference / "theirs" / case.name)
    if case.sharded:
        assert (folder.path / "model.safetensors.index.json").exists()
    assert folder.tokenizer is None
    difference = largest_difference(folder, reference / "theirs" / f"{case.name}.npz")
    report_difference(f"theirs: {case.name}", difference)
    assert difference <= TOLERANCE


def folders() -> list[str]:
    return [f"ours/{name}" for name in OURS] + [f"builtin/{entry.name}" for entry in builtin_models()]


def read(name: str, reference: Path) -> Folder:
    source, model = name.split("/")
    return read_folder((BUILTIN if source == "builtin" else reference / source) / model)


@pytest.mark.parametrize("name", folders())
def test_transformers_gets_our_logits_from_folders_that_we_wrote(
    name: str, reference: Path, report_difference: Report
) -> None:
    difference = largest_difference(read(name, reference), reference / f"{name}.npz")
    report_difference(name.replace("/", ": "), difference)
    assert difference <= TOLERANCE


@pytest.mark.parametrize("name", folders())
def test_greedy_continuations_are_the_same(name: str, reference: Path) -> None:
    folder = read(name, reference)
    theirs = json.loads((reference / f"{name}.json").read_text())
    for prompt, whole in zip(theirs["prompts"], theirs["greedy"], strict=True):
        assert len(whole) > len(prompt)
        # If each token is the most likely one behind those before it, then ours would have chosen the same.
        chosen = logits_of(folder, np.array([whole]))[0].argmax(axis=-1)
        assert whole[len(prompt) :] == chosen[len(prompt) - 1 : -1].tolist()


@pytest.mark.parametrize("name", folders())
def test_auto_tokenizer_gives_the_same_ids_and_texts(name: str, reference: Path) -> None:
    tokenizer = read(name, reference).tokenizer
    assert tokenizer is not None
    theirs = json.loads((reference / f"{name}.json").read_text())
    assert (theirs["eos"], theirs["pad"]) == (tokenizer.eos_id, tokenizer.pad_id)
    assert theirs["ids"] == [tokenizer.encode(text) for text in TEXTS]
    assert theirs["decoded"] == TEXTS
