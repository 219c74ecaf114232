"""Tagged JSON both ways, and the comparison of values."""

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyturn.sandbox import Opaque, same_value
from polyturn.sandbox.values import (
    ITEM,
    LIMIT,
    MAX_DEPTH,
    count_nodes,
    dumps,
    from_tree,
    loads,
    shown,
    snapshot,
    to_tree,
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**400), max_value=10**400)
    | st.floats()
    | st.text()
    | st.text(alphabet='\ud800\udfff\0"\\')
    | st.binary()
    | st.complex_numbers()
    | st.builds(range, st.integers(), st.integers(), st.integers(1))
)
hashables = st.recursive(
    scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=6
)
values = st.recursive(
    hashables,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(hashables, inner, max_size=4)
        | st.sets(hashables, max_size=4)
    ),
    max_leaves=20,
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63) + 1, max_value=2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)


few = settings(max_examples=60)  # they hold many values each


def exact(value: object) -> object:
    """The value with every type spelt out: == tells 1 from True and 1.0, and NaN equals itself."""
    if isinstance(value, list | tuple):
        return (type(value), tuple(exact(item) for item in value))
    if isinstance(value, set | frozenset):
        return (type(value), frozenset(exact(item) for item in value))
    if isinstance(value, dict):
        return (dict, tuple((exact(key), exact(item)) for key, item in value.items()))
    return (type(value), repr(value) if isinstance(value, float | complex) else value)


@few
@given(values)
def test_every_plain_value_comes_back_exactly(value: object) -> None:
    assert exact(loads(dumps(value))) == exact(value)
    assert exact(from_tree(json.loads(json.dumps(to_tree(value))))) == exact(value)


@given(json_values)
def test_what_json_can_say_is_written_as_json(value: object) -> None:
    assert exact(json.loads(dumps(value))) == exact(value)


@few
@given(values)
def test_a_value_is_the_same_as_its_copy(value: object) -> None:
    assert same_value(snapshot(value), value)


@few
@given(values, values)
def test_sameness_has_no_direction(a: object, b: object) -> None:
    assert same_value(a, b) == same_value(b, a)


def test_numpy_values_become_what_they_hold() -> None:
    found = [
        np.float64(0.5),
        np.int32(7),
        np.bool_(True),
        np.str_("s"),
        np.arange(4).reshape(2, 2),
        np.array(3),
        np.array(["a", "b"]),
        [np.float32(0.25)],
        {np.int64(1): np.array([True])},
    ]
    plain = [0.5, 7, True, "s", [[0, 1], [2, 3]], 3, ["a", "b"], [0.25], {1: [True]}]
    assert exact(snapshot(found)) == exact(plain)


class Liar(int):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return "5"


class Rude:
    def __repr__(self) -> str:
        raise SystemExit(0)


def test_anything_else_is_opaque() -> None:
    assert snapshot(Liar(5)) == Opaque("Liar", "5")
    assert snapshot([Liar(5), ...]) == [Opaque("Liar", "5"), Opaque("ellipsis", "Ellipsis")]
    assert snapshot(Rude()) == Opaque("?", "<its repr failed>")
    assert snapshot(Opaque("A", "a")) == Opaque("A", "a")
    assert not same_value(snapshot(Liar(5)), 5)


def test_too_large_or_too_deep_values_are_opaque_as_a_whole() -> None:
    endless: list[object] = []
    endless.append(endless)
    deep: list[object] = []
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    for value in (endless, deep, [0] * 11, "a" * 81, 10**400, np.zeros(11), [["a"] * 3] * 4):
        assert isinstance(snapshot(value, limit=10 * ITEM), Opaque)
    assert snapshot([0] * 9, limit=10 * ITEM) == [0] * 9


def test_what_was_not_recorded_equals_nothing() -> None:
    deep: list[object] = []
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    assert not same_value(snapshot(deep), deep)
    large = list(range(LIMIT))
    assert not same_value(snapshot(large), large)
    assert same_value(large, tuple(large))  # what is expected may be as large as it likes
    assert not same_value([0] * LIMIT, large)
    assert not same_value(snapshot(Rude()), Rude())


@given(st.recursive(json_values, lambda inner: st.dictionaries(st.text(), inner, max_size=3), max_leaves=20))
def test_nodes_are_counted_as_the_parser_makes_them(tree: object) -> None:
    def nodes(tree: object) -> int:
        inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
        return 1 + sum(map(nodes, inner))

    for text in (json.dumps(tree), json.dumps(tree, ensure_ascii=False), json.dumps(["\\" * 7 + '"', tree] * 40)):
        assert nodes(json.loads(text)) <= count_nodes(text, 10**6) <= 3 * nodes(json.loads(text)) + 200


def test_marks_inside_of_strings_are_no_nodes() -> None:
    text = json.dumps(['[{,"\\' * 1000, "\\"])
    assert count_nodes(text, 10**6) == 3
    assert count_nodes("[" + '"",' * 1000 + '""]', 100) > 100


def test_a_value_of_any_size_is_shown_in_a_message() -> None:
    for value in (10**100_000, [10**5000], "x" * 10**6, list(range(10**6)), Rude(), Liar(5), None, b"x" * 10**6):
        assert 0 < len(shown(value)) < 300
    assert shown({"a": (1.5, "ü")}) == "{'a': (1.5, 'ü')}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1",
        "NaN",
        "[Infinity]",
        "{}",
        '{"a":1}',
        '[{"a":1,"b":2}]',
        '{"tuple":[1],"tuple":[2]}',
        '{"tuple":{"tuple":[1]}}',
        '{"bytes":1}',
        '{"complex":[1.0]}',
        '{"range":[1,2,0]}',
        '{"opaque":["a","' + "b" * 1000 + '"]}',
        '{"set":[' + '{"tuple":[' * 500 + "]}" * 500 + "]}",
        '{"tuple":1}',
        '{"tuple":[1],"set":[]}',
        '{"set":[[1]]}',
        '{"dict":[[1]]}',
        '{"dict":[[[1],2]]}',
        '{"dict":{"a":1}}',
        '{"int":"5"}',
        '{"int":"0xzz"}',
        '{"int":5}',
        '{"float":"1.0"}',
        '{"opaque":["a"]}',
        '{"opaque":["a",1]}',
        "[" * 100_000,
        "[" * 500 + "]" * 500,
        "9" * 5000,
    ],
)
def test_what_dumps_does_not_write_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        loads(text)


def test_members_made_to_collide_cannot_stall_the_reader() -> None:
    members = [f'{{"int":"{hex(i * (2**61 - 1))}"}}' for i in range(1, 30_000)]
    begin = time.process_time()
    for text in (f'{{"set":[{",".join(members)}]}}', f'{{"dict":[{",".join(f"[{m},0]" for m in members)}]}}'):
        with pytest.raises(ValueError, match="share one hash"):
            loads(text)
    assert time.process_time() - begin < 2  # building the set alone takes longer


SAME = [
    ((1, 2), [1, 2]),
    ([(1, [2.0])], ([1, (2.0,)],)),
    (0.1 + 0.2, 0.3),
    ([0.1 + 0.2], (0.3,)),
    ({"a": 0.1 + 0.2}, {"a": 0.3}),
    ({0.1 + 0.2, 5}, {5, 0.3}),
    ({(0.1 + 0.2, "x"): 1}, {(0.3, "x"): 1}),
    (1e-17, 0.0),
    (math.nan, math.nan),
    ([math.nan, math.inf], [math.nan, math.inf]),
    (5, 5.0),
    (frozenset({1}), {1}),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    (3, np.int64(3)),
    ([1.0, 2.0], np.array([1.0, 2.0])),
]
DIFFERENT = [
    (True, 1),
    (1, True),
    (0.0, False),
    ([True], [1]),
    ({True: 1}, {1: 1}),
    ({1}, {True}),
    ("5", 5),
    ("abc", ["a", "b", "c"]),
    (5.9, 5),
    (5.0000001, 5),
    (1.00001, 1.0),
    (math.inf, -math.inf),
    (1e308, math.inf),
    (math.nan, 0.0),
    ({1, 2}, [1, 2]),
    ({"a": 1}, ["a"]),
    ({"a": 1}, {"a": 2}),
    ({"a": 1}, {"a": 1, "b": 2}),
    ([1, 2], [2, 1]),
    ([1], [1, 1]),
    (None, "None"),
    (None, 0),
    ({0.3, 0.30001}, {0.3, 0.5}),
    (Opaque("int", "5"), 5),
]


@pytest.mark.parametrize(("got", "expected"), SAME)
def test_same(got: object, expected: object) -> None:
    assert same_value(got, expected)


@pytest.mark.parametrize(("got", "expected"), DIFFERENT)
def test_different(got: object, expected: object) -> None:
    assert not same_value(got, expected)


@given(st.floats(min_value=1e-6, max_value=1e15), st.sampled_from([-1, 1]))
def test_floats_are_the_same_within_a_millionth(number: float, sign: int) -> None:
    assert same_value(number * (1 + sign * 9e-7), number)
    assert not same_value(number * (1 + sign * 2e-6), number)


def test_comparing_large_sets_of_different_members_is_fast() -> None:
    begin = time.process_time()
    assert not same_value({float(i) for i in range(20_000)}, {i + 0.5 for i in range(20_000)})
    assert time.process_time() - begin < 2
