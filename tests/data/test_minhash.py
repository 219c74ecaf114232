"""Signatures estimate the similarity of runs of tokens, and do not see layout or comments."""

import random
import re
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.data.minhash import bands, shape, signature, similarity, tokens

CODE = "def total(prices):\n    result = 0\n    for price in prices:\n        result += price\n    return result\n"


def words(seed: int, count: int) -> list[str]:
    return [f"w{n}" for n in random.Random(seed).sample(range(10**6), count)]


@pytest.mark.parametrize("shared", [0, 100, 300, 500, 700, 900, 990, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_it_estimates_the_jaccard_index_of_the_sets_of_runs(shared: int, seed: int) -> None:
    common, own, others = words(seed, shared), words(seed + 100, 1000 - shared), words(seed + 200, 1000 - shared)
    one, other = common + own, common + others
    sets = [{tuple(text[i : i + 5]) for i in range(len(text) - 4)} for text in (one, other)]
    exact = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    estimate = similarity(signature(" ".join(one)), signature("\n".join(other)))
    assert estimate == pytest.approx(exact, abs=4 * (max(exact * (1 - exact), 1e-12) / 128) ** 0.5 + 1e-9)


def test_its_error_over_many_pairs_is_that_of_random_permutations() -> None:
    errors = []
    exact = 196 / 276  # runs of five within the common part, of all
    for seed in range(150):
        common, own, others = words(seed, 200), words(seed + 1000, 40), words(seed + 2000, 40)
        errors.append(float(similarity(*(signature(" ".join(common + rest)) for rest in (own, others)))) - exact)
    spread = (exact * (1 - exact) / 128) ** 0.5
    assert abs(np.mean(errors)) < 4 * spread / 150**0.5
    assert np.std(errors) == pytest.approx(spread, rel=0.25)


@pytest.mark.parametrize(
    "same",
    [
        CODE.replace("\n", "\r\n"),
        CODE.replace("    ", "\t"),
        CODE.replace("\n", "\n\n"),
        "# Adds up prices.\n" + CODE.replace("result = 0", "result = 0  # so far"),
        CODE.replace("(prices)", "( prices )"),
        "\f" + CODE + "\n\n",
    ],
)
def test_blanks_and_comments_do_not_count(same: str) -> None:
    assert np.array_equal(signature(same, "Python"), signature(CODE, "Python"))


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("C", "int a; // one\nint b; /* two\n * three */\n", "int a;\nint b;\n"),
        ("Shell", "#!/bin/sh\nls -l  # all\n", "ls -l\n"),
        ("JavaScript", "const a = `x // y`; // one\n", "const a = `x // y`;\n"),
    ],
)
def test_comments_are_those_of_the_language(language: str, one: str, other: str) -> None:
    assert np.array_equal(signature(one, language), signature(other, language))
    assert not np.array_equal(signature(one, "Text"), signature(other, "Text"))


def rest(seed: int) -> str:
    return "".join(f"{word} = {n}\n" for n, word in enumerate(words(seed, 60)))


@pytest.mark.parametrize(
    ("language", "begin"),
    [
        ("Python", 'files = glob("data/*.csv")\n'),
        ("Python", "url = 'https://a.org/#top'\n"),
        ("JavaScript", 'const files = glob("data/*.csv");\n'),
        ("Shell", "ls data/*.csv $# ${x#y}\n"),
        ("C", "int x; /* never closed\n"),
        ("Markdown", "# Data\n\nIn data/*.csv.\n"),
        ("", "ls data/*.csv\n"),
    ],
)
def test_what_only_looks_like_a_comment_hides_nothing(language: str, begin: str) -> None:
    one, other = (signature(begin + rest(seed), language) for seed in (1, 2))
    assert similarity(one, other) < 0.3


def test_headings_of_markdown_count() -> None:
    one, other = ("".join(f"# {word}\n\nSee below.\n\n" for word in words(seed, 40)) for seed in (1, 2))
    assert similarity(signature(one, "Markdown"), signature(other, "Markdown")) < 0.3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a b", "ab"),
        ("x = 12", "x = 1 2"),
        ("x = ab", "x = ba"),
        ('url = "https://a.org/one"', 'url = "https://a.org/two"'),
        ("# only a comment", "# only another comment"),
        ("größe = 1", "grüße = 1"),
        ("A", "a"),
        ("=", "=="),
    ],
)
def test_what_differs_differs(one: str, other: str) -> None:
    assert similarity(signature(one), signature(other)) < 0.8


@given(st.text())
def test_every_text_has_a_signature_and_always_the_same(text: str) -> None:
    found = signature(text)
    assert found.dtype == np.uint32
    assert found.shape == (128,)
    assert np.array_equal(found, signature(text))


def test_texts_without_a_token_and_with_a_surrogate() -> None:
    assert len(tokens("")) == len(tokens(" \n")) == 0
    assert np.array_equal(signature(""), signature("\n"))
    signature("x = '\ud800'")


@given(st.text(st.sampled_from("ab1_ \n(.+é")))
def test_tokens_are_words_and_single_other_characters(text: str) -> None:
    expected = re.findall(r"[\w]+|[^\w\s]", text)
    found = tokens(text).tolist()
    assert len(found) == len(expected)
    assert len({*zip(found, expected, strict=True)}) == len(set(expected)) == len(set(found))


def test_hashes_are_the_same_in_every_version() -> None:
    """Signatures are kept on disk: should this change, every corpus built before has to be built anew."""
    assert signature("def f(x):\n    return x + 1\n")[:4].tolist() == PINNED
    assert bands(signature("def f(x):\n    return x + 1\n"), 0.7)[:2].tolist() == PINNED_BANDS


PINNED = [713407238, 190341059, 73758981, 65569783]
PINNED_BANDS = [16870335593572040930, 398882118459029518]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9])
def test_pairs_at_the_threshold_become_candidates_nine_times_of_ten(threshold: float) -> None:
    count, rows = shape(threshold, 128)
    assert count * rows <= 128
    rng = np.random.default_rng(0)
    one = rng.integers(0, 2**32, (4000, 128), dtype=np.uint32)
    other = np.where(rng.random(one.shape) < threshold, one, rng.integers(0, 2**32, one.shape, dtype=np.uint32))
    met = (bands(one, threshold) == bands(other, threshold)).any(axis=1).mean()
    assert met == pytest.approx(1 - (1 - threshold**rows) ** count, abs=0.02)
    assert met > 0.88


def test_bands_of_many_are_those_of_each() -> None:
    signatures = np.stack([signature(CODE), signature("x = 1\n")])
    assert np.array_equal(bands(signatures, 0.7)[1], bands(signatures[1], 0.7))
    assert bands(signatures, 0.7).dtype == np.uint64
    assert len({*bands(np.zeros(128, np.uint32), 0.7).tolist()}) == shape(0.7, 128)[0]  # the band's number counts


def test_hostile_texts_take_time_in_proportion_to_their_length() -> None:
    for piece in ("/*", "//", "#", "/", "a", "é", "/* *"):
        started = time.process_time()
        for language in ("", "C", "Python"):
            signature(piece * (500_000 // len(piece)), language)
        assert time.process_time() - started < 2
