from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from polyturn.engine.stopping import TextStream, find_cut


def visible_texts(tokenizer, ids) -> list[str]:
    stream = TextStream(tokenizer)
    return [stream.add(token) for token in ids] + [stream.finish()]


@given(st.data())
def test_the_text_of_any_tokens_is_what_decoding_them_at_once_gives(tokenizer, data):
    ids = data.draw(st.lists(st.integers(0, tokenizer.size - 1), max_size=12))
    texts = visible_texts(tokenizer, ids)
    assert texts[-1] == tokenizer.decode(ids)
    for shorter, longer in pairwise(texts):
        assert longer.startswith(shorter)


@given(st.text(max_size=12))
def test_no_character_is_shown_before_it_is_whole(tokenizer, text):
    for shown in visible_texts(tokenizer, tokenizer.encode(text)):
        assert text.startswith(shown)


def test_a_character_spread_over_tokens_comes_with_its_last_token(tokenizer):
    ids = tokenizer.encode("a€b")
    assert len(ids) == 5
    assert visible_texts(tokenizer, ids) == ["a", "a", "a", "a€", "a€b", "a€b"]


def test_the_text_ends_before_the_first_stop_string():
    assert find_cut("one two three", 0, ("three", "two"), None) == 4
    assert find_cut("one two three", 0, ("four",), None) is None


@given(st.text("ab\n", max_size=20), st.text("ab\n", min_size=1, max_size=3), st.integers(0, 20))
def test_searching_only_what_is_new_misses_nothing(text, stop, seen):
    if stop not in text[:seen]:
        expected = text.find(stop)
        assert find_cut(text, min(seen, len(text)), (stop,), None) == (None if expected < 0 else expected)


def test_the_nearer_of_stop_string_and_callable_cuts():
    assert find_cut("x = 1\n\n# next", 0, ("#",), lambda text: 5) == 5
    assert find_cut("x = 1\n\n# next", 0, ("=",), lambda text: 5) == 2
    assert find_cut("x = 1", 0, (), lambda text: None) is None
