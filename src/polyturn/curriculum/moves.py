"""The turns that a program is made of: each function here adds one to a draft, its intent and its code."""

from itertools import product
from typing import Any

from polyturn.curriculum import frames
from polyturn.curriculum.draft import Bound, Draft, Variable, bind, choose, code, expression, recent, spoken
from polyturn.curriculum.families import FAMILIES
from polyturn.curriculum.family import Family, fill
from polyturn.curriculum.kinds import KINDS, is_function, printable

BLOCK = 0.1
"""How often an assignment is written out as a block of statements unasked."""
LOOP_ASKED = 0.08
"""How often the intent asks for a loop, where there is one."""
LAMBDA_ASKED = 0.07
"""How often a function is asked for as a lambda, where an expression will do."""


# --- literals and prints --------------------------------------------------------------------------


def sample(draft: Draft, kind: str) -> Any:
    """A value of a kind that has literals."""
    make = KINDS[kind].sample
    assert make is not None, f"no literals of kind {kind}"
    return make(draft.rng)


def assign_literal(draft: Draft, kind: str, value: Any = None) -> Variable:
    """Give a new variable a literal value: `value`, or one of the kind's own."""
    rng, style = draft.rng, draft.style
    value = sample(draft, kind) if value is None else value
    made = Variable(draft.new_name(kind), kind, value)
    text, noun, name = draft.literal(value), rng.choice(KINDS[kind].nouns), style.name(made.name)
    if rng.random() < 0.3:
        intent = fill(rng.choice(frames.SET_KIND), {"n": noun, "y": name, "s": text})
    else:
        phrase = f"the {noun.split(' ', 1)[1]} {text}" if rng.random() < 0.3 else text
        intent = fill(rng.choice(frames.SET), {"y": name, "s": phrase})
    draft.turn(intent, f"{made.name} = {text}")
    draft.variables.append(made)
    return made


def assign_two(draft: Draft, kind: str, samples: tuple[Any, Any]) -> tuple[Variable, Variable]:
    """Give two new variables of one kind a literal value each."""
    first, second = (Variable(draft.new_name(kind), kind, value) for value in samples)
    texts = [draft.literal(value) for value in samples]
    names = [draft.style.name(v.name) for v in (first, second)]
    intent = fill(draft.rng.choice(frames.SET_TWO), {"y": names[0], "z": names[1], "s": texts[0], "t": texts[1]})
    draft.turn(intent, f"{first.name} = {texts[0]}\n{second.name} = {texts[1]}")
    draft.variables += [first, second]
    return first, second


def assign_empty(draft: Draft, kind: str) -> Variable:
    """Give a new variable an empty list or dictionary."""
    value, noun = ({}, "an empty dictionary") if kind == "dict" else ([], "an empty list")
    made = Variable(draft.new_name(kind), kind, value)
    draft.turn(
        fill(draft.rng.choice(frames.SET_EMPTY), {"n": noun, "y": draft.style.name(made.name)}),
        f"{made.name} = {value}",
    )
    draft.variables.append(made)
    return made


def copy_variable(draft: Draft, source: Variable) -> None:
    """Give a new variable the value of another. Not where one is changed later: both hold one object."""
    made = Variable(draft.new_name(source.kind), source.kind, source.value, source.maker)
    places = {"s": draft.style.name(source.name), "y": draft.style.name(made.name)}
    draft.turn(fill(draft.rng.choice(frames.COPY), places), f"{made.name} = {source.name}")
    draft.variables.append(made)


def print_variables(draft: Draft, picked: list[Variable]) -> None:
    """Print variables in one call."""
    names = [draft.style.name(v.name) for v in picked]
    said = names[0] if len(picked) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    table = frames.PRINT_VARIABLE if len(picked) == 1 else frames.PRINT_SEVERAL
    draft.turn(fill(draft.rng.choice(table), {"s": said}), f"print({', '.join(v.name for v in picked)})")
    for variable in picked:
        variable.fresh = False


# --- families -------------------------------------------------------------------------------------


def _stated(draft: Draft, bound: Bound, table: tuple[str, ...], **names: str) -> str:
    """An intent: one of the family's phrases in one of the frames that suit it."""
    phrase = draft.rng.choice(bound.family.says)
    return fill(frames.frame(draft.rng, table, phrase), {"s": fill(phrase, bound.intent), **names})


def _use(draft: Draft, bound: Bound) -> None:
    """Note that a family has consumed its inputs."""
    draft.families.append(bound.family.name)
    for variable in bound.inputs:
        if variable.maker:
            draft.pairs.append((variable.maker, bound.family.name))
        variable.fresh = False


def _changed(variable: Variable, family: Family) -> None:
    variable.value, variable.maker, variable.fresh = None, family.name, True


def apply(draft: Draft, bound: Bound) -> None:
    """Apply a family: keep its results in new variables, or change its inputs, or print."""
    rng, family = draft.rng, bound.family
    results = [Variable(draft.new_name(kind), kind, maker=family.name) for kind in bound.kinds]
    targets = dict(zip("yz", (v.name for v in results), strict=False))
    names = {place: draft.style.name(name) for place, name in targets.items()}
    if family.asks and (not family.says or rng.random() < 0.5):
        intent = fill(rng.choice(family.asks), {**bound.intent, **names})
    else:
        intent = _stated(draft, bound, frames.CHECK if bound.kinds == ("bool",) else frames.COMPUTE, **names)
    loops = tuple(block for block in family.blocks if "for " in block)
    if family.exprs and loops and not bound.inline and rng.random() < LOOP_ASKED:
        small = intent[0].lower() + intent[1:]
        intent = fill(rng.choice(frames.LOOP), {"r": small, "h": intent})
        text = code(draft, bound, choose(rng, loops), **targets)
    elif family.blocks and not bound.inline and (not family.exprs or rng.random() < BLOCK):
        text = code(draft, bound, choose(rng, family.blocks), **targets)
    else:
        text = f"{targets['y']} = {expression(draft, bound)}"
    draft.turn(intent, text)
    _use(draft, bound)
    if family.changes:
        for variable in bound.inputs:
            _changed(variable, family)
    draft.variables += results


def replace(draft: Draft, bound: Bound) -> None:
    """Put a family's result in the place of its input."""
    target = bound.inputs[0]
    intent = _stated(draft, bound, frames.REPLACE, a=draft.style.name(target.name))
    draft.turn(intent, f"{target.name} = {expression(draft, bound)}")
    _use(draft, bound)
    _changed(target, bound.family)


def can_replace(bound: Bound) -> bool:
    """Whether the result is of the only input's kind."""
    named = len(bound.inputs) == 1 and not bound.inline
    return named and bool(bound.family.exprs) and bound.kinds == (bound.inputs[0].kind,)


def print_result(draft: Draft, bound: Bound) -> None:
    """Print what a family gives, without a variable for it."""
    intent = _stated(draft, bound, frames.PRINT_CHECK if bound.kinds == ("bool",) else frames.PRINT)
    draft.turn(intent, f"print({expression(draft, bound)})")
    _use(draft, bound)


def can_print(bound: Bound) -> bool:
    """Whether one expression gives a result that prints the same however it was made."""
    return bool(bound.family.says and bound.family.exprs) and printable(bound.kinds[0])


# --- functions ------------------------------------------------------------------------------------


def _signatures() -> dict[str, list[tuple[Family, tuple[str, ...]]]]:
    """For each kind of function the families that one can compute, with the kinds of its parameters."""
    table: dict[str, list[tuple[Family, tuple[str, ...]]]] = {}
    for family in FAMILIES.values():
        takes = [kinds.split() for kinds in family.takes]
        if not family.says or any(is_function(kind) for kinds in takes for kind in kinds):
            continue
        for kinds in product(*takes):
            given = Bound(family, tuple(Variable("", kind) for kind in kinds), {}, {}).kinds[0]
            if all(KINDS[kind].sample for kind in kinds) and printable(given):
                arrow = "=>" if family.when else "->"
                table.setdefault(f"{','.join(kinds)}{arrow}{given}", []).append((family, kinds))
    return table


SIGNATURES = _signatures()
DEFINABLE = [entry for entries in SIGNATURES.values() for entry in entries]


def parameters(kind: str) -> list[str]:
    """The kinds of a function's parameters."""
    return kind.replace("=>", "->").split("->")[0].split(",")


def define(draft: Draft, kind: str | None = None, family: Family | None = None) -> Variable:
    """Define a function: of `kind`, if given, and computing `family`, if given.

    Of neither, it takes if possible what the draft holds unused.
    """
    rng, style = draft.rng, draft.style
    entries = SIGNATURES[kind] if kind else DEFINABLE
    if family:
        entries = [entry for entry in entries if entry[0] is family]
    elif not kind:
        unused = {v.kind for v in draft.variables if v.fresh}
        entries = [entry for entry in entries if entry[1][0] in unused] or entries
    bound = None
    while bound is None:
        computed, kinds = rng.choice(entries)
        inputs = tuple(Variable(draft.new_name(k), k) for k in kinds)
        bound = bind(draft, computed, inputs, check=False)
    names = [style.name(v.name) for v in bound.inputs]
    bound = Bound(bound.family, bound.inputs, {**bound.intent, **dict(zip("ab", names, strict=False))}, bound.code)
    says = fill(rng.choice(bound.family.says), bound.intent)
    if bound.kinds == ("bool",):
        says = rng.choice((f"whether {says}", f"True if {says}, otherwise False"))
    arrow = "=>" if bound.family.when else "->"
    kinds = [v.kind for v in bound.inputs]
    made = Variable(draft.new_name("->"), f"{','.join(kinds)}{arrow}{bound.kinds[0]}", maker=bound.family.name)
    places = {
        "f": style.name(made.name),
        "s": says,
        "p": " and ".join(f"{rng.choice(KINDS[k].nouns)} {name}" for k, name in zip(kinds, names, strict=True)),
        "q": " and ".join(names),
        "m": "a parameter" if len(kinds) == 1 else "parameters",
    }
    bare = ", ".join(v.name for v in bound.inputs)
    if bound.family.exprs and rng.random() < LAMBDA_ASKED:
        draft.turn(
            fill(rng.choice(frames.DEFINE_LAMBDA), places),
            f"{made.name} = lambda {bare}: {expression(draft, bound)}",
        )
    else:
        body = "".join(f"\n    {line}" for line in _body(draft, bound).split("\n"))
        draft.turn(fill(rng.choice(frames.DEFINE), places), f"def {made.name}({bare}):{body}")
    draft.families.append(bound.family.name)
    draft.variables.append(made)
    return made


def _body(draft: Draft, bound: Bound) -> str:
    """The statements of a function that computes a family."""
    family, rng = bound.family, draft.rng
    if family.bodies:
        return code(draft, bound, choose(rng, family.bodies))
    if family.blocks and (not family.exprs or rng.random() < BLOCK):
        local = next(name for name in ("result", "total", "output", "res") if name not in draft.taken)
        return code(draft, bound, choose(rng, family.blocks), y=local) + f"\nreturn {local}"
    return f"return {expression(draft, bound)}"


def call(draft: Draft, function: Variable, printing: bool) -> bool:
    """Call a function on variables or literals and keep or print the result. False: no arguments suit it."""
    rng, family = draft.rng, FAMILIES[function.maker or ""]
    for _ in range(20):
        arguments: list[Variable] = []
        for kind in parameters(function.kind):
            there = [
                v for v in draft.variables if v.kind == kind and v not in arguments and draft.allows(v, family.name)
            ]
            if there and rng.random() < (0.95 if any(v.fresh for v in there) else 0.7):
                arguments.append(recent(draft, there))
            else:
                arguments.append(Variable("", kind, sample(draft, kind)))
        if family.when is None or family.when(*(v.value for v in arguments)):
            break
    else:
        return False
    said = " and ".join(spoken(draft, v) for v in arguments)
    text = f"{function.name}({', '.join(v.name or draft.literal(v.value) for v in arguments)})"
    places = {"f": draft.style.name(function.name), "s": said}
    if printing:
        draft.turn(fill(rng.choice(frames.CALL_PRINT), places), f"print({text})")
    else:
        gives = function.kind.split(">")[1]
        made = Variable(draft.new_name(gives), gives, maker=family.name)
        draft.turn(
            fill(rng.choice(frames.CALL), {**places, "y": draft.style.name(made.name)}),
            f"{made.name} = {text}",
        )
        draft.variables.append(made)
    draft.pairs += [(v.maker, family.name) for v in arguments if v.maker]
    for variable in (*arguments, function):
        variable.fresh = False
    return True
