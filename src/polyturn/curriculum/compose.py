"""Composes programs: `program(seed, index)` is the index-th program of a seed, a pure function of the two.

A program is built turn by turn. Each step looks at a variable that nothing has used yet, picks a family
that takes its kind, makes what else that family needs (a literal, a function), and applies it; or defines a
function and calls it; or prints. The last turn always prints.
"""

import hashlib
from collections.abc import Callable
from random import Random
from typing import Any

from polyturn.curriculum import frames, moves
from polyturn.curriculum.draft import Bound, Draft, Program, Variable, bind, once, recent
from polyturn.curriculum.families import FAMILIES
from polyturn.curriculum.family import Family
from polyturn.curriculum.heldout import HELD_OUT_PAIRS, Split
from polyturn.curriculum.kinds import KINDS, LITERAL_KINDS, is_function, printable
from polyturn.curriculum.values import weighted

LENGTHS = ((14, 2), (28, 3), (30, 4), (18, 5), (10, 6))
"""Turns of a program, with weights."""

ALL = tuple(FAMILIES.values())
CONSUMERS: dict[str, tuple[Family, ...]] = {
    kind: tuple(f for f in ALL if any(kind in kinds.split() for kinds in f.takes))
    for kind in {*KINDS, *moves.SIGNATURES}
}
"""The families that take a kind."""
PAIRS = sorted(HELD_OUT_PAIRS)
MANY = 30
"""A kind that fewer families take is taken up less often."""
EMPTY_FILLERS = ("append", "append word", "add entry")
"""What is done first with an empty list or dictionary."""


def program(seed: int, index: int, split: Split = "train") -> Program:
    """The index-th program of a seed: 2 to 6 turns, the last of which prints.

    Args:
        split: "train" never composes a held-out pair of families; "heldout-pairs" composes one in every
            program.
    """
    draft = _draft("program", seed, index, HELD_OUT_PAIRS if split == "train" else frozenset())
    length = weighted(draft.rng, LENGTHS)
    if split == "heldout-pairs":
        _start_with_pair(draft)
    elif not _start(draft, length - 1):
        return draft.result()
    while len(draft.turns) < length - 1:
        _step(draft, length - 1 - len(draft.turns))
    _finish(draft)
    return draft.result()


def copy_program(seed: int, index: int) -> Program:
    """A warm-up program of nothing but copying: literals to variables, and prints, in 2 to 5 turns."""
    draft = _draft("copy", seed, index, frozenset())
    rng = draft.rng
    kinds = [kind for kind in LITERAL_KINDS if printable(kind)]
    length = rng.randint(2, 5)
    while len(draft.turns) < length - 1:
        roll = rng.random()
        if draft.variables and roll < 0.15:
            _print_some(draft)
        elif draft.variables and roll < 0.25:
            moves.copy_variable(draft, rng.choice(draft.variables))
        elif roll < 0.4:
            kind = weighted(rng, ((60, "int"), (30, "str"), (10, "float")))
            moves.assign_two(draft, kind, (moves.sample(draft, kind), moves.sample(draft, kind)))
        else:
            moves.assign_literal(draft, rng.choice(kinds))
    _print_some(draft)
    return draft.result()


def _draft(stream: str, seed: int, index: int, barred: frozenset[tuple[str, str]]) -> Draft:
    digest = hashlib.sha256(f"{stream}:{seed}:{index}".encode()).digest()
    rng = Random(int.from_bytes(digest[:8], "big"))
    return Draft(rng, frames.style(rng), barred)


# --- finding a family -----------------------------------------------------------------------------


def _prepare(draft: Draft, family: Family, focus: Variable | None, room: int) -> Bound | None:
    """`family` bound to `focus` and to what else it needs, for which at most `room` turns are added."""
    inputs: list[Variable | None] = [None] * len(family.takes)
    if focus:
        if not draft.allows(focus, family.name):
            return None
        places = [place for place, kinds in enumerate(family.takes) if focus.kind in kinds.split()]
        inputs[draft.rng.choice(places)] = focus
    for place, kinds in enumerate(family.takes):
        there = [
            v for v in draft.variables if v.kind in kinds.split() and v not in inputs and draft.allows(v, family.name)
        ]
        if inputs[place] is None and there and draft.rng.random() < 0.8:
            inputs[place] = recent(draft, there)
    return _with_new(draft, family, inputs, room)


def _with_new(draft: Draft, family: Family, inputs: list[Variable | None], room: int) -> Bound | None:
    """The same, with new variables in the places that hold None."""
    rng = draft.rng
    kinds = [rng.choice(takes.split()) for takes in family.takes]
    missing = [place for place, variable in enumerate(inputs) if variable is None]
    if any(not (is_function(kinds[place]) or KINDS[kinds[place]].sample) for place in missing):
        return None
    both = len(missing) == 2 and kinds[0] == kinds[1] and kinds[0] in ("int", "str") and rng.random() < 0.4
    if len(missing) - both > room:
        return None
    values: list[Any] = []
    for _ in range(60):
        values = [
            v.value if v else None if is_function(kind) else moves.sample(draft, kind)
            for v, kind in zip(inputs, kinds, strict=True)
        ]
        if family.when is None or family.when(*values):
            break
    else:
        return None
    mark = draft.mark()
    if both:
        filled = moves.assign_two(draft, kinds[0], (values[0], values[1]))
    else:
        filled = tuple(v or _new(draft, kind, value) for v, kind, value in zip(inputs, kinds, values, strict=True))
    bound = bind(draft, family, filled)
    if bound is None:
        draft.roll_back(mark)
    return bound


def _new(draft: Draft, kind: str, value: Any) -> Variable:
    return moves.define(draft, kind) if is_function(kind) else moves.assign_literal(draft, kind, value)


def _find(
    draft: Draft, fits: Callable[[Bound], bool], room: int = 0, among: list[Variable] | None = None
) -> Bound | None:
    """A family that takes one of the variables, preferably an unused one; None where none is found."""
    among = among or draft.variables
    for _ in range(40 if among else 0):
        focus = recent(draft, among)
        families = CONSUMERS[focus.kind]
        if not families or (focus.kind in KINDS and draft.rng.random() > len(families) / MANY):
            continue  # else the few families of a rare kind would be met again and again
        mark = draft.mark()
        bound = _prepare(draft, draft.rng.choice(families), focus, room)
        if bound and fits(bound):
            return bound
        draft.roll_back(mark)
    return None


def _on_literal(draft: Draft) -> Bound:
    """A family of one input on a literal that stands in the input's place."""
    while True:
        family = draft.rng.choice(ALL)
        kind = draft.rng.choice(family.takes[0].split())
        if (
            len(family.takes) == 1
            and kind in KINDS
            and KINDS[kind].inline
            and not family.named
            and any(map(once, family.exprs))
        ):
            bound = bind(draft, family, (Variable("", kind, moves.sample(draft, kind)),))
            if bound:
                return bound


# --- steps ----------------------------------------------------------------------------------------


def _start(draft: Draft, room: int) -> bool:
    """The first turns: most often what some family needs, and that family, for which `room` may be exceeded.

    Returns:
        False where the program is complete with them.
    """
    rng = draft.rng
    roll = rng.random()
    if roll < 0.12:
        moves.define(draft)
    elif roll < 0.17:
        moves.apply(draft, _on_literal(draft))
    elif roll < 0.20 and room > 1:
        family = FAMILIES[rng.choice(EMPTY_FILLERS)]
        bound = bind(draft, family, (moves.assign_empty(draft, family.takes[0]),))
        if bound:
            moves.apply(draft, bound)
    else:
        while (bound := _begin(draft, max(room, 2))) is None:
            pass
        if len(draft.turns) >= room and _shows(bound):
            _show(draft, bound)
            return False
        _apply(draft, bound)
    return True


def _start_with_pair(draft: Draft) -> None:
    """Literals, a family, and one that training never applies to its result."""
    while True:
        mark = draft.mark()
        first, second = (FAMILIES[name] for name in draft.rng.choice(PAIRS))
        made = _made_by(draft, first, second.takes[0])
        if made and (bound := _with_new(draft, second, [made, *[None] * (len(second.takes) - 1)], room=2)):
            moves.apply(draft, bound)
            return
        draft.roll_back(mark)


def _made_by(draft: Draft, family: Family, kinds: str) -> Variable | None:
    """A new variable that `family` has made: its result, or a function that computes it, as `kinds` asks."""
    if is_function(kinds):
        return moves.define(draft, kinds, family)
    bound = _with_new(draft, family, [None] * len(family.takes), room=3)
    if bound is None:
        return None
    moves.apply(draft, bound)
    return next(v for v in reversed(draft.variables) if v.maker == family.name)


def _step(draft: Draft, room: int) -> None:
    """Something in the middle of a program, in at most `room` turns."""
    rng = draft.rng
    function = _uncalled(draft)
    if function and rng.random() < 0.7 and moves.call(draft, function, printing=rng.random() < 0.2):
        return
    roll = rng.random()
    if roll < 0.08 and not function:
        moves.define(draft)
    elif roll < 0.13 and (made := [v for v in draft.variables if v.fresh and v.maker and printable(v.kind)]):
        moves.print_variables(draft, made[-1:])
    elif roll < 0.19 and (bound := _find(draft, moves.can_print)):
        moves.print_result(draft, bound)
    elif bound := _find(draft, lambda bound: not bound.family.prints, room - 1):
        _apply(draft, bound)
    elif function:
        _assign_argument(draft, function)
    elif not (_call_again(draft) or _begin(draft, room - 1)):
        moves.assign_literal(draft, rng.choice(LITERAL_KINDS))


def _call_again(draft: Draft) -> bool:
    """A second call of a function; False where there is none, or nothing to call it on."""
    functions = [v for v in draft.variables if is_function(v.kind)]
    return bool(functions) and moves.call(draft, functions[-1], printing=draft.rng.random() < 0.5)


def _assign_argument(draft: Draft, function: Variable) -> None:
    """A literal that a function can be called on next."""
    kinds, fits = moves.parameters(function.kind), FAMILIES[function.maker or ""].when
    value = moves.sample(draft, kinds[0])
    while len(kinds) == 1 and fits and not fits(value):
        value = moves.sample(draft, kinds[0])
    moves.assign_literal(draft, kinds[0], value)


def _begin(draft: Draft, room: int) -> Bound | None:
    """The inputs of a random family, in at most `room` turns; None where it needs more."""
    family = draft.rng.choice(ALL)
    return _with_new(draft, family, [None] * len(family.takes), room)


def _apply(draft: Draft, bound: Bound) -> None:
    """Apply a family; now and then its result takes its input's place."""
    if moves.can_replace(bound) and draft.rng.random() < 0.12:
        moves.replace(draft, bound)
    else:
        moves.apply(draft, bound)


def _finish(draft: Draft) -> None:
    """The last turn: print the result of a function not called yet, or variables, or a family's result."""
    function = _uncalled(draft)
    if function:
        bound = _find(draft, _shows, among=[function]) if draft.rng.random() < 0.6 else None
        if bound:
            _show(draft, bound)
            return
        if moves.call(draft, function, printing=True):
            return
    fresh = [v for v in draft.variables if v.fresh and printable(v.kind)]
    made = [v for v in draft.variables if v.fresh and v.maker and not is_function(v.kind)]
    roll = draft.rng.random()
    if made and printable(made[-1].kind) and roll < 0.4:
        moves.print_variables(draft, made[-1:])
    elif len(fresh) in (2, 3) and roll < 0.5:
        moves.print_variables(draft, fresh)
    elif bound := _find(draft, _shows, among=made) or _find(draft, _shows):
        _show(draft, bound)
    else:
        _print_some(draft)


def _shows(bound: Bound) -> bool:
    return bound.family.prints or moves.can_print(bound)


def _show(draft: Draft, bound: Bound) -> None:
    """Print what a family gives, or let it print."""
    (moves.apply if bound.family.prints else moves.print_result)(draft, bound)


def _print_some(draft: Draft) -> None:
    """Print one to three variables."""
    ready = [v for v in draft.variables if printable(v.kind)] or [moves.assign_literal(draft, "int")]
    count = weighted(draft.rng, ((50, 1), (35, 2), (15, 3)))
    moves.print_variables(draft, draft.rng.sample(ready, min(len(ready), count)))


def _uncalled(draft: Draft) -> Variable | None:
    """A function that nothing has called yet."""
    return next((v for v in draft.variables if is_function(v.kind) and v.fresh), None)
