"""Constants that families take, chosen to suit the input where its value is known.

Each is a `family.Slot`: a function of a `random.Random` and the first input's value (or None), giving the
constant, or None where no constant would make sense.
"""

from random import Random
from typing import Any

from polyturn.curriculum import values
from polyturn.curriculum.family import Said, Slot

ORDINALS = ("first", "second", "third", "fourth", "fifth")
SEPARATORS = (", ", "-", " ", ",", "; ", "/", "_", " and ", ":", "+")


def positive(rng: Random, a: Any) -> int:
    return rng.randint(1, 99) if rng.random() < 0.8 else rng.randint(1, 999)


def small(rng: Random, a: Any) -> int:
    """2 to 9: a factor, a divisor, a power's base."""
    return rng.randint(2, 9)


def divisor(rng: Random, a: Any) -> int:
    return rng.randint(2, 9) if rng.random() < 0.7 else rng.randint(10, 30)


def times(rng: Random, a: Any) -> int:
    return rng.randint(2, 5)


def decimals(rng: Random, a: Any) -> Said:
    """To how many decimals to round."""
    one, two = (
        ("1 decimal", "one decimal", "one decimal place"),
        ("2 decimals", "two decimals", "2 decimal places"),
    )
    return Said(rng.choice(one), "1") if rng.random() < 0.6 else Said(rng.choice(two), "2")


def threshold(rng: Random, a: Any) -> int:
    """Near the input, or so low that some of its elements lie above it."""
    if isinstance(a, list | tuple | set) and a:
        return int(sorted(a)[rng.randrange(len(a)) // 2]) - rng.randint(1, 5)
    if isinstance(a, dict) and a:
        return min(a.values()) + rng.randint(-5, 1)
    if isinstance(a, int | float):
        return int(a) + rng.randint(-20, 20)
    return rng.randint(0, 20)


def ceiling(rng: Random, a: Any) -> int:
    """So high that some elements of the input lie below it."""
    if isinstance(a, list | tuple | set) and a:
        return int(sorted(a)[rng.randrange(len(a)) // 2]) + rng.randint(1, 9)
    return rng.randint(20, 100)


def between(low: int, high: int) -> Slot:
    """A whole number from `low` to `high`."""
    return lambda rng, a: rng.randint(low, high)


def element(rng: Random, a: Any) -> Any:
    """An element of a known input."""
    return rng.choice(sorted(a)) if a else None


def element_or_not(rng: Random, a: Any) -> Any:
    """An element of the input, or a number that need not be in it."""
    return rng.choice(sorted(a)) if a and rng.random() < 0.6 else values.integer(rng)


def word_or_not(rng: Random, a: Any) -> Any:
    """An element or key of the input, or a word that need not be in it."""
    return rng.choice(sorted(a)) if a and rng.random() < 0.6 else values.word(rng)


def number_like(rng: Random, a: Any) -> Any:
    """A number as large as those of a list, to put into it."""
    return rng.randint(0, max(9, *map(abs, a)) * 2) if a else rng.randint(0, 99)


def word(rng: Random, a: Any) -> str:
    return values.word(rng) if rng.random() < 0.85 else values.text(rng)


def text(rng: Random, a: Any) -> str:
    return values.text(rng)


def character(rng: Random, a: Any) -> str:
    """A letter, of the input where that is known."""
    letters = [c for c in a if c.isalpha()] if isinstance(a, str) else []
    return rng.choice(letters) if letters and rng.random() < 0.75 else rng.choice("abcdefghijklmnoprstuwy")


def letter(rng: Random, a: Any) -> str:
    """A small letter that begins, ends or occurs in one of the words of the input."""
    letters = [c for item in a or () for c in item.lower() if c.isalpha()]
    return rng.choice(letters) if letters else rng.choice("aeionrst")


def part(rng: Random, a: Any) -> str | None:
    """A word or a few letters of a known text."""
    if not isinstance(a, str) or len(a) < 2:
        return values.word(rng) if a is None else None
    pieces = a.split()
    if len(pieces) > 1 and rng.random() < 0.6:
        return rng.choice(pieces)
    start = rng.randrange(len(a) - 1)
    return a[start : start + rng.randint(1, 3)].strip() or None


def index(rng: Random, a: Any) -> int:
    """An index that the input has; where that is not known, a low one."""
    if a is None:
        return rng.choice((0, 0, 1))
    return rng.randrange(len(a))


def ordinal(rng: Random, a: Any) -> Said | None:
    """`first`, `second` and so on, as far as the input goes."""
    where = rng.randrange(min(len(a), len(ORDINALS))) if a else rng.choice((0, 0, 1))
    return Said(ORDINALS[where], str(where))


def count(rng: Random, a: Any) -> int:
    """How many elements to take: at least 2, and fewer than there are where that is known."""
    return rng.randint(2, max(2, len(a) - 1)) if a else rng.choice((2, 2, 3))


def key(rng: Random, a: Any) -> str | None:
    """A key of a known dictionary."""
    return rng.choice(list(a)) if a else None


def new_key(rng: Random, a: Any) -> str:
    """A key that the dictionary does not hold."""
    while (made := values.word(rng)) in (a or ()):
        pass
    return made


def split_mark(rng: Random, a: Any) -> str:
    """Where to split a text: at its own hyphens or spaces, or at a letter."""
    marks = [c for c in "-- " if c in (a or "")]
    return rng.choice(marks) if marks and rng.random() < 0.7 else character(rng, a)


def substitute(rng: Random, a: Any) -> str:
    """What takes a character's place: another one, or a mark."""
    return rng.choice("abcdefghijklmnoprstuwxyz*-_#0")


def mark(rng: Random, a: Any) -> str:
    """One character to fill or frame with."""
    return rng.choice("*-_#=+.!~|/<>oxX")


def joint(rng: Random, a: Any) -> str:
    """What stands between two texts; never nothing."""
    return rng.choice(SEPARATORS)


def beginning(rng: Random, a: Any) -> str:
    """The first letters of a known text, or a letter."""
    return a[: rng.randint(1, 3)].strip() if a and rng.random() < 0.55 else character(rng, a)


def ending(rng: Random, a: Any) -> str:
    """The last letters of a known text, or a letter."""
    return a[-rng.randint(1, 3) :].strip() if a and rng.random() < 0.55 else character(rng, a)


def limit(rng: Random, a: Any) -> int:
    """A bound that the elements of the input may lie above or below."""
    return rng.randint(min(a) - 5, max(a) + 2) if a else rng.randint(0, 60)


def ending_to_add(rng: Random, a: Any) -> str:
    """A short ending or beginning: a syllable or a mark."""
    return values.pseudo_word(rng, 1) if rng.random() < 0.6 else rng.choice("!?.*-_sxyz0123456789")


def initial(rng: Random, a: Any) -> str:
    """The first letter of an element of the input, or any letter."""
    return rng.choice(a)[0] if a and rng.random() < 0.8 else rng.choice("abcdefghlmnoprst")


def a_value(rng: Random, a: Any) -> int:
    """A value of a known dictionary, or any number."""
    return rng.choice(list(a.values())) if a and rng.random() < 0.6 else rng.randint(0, 99)
