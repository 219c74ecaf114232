"""The table of families: many, with several phrasings each, and realisations that agree when they are run."""

from collections import defaultdict
from collections.abc import Iterator
from random import Random

import pytest

from polyturn.curriculum import frames, moves
from polyturn.curriculum.compose import _with_new
from polyturn.curriculum.draft import Bound, Draft, Variable, code
from polyturn.curriculum.families import FAMILIES, TOPICS
from polyturn.curriculum.family import Family, fill, places_of
from polyturn.curriculum.kinds import is_function
from polyturn.sandbox import run_batch
from polyturn.synthesis.turns import program_source

ROUNDS = 5
"""Different inputs on which each family's realisations are compared."""


def _draft(seed: int) -> Draft:
    rng = Random(seed)
    return Draft(rng, frames.style(rng), frozenset())


def _bound(family: Family, seed: int) -> tuple[Draft, Bound]:
    draft = _draft(seed)
    inputs: list[Variable | None] = [None] * len(family.takes)
    if family.takes == ("pairs",):  # which has no literals
        items, dictionary = FAMILIES["items"], moves.assign_literal(draft, "dict")
        moves.apply(draft, Bound(items, (dictionary,), {"a": "it"}, {"a": dictionary.name}))
        inputs = [draft.variables[-1]]
    for _ in range(1000):
        bound = _with_new(draft, family, inputs, room=4)
        if bound:
            return draft, bound
    raise AssertionError(f"no inputs suit {family.name}")


def _realisations(draft: Draft, bound: Bound) -> Iterator[str]:
    """Every way to compute the family's result: statements that end by printing it and the inputs."""
    family = bound.family
    targets = {place: f"result_{place}" for place, _ in zip("yz", family.gives, strict=False)}
    inputs = [v.name for v in bound.inputs if not is_function(v.kind)]
    tail = f"\nprint({', '.join([*targets.values(), *inputs])})"
    for expr in family.exprs:
        yield f"result_y = {code(draft, bound, expr)}{tail}"
    for block in family.blocks:
        yield code(draft, bound, block, **targets) + tail
    for body in family.bodies:
        lines = code(draft, bound, body).replace("\n", "\n    ")
        yield f"def computed():\n    {lines}\nresult_y = computed(){tail}"


def test_there_are_enough_families_on_every_topic():
    assert len(FAMILIES) == sum(len(families) for families in TOPICS.values()), "two families share a name"
    assert len(FAMILIES) >= 60
    for topic in ("numbers", "strings", "lists", "dictionaries", "sets and tuples", "functions"):
        assert len(TOPICS[topic]) >= 10


@pytest.mark.parametrize("topic", TOPICS)
def test_all_realisations_of_a_family_agree(topic):
    sources, groups = [], []
    for family in TOPICS[topic]:
        for number in range(ROUNDS):
            draft, bound = _bound(family, number)
            for realisation in _realisations(draft, bound):
                sources.append(program_source(draft.turns) + realisation + "\n")
                groups.append((family.name, number))
    failed = 0
    values = defaultdict(list)
    for group, source, result in zip(groups, sources, run_batch(sources), strict=True):
        # A function made up for the occasion may fail on some element; then it has to in every realisation.
        assert result.verdict == "passed" or topic == "functions", (result.error, source)
        values[group].append((result.error.type if result.error else repr_sorted(result.printed), source))
        failed += result.error is not None
    assert len(values) == ROUNDS * len(TOPICS[topic])
    assert failed < 0.1 * len(sources)
    for found in values.values():
        assert len({value for value, _ in found}) == 1, found


def repr_sorted(value: object) -> str:
    """`repr` with sets in order; it tells 1, 1.0 and True apart, and keeps the order of dictionaries."""
    if isinstance(value, set):
        return "{" + ", ".join(map(repr, sorted(value))) + "}"
    if isinstance(value, tuple | list):
        return type(value).__name__ + "(" + ", ".join(map(repr_sorted, value)) + ")"
    return repr(value)


def test_families_have_several_phrasings():
    for family in FAMILIES.values():
        assert len(set(family.says) | set(family.asks)) >= 2, family.name
    assert sum(len(family.says) + len(family.asks) for family in FAMILIES.values()) > 2.2 * len(FAMILIES)


def test_templates_use_the_places_of_their_family():
    for family in FAMILIES.values():
        inputs = set("ab"[: len(family.takes)])
        targets = set("yz"[: len(family.gives)])
        constants = set(family.slots)
        for say in family.says:
            assert places_of(say) == inputs | constants, (family.name, say)
        for ask in family.asks:
            assert places_of(ask) == inputs | constants | targets, (family.name, ask)
        for text in (*family.exprs, *family.blocks, *family.bodies):
            used = places_of(text)
            assert inputs | constants <= used, (family.name, text)
            assert used <= inputs | constants | targets | set("xoitpuv"), (family.name, text)
        assert bool(family.says) or bool(family.asks)
        assert bool(family.exprs) or bool(family.blocks)


def test_one_phrase_never_asks_for_two_things():
    """Two families may share a phrase only where the kinds tell them apart or the code is the same."""
    by_phrase = defaultdict(list)
    for family in FAMILIES.values():
        for phrase in (*family.says, *family.asks):
            slots = {place: "_" for place in family.slots}
            bare = fill(phrase, {**{p: "{" + p + "}" for p in "abyz"}, **slots})
            by_phrase[bare].append(family)
    for phrase, families in by_phrase.items():
        for one in families:
            for other in families:
                kinds = [set(x.split()) & set(y.split()) for x, y in zip(one.takes, other.takes, strict=False)]
                if one is other or len(one.takes) != len(other.takes) or not all(kinds):
                    continue
                codes = [
                    fill(f.exprs[0], {**{p: p for p in "abxoitpuv"}, **{p: "_" for p in f.slots}}) for f in (one, other)
                ]
                assert codes[0] == codes[1], (phrase, one.name, other.name)


def test_functions_can_compute_most_families():
    definable = {family.name for family, _ in moves.DEFINABLE}
    assert len(definable) > 150
