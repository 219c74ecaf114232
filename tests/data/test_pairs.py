"""Pairs of prompt and answer: from a table to shards in which the answers and their ends alone are to be learned."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from polyturn.data import shards, stages
from polyturn.data.build import build, read_report
from polyturn.data.config import load
from polyturn.data.runner import open_runner
from polyturn.data.show import dropped, samples
from polyturn.hub.catalogue import DEFAULT, resolve
from polyturn.tokenizer import bpe

TOKENIZER = resolve(DEFAULT)
HELD_OUT = "alpha beta gamma delta epsilon zeta theta kappa lambda omega"
WORDS = "river copper window lantern saddle violin harbour meadow thimble orchard pepper candle".split()
PAIRS = [(f"# Add {word}, {n} times.\n", f"total = {n} * len('{word}{n}')\n") for n, word in enumerate(WORDS)] + [
    ("# Größe → 𝄞 ≤ Ω\n", "größe = '𝄞'\n"),  # a character is not a byte
    ("def f(", "x): return x\n"),  # one token, were they encoded together
    ("", "nothing = 'was asked'\n"),
]
MAIL = ("# Write to jane@corp.com and joe@corp.com.\n", "send('jim@corp.com')\n")
HIDDEN = ("# Write to <EMAIL> and <EMAIL>.\n", "send('<EMAIL>')\n")
NOTES = [f"The {one} stands by the {other}.\n" for one, other in pairwise(WORDS)]
ROWS = [
    *({"question": prompt, "answer": answer} for prompt, answer in [*PAIRS, MAIL]),
    {"question": PAIRS[0][0] + PAIRS[0][1][:5], "answer": PAIRS[0][1][5:]},  # the same but for its border
    {"question": HELD_OUT[:30], "answer": HELD_OUT[30:]},
    {"answer": "no question\n"},
    {"question": None, "answer": "no question either\n"},
    {"question": "no answer\n", "answer": ""},
]
CONFIG = """
[data]
name = "pairs"
[[source]]
kind = "jsonl"
path = "pairs.jsonl"
columns = { prompt = "question", text = "answer" }
language = "Text"
[[source]]
kind = "jsonl"
path = "notes.jsonl"
language = "Text"
[filter]
licences = []
[dedup]
near = false
[decontaminate]
files = ["heldout.txt"]
[pack]
row = 64
[shard]
validation = 0.3
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "notes.jsonl").write_text("".join(json.dumps({"text": note}) + "\n" for note in NOTES))
    (folder / "heldout.txt").write_text(HELD_OUT)
    (folder / "pairs.toml").write_text(CONFIG)
    return folder / "pairs.toml"


@pytest.fixture(scope="module")
def built(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of several token files and buckets."""
    out = tmp_path_factory.mktemp("built") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "HELD_CHARACTERS", 300)
        run(config, out, 2)
    return out


def run(config: Path, out: Path, workers: int) -> None:
    build(load(config), out, TOKENIZER, open_runner("plain", workers))


def pieces(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Tokens of each document, and which of them are to be learned."""
    opened = shards.open(folder)
    rows = opened.read(np.arange(len(opened)))
    assert not rows.wanted[rows.segments == 0].any()
    return [
        (tokens[inside], wanted[inside])
        for tokens, segments, wanted in zip(*rows, strict=True)
        for inside in (segments == number for number in range(1, segments.max() + 1))
    ]


def test_the_answers_and_their_ends_are_learned_and_documents_without_a_prompt_whole(built: Path) -> None:
    tokenizer = bpe.load(TOKENIZER)
    found = []
    for name in ("train", "validation"):
        assert shards.verify(built / name) == []
        assert shards.open(built / name).index.masked
        for tokens, wanted in pieces(built / name):
            first = int(np.argmax(wanted))
            assert wanted[first:].all()
            assert not wanted[:first].any()
            assert tokens[-1] == tokenizer.eos_id
            found.append((tokens[:first].tolist(), tokens[first:].tolist()))
    expected = [*PAIRS, HIDDEN, *(("", note) for note in NOTES)]
    encoded = [tuple(list(tokenizer.encode(text)) for text in pair) for pair in expected]
    assert sorted(found) == sorted((prompt, [*answer, tokenizer.eos_id]) for prompt, answer in encoded)


def test_filters_and_deduplication_see_prompt_and_answer_as_one(built: Path) -> None:
    reasons = [each.reason for each in dropped(built)]
    assert sorted(reason.split(" of ")[0] for reason in reasons) == [
        "duplicate",
        "empty",
        "held-out",
        "no-prompt",
        "no-prompt",
    ]
    assert read_report(built)["redacted"] == {"email": 3}


def test_the_bytes_do_not_depend_on_the_number_of_workers(config: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        run(config, tmp_path / str(workers), workers)
    for name in ("train", "validation"):
        one, two = (
            {path.name: path.read_bytes() for path in (tmp_path / workers / name).iterdir()} for workers in ("1", "2")
        )
        assert one == two
        assert "00000.wanted" in one


def test_samples_show_prompts_with_their_answers(built: Path) -> None:
    shown = samples(built / "train", bpe.load(TOKENIZER), 50, seed=0)
    texts = {prompt + answer for prompt, answer in [*PAIRS, HIDDEN, *(("", note) for note in NOTES)]}
    assert shown
    assert all(text.removesuffix("<|endoftext|>") in texts for text in shown)
