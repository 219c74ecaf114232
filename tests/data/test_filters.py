"""What the filters keep and drop, case by case; the paper's figures stand in the table itself."""

import argparse
import dataclasses
import hashlib
import time
import tokenize
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.data.filters import comment_share, digit_share, line_lengths, parses, reason


@dataclass(frozen=True)
class Rules:
    """The paper's filters alone, unless told otherwise."""

    mean_line: float = 100
    longest_line: int = 1_000
    digits: float = 0.9
    generated: bool = False
    comment_ratio: tuple[float, float] = (0, 1)
    python_parses: bool = False


PAPER = Rules()
WORDS = "the quick brown fox jumps over "
RANDOM = hashlib.shake_256(b"dump").hexdigest(600)
PAIRS = [RANDOM[i : i + 2] for i in range(0, 1200, 2)]


def lines(length: int, count: int, end: str = "\n") -> str:
    """`count` lines of `length` characters that are no digits."""
    return ("x" * length + end) * count


# name: (text, why it goes or None). Digits are kept apart from line lengths by short lines.
TABLE = {
    "empty": ("", "empty"),
    "blanks": (" \t\n\r\n\f", "empty"),
    "one character": ("x", None),
    "mean just below 100": (lines(100, 9) + lines(99, 1), None),
    "mean exactly 100": (lines(100, 10), "mean-line"),
    "mean exactly 100 of unequal lines": (lines(50, 1) + lines(150, 1), "mean-line"),
    "mean just above 100": (lines(100, 9) + lines(101, 1), "mean-line"),
    "one line of 99 without end": ("x" * 99, None),
    "one line of 100 without end": ("x" * 100, "mean-line"),
    "one line of 99 with end: the end is no character of it": ("x" * 99 + "\n", None),
    "empty lines count as lines": (lines(199, 1) + "\n", None),
    "the last end begins no further line": (lines(100, 1), "mean-line"),
    "CRLF is no part of a line": (lines(99, 5, "\r\n"), None),
    "CRLF mean exactly 100": (lines(100, 5, "\r\n"), "mean-line"),
    "CR ends lines": (lines(99, 5, "\r"), None),
    "CRLF is one end, not two": (lines(150, 1, "\r\n") + lines(60, 1, "\r\n"), "mean-line"),
    "mixed ends": ("x" * 99 + "\r\n" + "x" * 99 + "\r" + "x" * 99 + "\n", None),
    "longest exactly 1,000": (lines(1_000, 1) + lines(10, 40), None),
    "longest 1,001": (lines(1_001, 1) + lines(10, 40), "longest-line"),
    "longest 1,000 with CRLF": (lines(1_000, 1, "\r\n") + lines(10, 40, "\r\n"), None),
    "longest 1,001, last, without end": (lines(10, 40) + "x" * 1_001, "longest-line"),
    "the mean is looked at first": (lines(2_000, 1), "mean-line"),
    "a form feed, U+0085 and U+2028 end no line": (lines(10, 40) + ("x" * 300 + "\f\x85\u2028") * 4, "longest-line"),
    "a tab is one character": (("\t" * 49 + "x" * 50 + "\n") * 3, None),
    "tabs count": (("\t" * 50 + "x" * 50 + "\n") * 3, "mean-line"),
    "wide characters count once each": (("漢" * 99 + "\n") * 3, None),
    "100 wide characters": (("漢" * 100 + "\n") * 3, "mean-line"),
    "an emoji beyond 16 bits counts once": ("😀" * 99 + "\n", None),
    "a combining accent is a character": (("e\u0301" * 50 + "\n") * 3, "mean-line"),
    "digits exactly 90 %": (("123456789x\n") * 10, None),
    "digits 91 %": (("123456789x\n") * 9 + "1234567890\n", "digits"),
    "digits alone": ("31415926535\n" * 8, "digits"),
    "one digit": ("7", "digits"),
    "blanks are not counted": ("1 2 3 4 5 6 7 8 9\t0\n" * 8, "digits"),
    "numbers with commas, 3 of 4 digits": ("314,159,265,\n" * 8, None),
    "a hex dump in one piece": ("\n".join(RANDOM[i : i + 64] for i in range(0, 1200, 64)), "digits"),
    "a hex dump in capitals": ("\n".join(RANDOM[i : i + 64].upper() for i in range(0, 1200, 64)), "digits"),
    "a hex dump in pairs": ("\n".join(" ".join(PAIRS[i : i + 16]) for i in range(0, 160, 16)), "digits"),
    "hexadecimal bytes of a C array: 3 digits of 5": ("".join(f"0x{pair}, \n" for pair in PAIRS), None),
    "words of hexadecimal letters": ("a decade added a facade, faded beef fed a dead cafe\n" * 4, None),
    "words of hexadecimal letters alone": ("decade facade deadbeef\n" * 4, None),
    "as many hexadecimal letters as digits": ("a1b2c3d4\n" * 4, "digits"),
    "more hexadecimal letters than digits": ("a1b2c3d4e\n" * 4, None),
    "base64": ("TWFuIGlzIGRpc3Rpbmd1aXNoZWQsIG5vdCBvbmx5IGJ5IGhpcyByZWFzb24\n" * 4, None),
    "digits of other scripts are text": ("\u0661\u0662\u0663\u0664\n" * 4, None),
    "full-width digits are text": ("\uff11\uff12\uff13\uff14\n" * 4, None),
    "running text": (WORDS + "\n", None),
    "a lone surrogate, as JSON may hold": ("x = '\ud800'\n", None),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TABLE.values(), ids=TABLE.keys())
def test_the_paper_s_filters_do_exactly_what_the_table_says(text: str, expected: str | None) -> None:
    assert reason(text, "Python", PAPER) == expected


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=30), min_size=1), st.data())
def test_line_lengths_are_those_of_the_lines_whatever_ends_them(texts: list[str], data: st.DataObject) -> None:
    ends = data.draw(st.lists(st.sampled_from(["\n", "\r\n"]), min_size=len(texts), max_size=len(texts)))
    text = "".join(line + end for line, end in zip(texts, ends, strict=True))
    assert line_lengths(text) == (pytest.approx(sum(map(len, texts)) / len(texts)), max(map(len, texts)))


@given(st.text(st.sampled_from("09afAFgG_x \t\né漢\u0661"), min_size=1))
def test_the_share_of_digits_is_that_of_a_plain_count(text: str) -> None:
    dense = [c for c in text if c not in " \t\n\r\v\f"]
    decimal = sum(c in "0123456789" for c in dense)
    letters = sum(c in "abcdefABCDEF" for c in dense)
    expected = (decimal + (letters if letters <= decimal else 0)) / len(dense) if dense else 0
    assert digit_share(text) == expected


def test_0_turns_a_limit_off() -> None:
    limits = Rules(mean_line=0, longest_line=0, digits=0)
    assert reason("1" * 5_000, "Python", limits) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\n", True),
        ("print 'Python 2'\n", False),
        ("def f(:\n", False),
        ("if x:\nprint(1)\n", False),
        ("x = '\\d'\nif x is 1: pass\n", True),  # SyntaxWarnings of other people's code
        ("x = '\0'\n", False),
        ("x = '\ud800'\n", False),
        ("(" * 100_000, False),
        ("-" * 100_000 + "1", False),
        ("x = " + "+".join("1" * 50_000), False),
        ("return 1\n", True),  # a piece of a function parses, though it does not run
    ],
    ids=str,
)
def test_python_parses_or_not_and_nothing_leaks(text: str, expected: bool, recwarn) -> None:
    assert parses(text) is expected
    assert not recwarn.list


def test_only_python_is_parsed_and_only_where_that_is_asked_for() -> None:
    assert reason("print 'x'\n", "Python", Rules(python_parses=True)) == "unparsable"
    assert reason("print 'x'\n", "Perl", Rules(python_parses=True)) is None
    assert reason("print 'x'\n", "Python", PAPER) is None


@pytest.mark.parametrize(
    ("text", "language", "commented"),
    [
        ("# all\n", "Python", "# all"),
        ('x = "# none"\n', "Python", ""),
        ("x = '\\'# none'  # some\n", "Python", "# some"),
        ('"""A docstring."""\nx = """no docstring # none"""\n', "Python", '"""A docstring."""'),
        ("def f():\n    '''Does # it.'''\n", "Python", "    '''Does # it.'''"),
        ("int x; // some\n/* and\nmore */ int y;\n", "C", "// some/* and\nmore */"),
        ('char *s = "// none /* none */"; // some\n', "C++", "// some"),
        ("const s = `// none`; /* some */\n", "JavaScript", "/* some */"),
        ("x /* never closed // one\ny = '// none'", "Go", "// one"),
    ],
)
def test_comments_are_found_and_strings_are_not(text: str, language: str, commented: str) -> None:
    assert comment_share(text, language) == pytest.approx(len(commented) / len(text))


@pytest.mark.parametrize("module", [argparse, dataclasses, hashlib, tokenize])
def test_comments_and_docstrings_are_those_that_python_s_tokenizer_finds(module: ModuleType) -> None:
    text = Path(str(module.__file__)).read_text(encoding="utf-8")
    expected = 0
    for token in tokenize.generate_tokens(StringIO(text).readline):
        long = token.string.lstrip("rRuU").startswith(('"""', "'''"))
        if token.type == tokenize.COMMENT:
            expected += len(token.string)
        elif token.type == tokenize.STRING and long and not token.line[: token.start[1]].strip():
            expected += len(token.string) + token.start[1]  # with what indents it
    assert comment_share(text, "Python") == expected / len(text)


def test_code_without_comments_and_comments_without_code_go() -> None:
    rules = Rules(comment_ratio=(0.01, 0.8))
    assert reason("x = 1\n" * 100, "Python", rules) == "few-comments"
    assert reason("x = 1\n" * 100 + "# why\n", "Python", rules) == "few-comments"  # 5 of 606
    assert reason("x = 1\n" * 50 + "# why\n", "Python", rules) is None
    assert reason("# why, and why not\n" * 50 + "x = 1\n", "Python", rules) == "mostly-comments"
    assert reason("plain text\n" * 50, "Text", rules) is None


def test_hostile_texts_take_time_in_proportion_to_their_length() -> None:
    for piece in ('"\\', "'", '"""', "'''\\", "/*", "`", "#", '"a', "\\\n"):
        text = piece * (300_000 // len(piece))
        started = time.process_time()
        for language in ("Python", "C"):
            comment_share(text, language)
        assert time.process_time() - started < 2


def test_a_dump_is_told_by_random_digits_of_any_seed() -> None:
    for seed in range(20):
        digits = np.random.default_rng(seed).integers(0, 16, 2_000)
        assert digit_share("".join(f"{d:x}" for d in digits)) == 1
