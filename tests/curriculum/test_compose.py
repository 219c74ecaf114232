"""Programs of the curriculum: the same everywhere, well formed, copyable, and free of the held-out pairs."""

import ast
import builtins
import hashlib
import keyword
import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import product

import pytest

from polyturn.curriculum.compose import copy_program, program
from polyturn.curriculum.draft import LOOP_NAMES, Program
from polyturn.curriculum.families import FAMILIES
from polyturn.curriculum.heldout import HELD_OUT_PAIRS, TEST_SEED, TRAIN_SEED, VALIDATION_SEED
from polyturn.curriculum.kinds import KINDS
from polyturn.synthesis.turns import Turn, history_text, program_source

LOOP_VARIABLES = {name for names in LOOP_NAMES.values() for name in names} | {
    name for kind in KINDS.values() for name in kind.loop
}
BACK_UP_LOOP_VARIABLES = {"item", "each", "entry"}
LOCALS = {"result", "total", "output", "res"}


@pytest.fixture(scope="module")
def programs() -> list[Program]:
    return [program(TRAIN_SEED, index) for index in range(1500)]


@pytest.fixture(scope="module")
def copies() -> list[Program]:
    return [copy_program(TRAIN_SEED, index) for index in range(300)]


DIGEST = """
import hashlib
from polyturn.curriculum.compose import copy_program, program
from polyturn.synthesis.turns import history_text
texts = [history_text(make(7, i).turns) for make in (program, copy_program) for i in reversed(range(200))]
texts += [history_text(program(7, i, "heldout-pairs").turns) for i in range(50)]
print(hashlib.sha256("".join(texts).encode()).hexdigest())
"""


def test_another_process_composes_the_same_programs():
    texts = [history_text(make(7, i).turns) for make in (program, copy_program) for i in reversed(range(200))]
    texts += [history_text(program(7, i, "heldout-pairs").turns) for i in range(50)]
    here = hashlib.sha256("".join(texts).encode()).hexdigest()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        there = subprocess.run(
            [sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True
        )
        assert there.stdout.strip() == here


def test_seeds_and_indices_give_different_programs():
    texts = {history_text(program(seed, index).turns) for seed, index in product(range(4), range(50))}
    assert len(texts) == 200
    assert len({TRAIN_SEED, VALIDATION_SEED, TEST_SEED}) == 3


def test_programs_are_short_and_end_with_a_print(programs, copies):
    for item in programs:
        assert 2 <= len(item.turns) <= 6
        last = item.turns[-1].code
        assert re.search(r"^\s*print\(", last, re.MULTILINE), last
    for item in copies:
        assert 2 <= len(item.turns) <= 5
        assert item.turns[-1].code.startswith("print(")
    assert {len(item.turns) for item in programs} == {2, 3, 4, 5, 6}


def test_code_has_no_empty_lines_comments_or_odd_indents(programs, copies):
    for item in (*programs, *copies):
        for turn in item.turns:
            assert turn.code == turn.code.strip()
            assert "#" not in re.sub(r"'[^']*'|\"[^\"]*\"", "", turn.code)
            for line in turn.code.split("\n"):
                assert line.strip()
                assert line == line.rstrip()
                assert (len(line) - len(line.lstrip(" "))) % 4 == 0
            assert len(turn.code.split("\n")) <= 7
            ast.parse(turn.code)
            assert "\n" not in turn.intent
            assert turn.intent == turn.intent.strip()


def test_the_text_of_a_program_splits_back_into_its_turns(programs):
    for item in programs:
        blocks = program_source(item.turns).rstrip("\n").split("\n\n")
        turns = []
        for block in blocks:
            intent, code = block.split("\n", 1)
            turns.append(Turn(intent.removeprefix("# "), code))
        assert tuple(turns) == item.turns


@cache
def _bound_names(code: str) -> tuple[frozenset[str], frozenset[str]]:
    """Names that code introduces for good, and those of loops, comprehensions and lambdas."""
    lasting: set[str] = set()
    passing: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef):
            lasting |= {node.name, *(arg.arg for arg in node.args.args)}
        elif isinstance(node, ast.For | ast.comprehension):
            passing |= {name.id for name in ast.walk(node.target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.Lambda):
            passing |= {arg.arg for arg in node.args.args}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            lasting.add(node.id)
    return frozenset(lasting - passing), frozenset(passing)


def test_names_are_fresh_identifiers(programs, copies):
    for item in (*programs, *copies):
        for turn in item.turns:
            for name in set().union(*_bound_names(turn.code)):
                assert name.isidentifier()
                assert not keyword.iskeyword(name)
                assert not hasattr(builtins, name)


def test_loops_never_overwrite_a_variable(programs):
    for item in programs:
        so_far: set[str] = set()
        for turn in item.turns:
            lasting, passing = _bound_names(turn.code)
            so_far |= lasting
            assert not passing & so_far, turn


def _mentions(intent: str, name: str) -> bool:
    return re.search(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", intent) is not None


def test_intents_hold_every_name_that_the_code_uses(programs, copies):
    for item in (*programs, *copies):
        for turn in item.turns:
            lasting, passing = _bound_names(turn.code)
            used = {n.id for n in ast.walk(ast.parse(turn.code)) if isinstance(n, ast.Name)} | lasting | passing
            for name in used:
                if hasattr(builtins, name) or _mentions(turn.intent, name):
                    continue
                is_loop = name in passing and name in LOOP_VARIABLES | BACK_UP_LOOP_VARIABLES
                is_local = turn.code.startswith("def ") and name in LOCALS
                assert is_loop or is_local, (name, turn)


def _fixed_constants() -> set[object]:
    """Constants that stand in the templates themselves."""
    fixed: set[object] = set()
    for family in FAMILIES.values():
        for template in (*family.exprs, *family.blocks, *family.bodies):
            fixed |= {int(digits) for digits in re.findall(r"(?<![\w.{])\d+", template)}
            fixed |= set(re.findall(r"'([^'{}]*)'", template))
    return fixed


def test_intents_hold_every_constant_that_the_code_uses(programs, copies):
    fixed = _fixed_constants()
    assert len(fixed) < 30
    spelt = {1: ("one", "second"), 2: ("two", "third"), 3: ("fourth",), 4: ("fifth",)}
    for item in (*programs, *copies):
        for turn in item.turns:
            for node in ast.walk(ast.parse(turn.code)):
                if not isinstance(node, ast.Constant) or node.value in fixed:
                    continue
                text = str(node.value)
                spelling = spelt.get(node.value, ()) if isinstance(node.value, int) else ()
                in_f_string = isinstance(node.value, str) and "f'" in turn.code
                assert text in turn.intent or any(s in turn.intent for s in spelling) or in_f_string, turn


def test_every_family_occurs(programs):
    counts = Counter(name for item in programs for name in item.families)
    more = (program(TRAIN_SEED, index) for index in range(1500, 4000))
    counts.update(name for item in more for name in item.families)
    assert len(counts) > 0.99 * len(FAMILIES)
    assert counts.most_common(1)[0][1] < 0.03 * counts.total()


def test_training_never_composes_a_held_out_pair(programs):
    assert len(HELD_OUT_PAIRS) >= 30
    assert {name for pair in HELD_OUT_PAIRS for name in pair} <= set(FAMILIES)
    for item in programs:
        assert not HELD_OUT_PAIRS & set(item.pairs)
    seen = Counter(pair for item in programs for pair in item.pairs)
    assert len(seen) > 800


def test_held_out_programs_compose_a_held_out_pair_each():
    found: set[tuple[str, str]] = set()
    for index in range(600):
        item = program(TEST_SEED, index, "heldout-pairs")
        here = HELD_OUT_PAIRS & set(item.pairs)
        assert here
        assert len(item.turns) <= 6
        found |= here
    assert found == HELD_OUT_PAIRS


def test_names_and_values_hardly_repeat(programs):
    names: Counter[str] = Counter()
    for item in programs:
        for turn in item.turns:
            names.update(_bound_names(turn.code)[0])
    assert len(names) > 0.4 * names.total()
    assert sum(count for _, count in names.most_common(20)) < 0.1 * names.total()
