"""A program under way: which variables exist, what is known of them, and how a family is bound to them.

The composer keeps no values but those written as literals: nothing is computed while composing. What a
constant has to fit (an index, a key, a threshold) is therefore chosen where the value is known, and chosen
carefully where it is not; the few programs that fail all the same are dropped when they are run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

from polyturn.curriculum import values
from polyturn.curriculum.family import Family, Said, fill, places_of
from polyturn.curriculum.frames import Style
from polyturn.curriculum.kinds import KINDS, is_function
from polyturn.curriculum.values import literal, weighted
from polyturn.synthesis.turns import Turn

FIRST_CHOICE = 0.75
"""How often the first of several realisations is taken: the most likely answer to an intent is well
defined."""
LOOP_NAMES = {
    "i": ("i", "j", "index", "idx", "pos"),
    "o": ("y", "other", "b"),
    "p": ("pair", "item", "entry"),
    "t": ("word", "w", "part"),
    "u": ("key", "k", "name"),
    "v": ("value", "v", "val"),
}
"""Usual names of loop variables by place, the most usual one first; those of {x} depend on what is looped
over."""
KIND_SPOKEN = 0.1
"""How often an intent names a variable's kind with it: "the list lamps"."""


@dataclass(frozen=True)
class Program:
    """A composed program, not yet run."""

    turns: tuple[Turn, ...]
    families: tuple[str, ...]
    """Names of the families used, in order."""
    pairs: tuple[tuple[str, str], ...]
    """For each value that passed from one family to another: who made it, who consumed it. A literal has no
    maker; a function consumes and makes as the family that it computes."""


@dataclass(eq=False)
class Variable:
    """A name of the program under way, or (with no name) a literal that stands in a variable's place."""

    name: str
    kind: str
    value: Any = None
    """Where it is known: from the literal until the first change."""
    maker: str | None = None
    """The family whose result it holds; for a function the family that it computes."""
    fresh: bool = True
    """Whether nothing has used or printed it since it got its value."""


@dataclass
class Draft:
    """A program under way."""

    rng: Random
    style: Style
    barred: frozenset[tuple[str, str]]
    """Pairs of families that must not be composed."""
    taken: set[str] = field(default_factory=set)
    variables: list[Variable] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    families: list[str] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)

    def new_name(self, kind: str) -> str:
        """A name for a new variable of `kind`, taken from now on."""
        if is_function(kind):
            makers = values.FUNCTION_NAMES
        else:
            makers = values.VARIABLE_NAMES if KINDS[kind].element is None or kind == "str" else values.COLLECTION_NAMES
        made = values.name(self.rng, self.taken, makers)
        self.taken.add(made)
        return made

    def turn(self, intent: str, code: str) -> None:
        """Add a turn; `intent` is without capital and full stop as the style has them."""
        self.turns.append(Turn(self.style.sentence(intent), code))

    def literal(self, value: Any) -> str:
        return literal(value, self.style.text_quote)

    def allows(self, variable: Variable, family: str) -> bool:
        """Whether a family may be applied to a variable."""
        return variable.maker is None or (variable.maker, family) not in self.barred

    def mark(self) -> tuple[int, ...]:
        """Where the draft stands, for `roll_back`."""
        return len(self.variables), len(self.turns), len(self.families), len(self.pairs)

    def roll_back(self, mark: tuple[int, ...]) -> None:
        """Drop whatever was added since `mark`."""
        for items, length in zip((self.variables, self.turns, self.families, self.pairs), mark, strict=True):
            del items[length:]

    def result(self) -> Program:
        return Program(tuple(self.turns), tuple(self.families), tuple(self.pairs))


@dataclass(frozen=True)
class Bound:
    """A family with its inputs and constants chosen."""

    family: Family
    inputs: tuple[Variable, ...]
    intent: Mapping[str, str]
    """What the places stand for in an intent."""
    code: Mapping[str, str]
    """What they stand for in code."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the results."""
        first = self.inputs[0].kind
        given = {"a": first, "a[]": KINDS[first].element if first in KINDS else None}
        return tuple(given.get(kind) or kind for kind in self.family.gives)

    @property
    def inline(self) -> bool:
        """Whether an input is a literal."""
        return any(not variable.name for variable in self.inputs)


def choose(rng: Random, items: tuple[str, ...]) -> str:
    """One of several realisations, the first one most often."""
    return items[0] if len(items) == 1 or rng.random() < FIRST_CHOICE else rng.choice(items[1:])


def recent(draft: Draft, variables: list[Variable]) -> Variable:
    """One of `variables`: most likely one that nothing has used yet, and rather a late one."""
    return weighted(draft.rng, [((8 if v.fresh else 1) * place, v) for place, v in enumerate(variables, 1)])


def spoken(draft: Draft, variable: Variable) -> str:
    """How an intent speaks of a variable: by its name, now and then with its kind, or by its literal."""
    if not variable.name:
        return draft.literal(variable.value)
    name = draft.style.name(variable.name)
    if variable.kind in KINDS and draft.rng.random() < KIND_SPOKEN:
        return f"the {KINDS[variable.kind].nouns[0].split(' ', 1)[1]} {name}"
    return name


def bind(draft: Draft, family: Family, inputs: tuple[Variable, ...], check: bool = True) -> Bound | None:
    """`family` with these inputs and with constants that suit them; None where it cannot be used on them.

    Args:
        check: whether to ask the family's `when`. Not for the parameters of a function: its calls are
            checked.
    """
    if not all(draft.allows(v, family.name) for v in inputs):
        return None
    known = [v.value for v in inputs]
    if check and family.when and not family.when(*known):
        return None
    intent: dict[str, str] = {}
    code: dict[str, str] = {}
    texts = set()
    for place, slot in family.slots.items():
        made = slot(draft.rng, known[0])
        if made is None or made in texts:
            return None
        if isinstance(made, Said):
            intent[place], code[place] = made.intent, made.code
        else:
            intent[place] = code[place] = draft.literal(made)
        if isinstance(made, str):
            texts.add(made)
    for place, variable in zip("ab", inputs, strict=False):
        intent[place] = spoken(draft, variable)
        code[place] = variable.name or draft.literal(variable.value)
    return Bound(family, inputs, intent, code)


# --- code -----------------------------------------------------------------------------------------


@cache
def _loop_places(template: str) -> tuple[str, ...]:
    return tuple(sorted(places_of(template) & set(LOOP_NAMES) | places_of(template) & {"x"}))


def code(draft: Draft, bound: Bound, template: str, **targets: str) -> str:
    """A template's code. Its loop variables get names that the program does not use otherwise."""
    places = {**bound.code, **targets}
    used: set[str] = set()
    for place in _loop_places(template):
        if place not in places:
            free = tuple(n for n in _loop_names(bound, place) if n not in draft.taken and n not in used)
            places[place] = choose(draft.rng, free)
            used.add(places[place])
    return fill(template, places)


def _loop_names(bound: Bound, place: str) -> tuple[str, ...]:
    """Usual names of a loop variable, the most usual one first."""
    if place == "x":
        looped = next((v.kind for v in reversed(bound.inputs) if v.kind in KINDS), "int")
        return (*KINDS[looped].loop, "item", "each", "entry")
    return (*LOOP_NAMES[place], "each")


def expression(draft: Draft, bound: Bound) -> str:
    """One of the family's expressions. A literal for an input is written only once, and in no f-string."""
    exprs = bound.family.exprs
    if bound.inline:
        exprs = tuple(e for e in exprs if once(e))
    return code(draft, bound, choose(draft.rng, exprs))


def once(expr: str) -> bool:
    """Whether a literal may stand for {a} in an expression."""
    return expr.count("{a}") == 1 and "f'" not in expr and "{a}:" not in expr
