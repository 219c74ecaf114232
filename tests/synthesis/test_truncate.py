"""Truncation: each rule where it applies, and where the paper's patterns would be wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.synthesis.truncate import Prints, truncate, turn_end

RULES = [
    ("xs = [1]\n\n# Next step\nys = 2", "xs = [1]", "next intent"),
    ("x = 1<|endoftext|>import os", "x = 1", "end of text"),
    ("x = 1\n'''\nThat was it.\n'''", "x = 1", "prose"),
    ('x = 1\n"""That was it."""', "x = 1", "prose"),
    ("print(x)\nprint(y)", "print(x)", "second print"),
    (
        "def f(x):\n    return x\ndef g(y):\n    return y\nz = 1",
        "def f(x):\n    return x",
        "second definition",
    ),
    ("class A:\n    pass\nclass B:\n    pass\nz = 1", "class A:\n    pass", "second definition"),
    ("x = 1\n\n\ny = 2\nz = 3", "x = 1", "two empty lines"),
]


@pytest.mark.parametrize(("text", "code", "reason"), RULES)
def test_each_rule_ends_the_turn(text: str, code: str, reason: str) -> None:
    cut = truncate(text)
    assert (cut.code, cut.reason) == (code, reason)


NOT_CUT = {
    "a name that begins like print": "printed = 1\nprint(printed)",
    "a name that begins like def": "def f(x):\n    return x\ndefault = f(2)\ndefinition = 3",
    "a helper and the function that uses it": "def h(x):\n    return x + 1\n\ndef main(x):\n    return h(x)",
    "a class that uses another": "class A:\n    pass\n\nclass B(A):\n    pass",
    "PEP 8's gap before and behind a function": "import math\n\n\ndef f(x):\n    return x\n\n\ny = f(2)",
    "a closing quote at the margin": "s = '''a\nb\n'''\nt = s",
    "a comment inside a string": 's = """\n# not a comment\n"""',
    "a print inside a bracket": "f(\nprint(1),\nprint(2),\n)",
    "a comment first": "# sum up\ntotal = sum(xs)",
    "an inner comment": "for x in xs:\n    # each\n    total += x",
    "indented prints": "for x in xs:\n    print(x)\n    print(x)",
    "a print and its else": "if x:\n    print(1)\nelse:\n    print(2)",
    "a decorated function": "@cache\ndef f(x):\n    return x",
    "comments and prints in a long f-string": 's = f"""\nprint(1)\nprint({x})\n# no comment\n"""\nt = s',
    "a long f-string with an open field": 's = f"""{\nprint(1),\nprint(2)}\n"""',
    "other line ends inside strings": "s = 'a\u2028b\x0cc\x85d'\nt = 'e\x1cf\rg'",
}


@pytest.mark.parametrize("text", NOT_CUT.values(), ids=NOT_CUT.keys())
def test_honest_code_stays_whole(text: str) -> None:
    cut = truncate(text)
    assert (cut.code, cut.reason) == (text, None)


def test_empty_lines_first_do_not_empty_the_turn() -> None:
    assert truncate("\n\n\nx = 1\n").code == "x = 1"


def test_broken_code_does_not_swallow_the_next_intent() -> None:
    assert truncate("x = [1, 2\nprint(x)\n# Next\ny = 1").reason == "next intent"
    assert truncate("x = = 2\n# Next\ny = 1").code == "x = = 2"


def test_a_statement_cut_by_the_length_limit_is_dropped() -> None:
    assert truncate("a = 1\nb = [1, 2", unfinished=True).code == "a = 1"
    assert truncate("a = 1\nb = 12", unfinished=True).code == "a = 1"
    assert truncate("a = 1\nfor x in xs:\n", unfinished=True).code == "a = 1"
    assert truncate("a = 1\nb = 12", unfinished=False).code == "a = 1\nb = 12"


CUT_BY_LENGTH = {
    "one open statement": ("x = [1, 2, 3", ""),
    "one statement that may go on": ("x = 12", ""),
    "one statement with its line end": ("x = 12\n", "x = 12"),
    "nothing": ("", ""),
    "a loop with half a line": ("for x in xs:\n    f(x)\n    g(", "for x in xs:\n    f(x)"),
    "an error before the cut": ("x = = 2\ny = [1", "x = = 2"),
    "a function that may still call the first": (
        "def f():\n    return 1\ndef g():\n    return f(",
        "def f():\n    return 1",
    ),
}


@pytest.mark.parametrize(("text", "code"), CUT_BY_LENGTH.values(), ids=CUT_BY_LENGTH.keys())
def test_the_length_limit_is_the_reason_where_nothing_else_is(text: str, code: str) -> None:
    cut = truncate(text, unfinished=True)
    assert (cut.code, cut.reason) == (code, "length")


def test_what_python_only_warns_of_is_whole() -> None:
    assert truncate('x = f("\\d")\ny = [1', unfinished=True).code == 'x = f("\\d")'


def test_a_rule_comes_before_the_length_limit() -> None:
    assert truncate("x = 1\n# Next\ny = [1", unfinished=True).reason == "next intent"


def test_a_text_that_ended_by_itself_has_no_reason() -> None:
    assert truncate("x = [1, 2, 3").reason is None


def test_the_first_indentation_survives() -> None:
    assert truncate("\n    return x\n").code == "    return x"


LINES = st.sampled_from(
    [
        *("x = 1", "print(x)", "# next", "def f(a):", "    return a", "", "'''", '"""doc"""', "else:", "if x:"),
        *("    y = f(2)", "class A:", "    pass", "z = [", "]", "@d", "printed = 2", "x = = 3", "<|endoftext|>"),
    ]
)


WHOLE = {
    "steps under comments of their own": ("x = 1\n# then\ny = x\nprint(y)", (1, 1), None),
    "a comment behind the answer": ("x = 1\n# show it\nprint(x)\n# Example 2\nx = 3", (1, 3), "next intent"),
    "a print too many": ("print(1)\nprint(2)\nprint(3)", (2, 2), "second print"),
    "a print for each intent": ("x = [1]\nprint(x)\ny = sum(x)\nprint(y)", (1, 2), None),
    "a print more than intents": ("print(1)\nprint(2)\nprint(3)", (1, 2), "second print"),
    "a gap between a print not asked for and the next": ("print(1)\n\n\nx = 2\nprint(x)", (1, 2), "two empty lines"),
    "functions apart by two empty lines": ("def f():\n    return 1\n\n\nx = f()\n\n\nprint(x)", (1, 1), None),
    "prose before any answer": ('x = 1\n"""That was x."""\nprint(x)', (1, 1), "prose"),
}


@pytest.mark.parametrize(("text", "prints", "reason"), WHOLE.values(), ids=WHOLE.keys())
def test_a_whole_program_ends_once_it_has_shown_what_was_asked_for(
    text: str, prints: tuple[int, int], reason: str | None
) -> None:
    assert truncate(text, prints=Prints(*prints)).reason == reason


@given(st.lists(LINES, max_size=12).map("\n".join), st.sampled_from([None, Prints(1, 1), Prints(1, 2), Prints(2, 2)]))
def test_a_sampler_may_stop_at_once(text: str, prints: Prints | None) -> None:
    """What the sampler sees first, as the text grows character by character, is what the whole text says."""
    ends = [(n, turn_end(text[:n], prints)) for n in range(len(text) + 1)]
    sure = [(n, end) for n, end in ends if end is not None]
    if not sure:
        return
    n, end = sure[0]
    assert all(later == end for _, later in sure)
    assert truncate(text[:n], prints=prints) == truncate(text, prints=prints)


@given(st.lists(LINES, max_size=12).map("\n".join), st.booleans())
def test_truncating_twice_changes_nothing(text: str, unfinished: bool) -> None:
    once = truncate(text, unfinished).code
    assert truncate(once).code == once
