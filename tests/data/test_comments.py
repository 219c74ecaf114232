"""Where comments are: in what the language calls one, never in strings, and nothing is lost beside them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.data.comments import known, spans, without

TEXTS = st.lists(st.sampled_from([*"ab\"'`#/*\\\n ", '"""', "'''", "/*", "*/", "//"]), max_size=60).map("".join)


@pytest.mark.parametrize(
    ("text", "language", "left"),
    [
        ("x = 1  # one\ny = '# no'\n", "Python", "x = 1   \ny = '# no'\n"),
        ('"""Kept: # a docstring."""\n', "Python", '"""Kept: # a docstring."""\n'),
        ('f("data/*.csv") // all of them */\n', "JavaScript", 'f("data/*.csv")  \n'),
        ("a /* b", "C", "a /* b"),
        ("/*/ x */ y", "C", "  y"),
        ("a / b / c", "C", "a / b / c"),
        ("#include <a.h>\n", "C", "#include <a.h>\n"),
        ("echo $# ${a#b} # c\n", "Shell", "echo $# ${a#b}  \n"),
        ("x = 1  # one\ry = 2\r# two\rz = 3\r", "Python", "x = 1   \ry = 2\r \rz = 3\r"),
        ("a(); // one\rb();\r/* two\rthree */ c();\r", "C", "a();  \rb();\r  c();\r"),
        ("a # one\r\nb\r\n", "Shell", "a  \r\nb\r\n"),
        ("# A heading\n", "Markdown", "# A heading\n"),
        ("# what /* is // it", "", "# what /* is // it"),
    ],
)
def test_comments_are_taken_out(text: str, language: str, left: str) -> None:
    assert without(text, language) == left


@given(TEXTS, st.sampled_from(["Python", "C", "Shell", "Markdown"]))
def test_spans_are_in_order_and_apart_and_begin_as_comments_do(text: str, language: str) -> None:
    at = 0
    for start, end, docstring in spans(text, language):
        assert at <= start < end <= len(text)
        assert text[start:end].lstrip(" \trRuU").startswith(('"""', "'''") if docstring else ("#", "//", "/*"))
        at = end
    assert known(language) or not spans(text, language)


@pytest.mark.parametrize("piece", ['"""', '""" ', " ", "\t'''", "/*", "/*/", "*/", "//", "`", "'\\", "# '"])
def test_hostile_texts_take_time_in_proportion_to_their_length(piece: str) -> None:
    text = " " * 100_000 + piece * (300_000 // len(piece))
    started = time.process_time()
    for language in ("Python", "C", "Shell"):
        spans(text, language)
    assert time.process_time() - started < 2
