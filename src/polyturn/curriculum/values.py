"""Names and literals: all that a model has to copy, as pure functions of a `random.Random`.

Values are plain Python values. `literal` writes one as source text, in the same way in an intent and in
code, so that what is to be copied reads the same in both places.
"""

import builtins
import keyword
from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Any

from polyturn.curriculum.words import (
    ADJECTIVES,
    CODAS,
    ENDS,
    NOUNS,
    ONSETS,
    OTHER_WORDS,
    PEOPLE,
    RUDE,
    SHORT_NAMES,
    VERBS,
    VOWELS,
)

RESERVED = frozenset(dir(builtins)) | frozenset(keyword.kwlist) | frozenset(keyword.softkwlist)
"""What no variable, function or parameter may be called."""


def weighted(rng: Random, table: Sequence[tuple[float, Any]]) -> Any:
    """One of `table`'s entries (weight, entry). Weights need not add up to 1."""
    mark = rng.random() * sum(weight for weight, _ in table)
    for weight, entry in table:
        mark -= weight
        if mark < 0:
            return entry
    return table[-1][1]


# --- names ----------------------------------------------------------------------------------------


def pseudo_word(rng: Random, syllables: int | None = None) -> str:
    """A pronounceable word that no dictionary holds, such as `trovel`."""
    count = syllables or weighted(rng, ((2, 1), (6, 2), (1, 3)))
    while True:
        made = "".join(_syllable(rng) for _ in range(count)) + (rng.choice(ENDS) if count == 1 else "")
        if not any(fragment in made for fragment in RUDE):
            return made


def _syllable(rng: Random) -> str:
    return rng.choice(ONSETS) + rng.choice(VOWELS) + (rng.choice(CODAS) if rng.random() < 0.4 else "")


def _noun(rng: Random) -> str:
    return rng.choice(NOUNS)


def _plural(rng: Random) -> str:
    return plural(rng.choice(NOUNS))


def plural(noun: str) -> str:
    """The regular plural: `boxes`, `cherries`, `lamps`."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def _described(rng: Random) -> str:
    return f"{rng.choice(ADJECTIVES)}_{rng.choice(NOUNS)}"


def _compound(rng: Random) -> str:
    return f"{rng.choice(NOUNS)}_{rng.choice(NOUNS)}"


def _action(rng: Random) -> str:
    return f"{rng.choice(VERBS)}_{rng.choice(NOUNS)}"


def _numbered(rng: Random) -> str:
    return f"{rng.choice(NOUNS)}{rng.randint(1, 9)}"


NameMaker = Callable[[Random], str]

VARIABLE_NAMES: tuple[tuple[float, NameMaker], ...] = (
    (30, _noun),
    (12, _described),
    (10, _compound),
    (14, lambda rng: rng.choice(SHORT_NAMES)),
    (24, pseudo_word),
    (4, _numbered),
    (6, lambda rng: f"{pseudo_word(rng, 1)}_{rng.choice(NOUNS)}"),
)
COLLECTION_NAMES: tuple[tuple[float, NameMaker], ...] = ((40, _plural), *VARIABLE_NAMES)
FUNCTION_NAMES: tuple[tuple[float, NameMaker], ...] = (
    (40, _action),
    (15, lambda rng: rng.choice(VERBS)),
    (15, _compound),
    (20, pseudo_word),
    (10, lambda rng: rng.choice("fgh")),
)


def name(rng: Random, taken: Collection[str], makers: Sequence[tuple[float, NameMaker]] = VARIABLE_NAMES) -> str:
    """A new identifier: no keyword, no builtin, none of `taken`."""
    while True:
        made = weighted(rng, makers)(rng)
        if made not in taken and made not in RESERVED:
            return made


# --- values ---------------------------------------------------------------------------------------


def integer(rng: Random) -> int:
    """Mostly 0 to 99, sometimes up to four digits, sometimes negative."""
    value = weighted(rng, ((30, 10), (52, 100), (12, 1000), (6, 10000)))
    value = rng.randrange(value)
    return -value if rng.random() < 0.08 else value


def decimal(rng: Random) -> float:
    """One or two decimals: 3.5, 12.25."""
    value = rng.randrange(1, 1000) / 10 if rng.random() < 0.6 else rng.randrange(1, 10000) / 100
    return -value if rng.random() < 0.06 else value


def truth(rng: Random) -> bool:
    return rng.random() < 0.5


def _cased(rng: Random, text: str) -> str:
    return weighted(rng, ((70, text), (16, text.capitalize()), (8, text.title()), (6, text.upper())))


def word(rng: Random) -> str:
    """One word, in lower case: of the lists, or made up."""
    return weighted(rng, ((50, rng.choice(NOUNS)), (14, rng.choice(ADJECTIVES)), (36, pseudo_word(rng))))


def text(rng: Random) -> str:
    """A word, a few words or a label, in mixed case, digits now and then."""
    count = weighted(rng, ((48, 1), (24, 2), (18, 3), (10, 4)))
    if count == 1:
        made = weighted(rng, ((80, word(rng)), (10, rng.choice(PEOPLE)), (10, f"{word(rng)}{rng.randint(1, 99)}")))
        return made if made[0].isupper() else _cased(rng, made)
    words = [word(rng) if rng.random() < 0.65 else rng.choice(OTHER_WORDS) for _ in range(count)]
    if rng.random() < 0.1:
        words[rng.randrange(count)] = str(rng.randint(1, 99))
    joint = " " if rng.random() < 0.95 else "-"
    return _cased(rng, joint.join(words))


def _length(rng: Random) -> int:
    return weighted(rng, ((3, 1), (8, 2), (28, 3), (28, 4), (20, 5), (9, 6), (4, 7)))


def integers(rng: Random) -> list[int]:
    """1 to 7 numbers of one size; repeated ones now and then."""
    size = weighted(rng, ((35, 10), (55, 100), (10, 1000)))
    low = -size if rng.random() < 0.12 else 0
    return [rng.randrange(low, size) for _ in range(_length(rng))]


def decimals(rng: Random) -> list[float]:
    return [rng.randrange(1, 1000) / 10 for _ in range(min(_length(rng), 5))]


def words(rng: Random) -> list[str]:
    """1 to 6 words or names; repeated ones now and then."""
    maker = weighted(rng, ((75, word), (15, lambda rng: rng.choice(PEOPLE)), (10, lambda rng: word(rng).capitalize())))
    made = [maker(rng) for _ in range(min(_length(rng), 6))]
    if len(made) > 2 and rng.random() < 0.15:
        made[rng.randrange(len(made))] = rng.choice(made)
    return made


def mapping(rng: Random) -> dict[str, int]:
    """1 to 4 entries from a word to a number."""
    count = weighted(rng, ((6, 1), (34, 2), (42, 3), (18, 4)))
    maker = rng.choice((word, word, lambda rng: rng.choice(PEOPLE)))
    size = rng.choice((10, 100, 100, 1000))
    made: dict[str, int] = {}
    while len(made) < count:
        made[maker(rng)] = rng.randrange(size)
    return made


def number_tuple(rng: Random) -> tuple[int, ...]:
    return tuple(integers(rng)[:5]) if rng.random() < 0.7 else (integer(rng), integer(rng))


def number_set(rng: Random) -> set[int]:
    return set(rng.sample(range(rng.choice((10, 100))), rng.randint(2, 5)))


# --- literals -------------------------------------------------------------------------------------


def literal(value: Any, quote: str = "'") -> str:
    """`value` as Python source: what `repr` gives, with strings in `quote` where that needs no escape.

    A set is written in ascending order.
    """
    match value:
        case str():
            plain = quote not in value and "\\" not in value and value.isprintable()
            return f"{quote}{value}{quote}" if plain else repr(value)
        case list():
            return "[" + ", ".join(literal(item, quote) for item in value) + "]"
        case tuple():
            inside = ", ".join(literal(item, quote) for item in value)
            return f"({inside},)" if len(value) == 1 else f"({inside})"
        case set():
            return "{" + ", ".join(literal(item, quote) for item in sorted(value)) + "}" if value else "set()"
        case dict():
            return "{" + ", ".join(f"{literal(k, quote)}: {literal(v, quote)}" for k, v in value.items()) + "}"
        case _:
            return repr(value)
