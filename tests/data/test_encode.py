"""Encoding: each document can be recovered, and what is drawn depends on its id and the seed alone."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.data import encode as module
from polyturn.data.encode import Document, Encoding, digest, encode, encode_batch
from polyturn.tokenizer.bpe import Tokenizer
from polyturn.tokenizer.training import SPECIAL, train
from polyturn.utils.errors import UserError

TOKENIZER = train(["def add(a, b):\n    return a + b\n# Print the sum.\nprint(add(1, 2))\n"] * 3, 340)
PREFIX, MIDDLE, SUFFIX = (SPECIAL.index(f"<|fim_{part}|>") for part in ("prefix", "middle", "suffix"))
EOS = TOKENIZER.eos_id
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60) | st.just("<|fim_middle|> is text <|endoftext|>\r\n\té¹ 𝄞")


def text_of(ids: list[int]) -> tuple[str, str]:
    """The document that transformed ids are of, and how they are ordered."""
    assert ids[-1] == EOS
    ids = ids[:-1]
    assert EOS not in ids
    if PREFIX not in ids:
        return TOKENIZER.decode(ids), "plain"
    assert [ids.count(token) for token in (PREFIX, MIDDLE, SUFFIX)] == [1, 1, 1]
    before, suffix, middle = ids.index(PREFIX), ids.index(SUFFIX), ids.index(MIDDLE)
    assert before == 0
    assert suffix < middle
    prefix = TOKENIZER.decode(ids[1:suffix])
    after, tail = TOKENIZER.decode(ids[suffix + 1 : middle]), TOKENIZER.decode(ids[middle + 1 :])
    return prefix + tail + after, "spm" if suffix == 1 else "psm"


@given(TEXTS, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 1.0]), st.integers(0, 99))
def test_a_document_can_be_recovered(text: str, rate: float, spm: float, seed: int) -> None:
    ids = encode(text, "python", "a/b.py", TOKENIZER, Encoding(fim_rate=rate, fim_spm=spm), seed)
    recovered, how = text_of(ids)
    assert recovered == text
    assert (how == "plain") == (PREFIX not in ids)
    assert rate != 0 or how == "plain"
    assert rate != 1 or how in ({"psm", "spm"} if spm == 0 else {"spm"})  # with no prefix, both look the same


@given(st.lists(TEXTS, max_size=8), st.floats(0, 1), st.integers(0, 3))
def test_a_batch_is_its_documents_one_by_one(texts: list[str], rate: float, seed: int) -> None:
    options = Encoding(row=20, language_prefix=True, fim_rate=rate)
    documents = [Document(text, ("python", "rust", "")[n % 3], f"s/{n}") for n, text in enumerate(texts)]
    batch = [found.ids.tolist() for found in encode_batch(iter(documents), TOKENIZER, options, seed)]
    assert batch == [encode(*document[:3], TOKENIZER, options, seed) for document in documents]


def test_groups_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [Document(f"x = {n}\n", "python", str(n)) for n in range(50)]
    options = Encoding(fim_rate=0.5)
    whole = [found.ids.tolist() for found in encode_batch(documents, TOKENIZER, options, 1)]
    monkeypatch.setattr(module, "BATCH_CHARACTERS", 20)
    assert [found.ids.tolist() for found in encode_batch(documents, TOKENIZER, options, 1)] == whole


def test_with_nothing_asked_for_it_is_the_text_and_its_end() -> None:
    text = "def f():\n    return 1\n"
    assert encode(text, "python", "id", TOKENIZER, Encoding(), 0) == [*TOKENIZER.encode(text), EOS]


def test_the_language_comes_first() -> None:
    options = Encoding(language_prefix=True)
    plain = encode("x = 1", "", "id", TOKENIZER, options, 0)
    assert plain == [*TOKENIZER.encode("x = 1"), EOS]
    assert encode("x = 1", "python", "id", TOKENIZER, options, 0) == [SPECIAL.index("<|python|>"), *plain]
    assert encode("x = 1", "rust", "id", TOKENIZER, options, 0) == [*TOKENIZER.encode("rust\n"), *plain]
    both = encode("x = 1", "python", "id", TOKENIZER, Encoding(language_prefix=True, fim_rate=1), 0)
    assert both[:2] == [SPECIAL.index("<|python|>"), PREFIX]


def test_a_prompt_is_encoded_for_itself_and_given_with_the_language_before_it() -> None:
    options = Encoding(language_prefix=True, fim_rate=1)
    plain, pair = Document("print(add(1, 2))", "rust", "id"), Document("print(add(1, 2))", "rust", "id", prompt=3)
    (ids, given, _), (others, none, _) = encode_batch([pair, plain], TOKENIZER, options, 0)
    before = [*TOKENIZER.encode("rust\n"), *TOKENIZER.encode("pri")]
    assert ids.tolist() == [*before, *TOKENIZER.encode("nt(add(1, 2))"), EOS]
    assert given == len(before)
    assert none == 0
    assert PREFIX in others
    whole = Document("print", "", "id", prompt=5)
    assert [len(found.ids) - found.given for found in encode_batch([whole], TOKENIZER, options, 0)] == [1]


def orders(ids: list[str], seed: int, text: str = "abcdefghijkl", **options: float) -> list[tuple[int, ...]]:
    """Ids of the tokens of transformed documents that are special: all that the draw decides but the cuts."""
    documents = [Document(text, "python", id) for id in ids]
    encoded = encode_batch(documents, TOKENIZER, Encoding(**options), seed)  # pyright: ignore[reportArgumentType]
    special = {PREFIX, MIDDLE, SUFFIX}
    return [(*(token for token in ids if token in special), ids[1] == SUFFIX) for ids, _, _ in encoded]


def test_the_draw_depends_on_seed_and_id_alone() -> None:
    ids = [f"installed/lib/{n}.py" for n in range(200)]
    drawn = orders(ids, 7, fim_rate=0.5)
    assert orders(ids[::-1], 7, fim_rate=0.5) == drawn[::-1]
    chosen = [bool(order[:-1]) for order in drawn]
    assert [bool(order[:-1]) for order in orders(ids, 7, text="é" * 40, fim_rate=0.5)] == chosen
    assert [bool(order[:-1]) for order in orders(ids, 8, fim_rate=0.5)] != chosen
    more = [bool(order[:-1]) for order in orders(ids, 7, fim_rate=0.9)]
    assert all(now for before, now in zip(chosen, more, strict=True) if before), "a higher rate adds documents"


def test_rate_and_share_hold() -> None:
    texts = ["abcdefghijkl"] * 4000
    documents = [Document(text, "python", str(n)) for n, text in enumerate(texts)]
    encoded = list(encode_batch(documents, TOKENIZER, Encoding(fim_rate=0.6, fim_spm=0.25), 3))
    seen = Counter(text_of(ids.tolist())[1] for ids, _, _ in encoded)
    assert abs(seen["plain"] / 4000 - 0.4) < 0.04
    empty_prefix = 1 - (12 / 13) ** 2  # then PSM looks like SPM
    assert abs(seen["spm"] / 2400 - (0.25 + 0.75 * empty_prefix)) < 0.05


def test_cuts_are_uniform() -> None:
    documents = [Document("abc", "python", str(n)) for n in range(4000)]
    cuts = Counter()
    for found in encode_batch(documents, TOKENIZER, Encoding(fim_rate=1, fim_spm=0), 3):
        ids = found.ids.tolist()
        suffix, middle = ids.index(SUFFIX), ids.index(MIDDLE)
        cuts[len(TOKENIZER.decode(ids[1:suffix])), 3 - len(TOKENIZER.decode(ids[suffix + 1 : middle]))] += 1
    for first in range(4):
        for second in range(first, 4):
            assert abs(cuts[first, second] / 4000 - (1 if first == second else 2) / 16) < 0.03


def test_what_does_not_fit_in_a_row_is_left_whole() -> None:
    text = "print(add(1, 2))\n" * 10
    plain = [*TOKENIZER.encode(text), EOS]
    for n in range(30):
        assert encode(text, "python", str(n), TOKENIZER, Encoding(row=len(plain), fim_rate=1), 0) == plain
        assert PREFIX in encode(text, "python", str(n), TOKENIZER, Encoding(row=len(plain) + 30, fim_rate=1), 0)
    tight = [encode(text, "python", str(n), TOKENIZER, Encoding(row=len(plain) + 3, fim_rate=1), 0) for n in range(30)]
    assert {PREFIX in ids for ids in tight} == {True, False}, "a cut within a token makes one more"
    assert all(ids == plain or len(ids) <= len(plain) + 3 for ids in tight)


def test_a_tokenizer_without_the_tokens() -> None:
    from tokenizers import AddedToken
    from tokenizers import Tokenizer as Backend
    from tokenizers.models import BPE

    backend = Backend(BPE(vocab={"a": 0}, merges=[]))
    backend.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    bare = Tokenizer(backend)
    assert encode("aa", "python", "id", bare, Encoding(), 0) == [0, 0, 1]
    with pytest.raises(UserError, match=r"no token <\|fim_prefix\|>, which"):
        encode("aa", "python", "id", bare, Encoding(fim_rate=0.1), 0)
    assert digest(bare) != digest(TOKENIZER)


def test_other_names_of_the_tokens() -> None:
    names = ("<|reserved_0|>", "<|reserved_1|>", "<|reserved_2|>")
    ids = encode("abc", "python", "id", TOKENIZER, Encoding(fim_rate=1, fim_spm=1, fim_tokens=names), 0)
    assert ids[:2] == [SPECIAL.index(names[0]), SPECIAL.index(names[1])]
    assert SPECIAL.index(names[2]) in ids
