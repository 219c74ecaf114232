"""Names and literals: valid, varied, and written as Python reads them."""

import ast
import builtins
import keyword
from random import Random

import pytest

from polyturn.curriculum import values
from polyturn.curriculum.kinds import KINDS, LITERAL_KINDS
from polyturn.curriculum.words import ADJECTIVES, NOUNS, RUDE

TYPES = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "ints": list,
    "floats": list,
    "strs": list,
    "dict": dict,
    "tuple": tuple,
    "set": set,
}


@pytest.mark.parametrize("kind", LITERAL_KINDS)
@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_literal_reads_back_as_its_value(kind, quote):
    rng = Random(kind + quote)
    sample = KINDS[kind].sample
    assert sample is not None
    for _ in range(500):
        value = sample(rng)
        assert type(value) is TYPES[kind]
        text = values.literal(value, quote)
        assert ast.literal_eval(text) == value
        if quote == "'" and kind != "set":
            assert text == repr(value)


@pytest.mark.parametrize("value", ["it's", 'say "so"', "a\\b", "tab\there", "", "naïve"])
@pytest.mark.parametrize("quote", ["'", '"'])
def test_awkward_strings_read_back_too(value, quote):
    assert ast.literal_eval(values.literal(value, quote)) == value


def test_sets_are_written_in_order():
    assert values.literal({30, 4, 100}) == "{4, 30, 100}"
    assert values.literal((7,)) == "(7,)"


@pytest.mark.parametrize(
    "makers",
    [values.VARIABLE_NAMES, values.COLLECTION_NAMES, values.FUNCTION_NAMES],
    ids=["variable", "list", "function"],
)
def test_names_are_identifiers_and_never_taken(makers):
    rng = Random(5)
    taken: set[str] = set()
    for _ in range(3000):
        made = values.name(rng, taken, makers)
        assert made.isidentifier()
        assert not keyword.iskeyword(made)
        assert not hasattr(builtins, made)
        assert made not in taken
        taken.add(made)


def test_there_are_many_words():
    assert len(set(NOUNS)) == len(NOUNS) >= 300
    assert len(set(ADJECTIVES)) == len(ADJECTIVES) >= 80
    rng = Random(0)
    made = {values.pseudo_word(rng) for _ in range(5000)}
    assert len(made) > 4000
    assert not any(fragment in word for word in made for fragment in RUDE)


def test_whole_numbers_are_mostly_small():
    rng = Random(0)
    made = [values.integer(rng) for _ in range(5000)]
    assert 0.75 < sum(0 <= n < 100 for n in made) / len(made) < 0.95
    assert any(n < 0 for n in made)
    assert any(n > 999 for n in made)
