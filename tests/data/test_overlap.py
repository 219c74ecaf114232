"""The overlap filter, against digests made here from texts of our own."""

import hashlib
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.data.overlap import Overlap, as_read, runs
from polyturn.utils.errors import UserError

SENTENCE = "Seven grey herons walked slowly along the muddy river bank"


def digests_file(path, *texts: str):
    """A digests file of whole texts, each taken as one run."""
    path.write_bytes(b"".join(hashlib.sha256(text.encode()).digest()[:8] for text in texts))
    return path


@pytest.fixture
def overlap(tmp_path) -> Overlap:
    return Overlap.load(digests_file(tmp_path / "digests.bin", SENTENCE.lower()))


def test_a_held_out_run_is_found_whatever_stands_around_it(overlap):
    found = [SENTENCE.lower()]
    assert overlap.hits(SENTENCE) == found
    assert overlap.hits("# " + SENTENCE.upper() + ".\nx = 3\n") == found
    assert overlap.hits("and then, Seven; grey-herons 'walked' slowly\n# along the muddy river (bank) again") == found


def test_a_changed_or_shortened_run_is_not_found(overlap):
    assert overlap.hits(SENTENCE.replace("muddy", "sandy")) == []
    assert overlap.hits(SENTENCE.replace("muddy ", "")) == []
    assert overlap.hits("") == []


def test_runs_are_seven_to_ten_words_and_tell_something():
    words = "one two three four five six seven eight nine ten eleven".split()
    lengths = [len(run.split()) for run in runs(" ".join(words))]
    assert lengths == [7] * 5 + [8] * 4 + [9] * 3 + [10] * 2
    assert runs("1 2 3 4 5 6 7 8 9 10 11 12") == []
    assert runs("a b c d e f g h i j k") == []
    assert runs("alpha 1 beta 2 gamma 3 delta 4 epsilon") == []
    assert len(runs("alpha 1 beta 2 gamma 3 delta 4 epsilon zeta")) == 1


@pytest.mark.parametrize("content", [b"", b"1234567", b"123456789"])
def test_a_file_that_holds_no_digests_is_refused(tmp_path, content):
    path = tmp_path / "digests.bin"
    path.write_bytes(content)
    with pytest.raises(UserError, match="digests file"):
        Overlap.load(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="digests file"):
        Overlap.load(tmp_path / "none.bin")


def digest(run: str) -> bytes:
    return hashlib.sha256(run.encode()).digest()[:8]


LISTED = "w0 w1 w2 w3 W4 w_5 666 7 x é \u212a naïve \n , . -- \ud800 w0w1".split(" ")
HIDDEN = [
    "\\n",
    "\\\\t",
    "\\u00e9",
    "\\q",
    "\xad",
    "\u200b",
    "\uff57\uff11",
    "e\u0301",
    "\ufb01",
    "\\n\xad",
    "\u3000",
    "\uff0c",
    "…",
]


@given(st.lists(st.sampled_from(LISTED), max_size=60), st.sets(st.integers(0, 200)))
def test_hits_are_those_of_the_plain_rule(pieces: list[str], held: set[int]) -> None:
    text = " ".join(pieces)
    every = runs(text)
    digests = frozenset(digest(run) for i, run in enumerate(every) if i in held)
    expected = [run for run in every if digest(run) in digests]
    found = Overlap(digests).hits(text)
    assert found[: len(expected)] == expected
    assert not expected or set(found) == set(expected)


@given(
    st.lists(st.tuples(st.sampled_from(LISTED * 2 + HIDDEN), st.sampled_from(["", " ", " "])), max_size=60),
    st.sets(st.integers(0, 400)),
)
def test_hits_are_those_of_the_plain_rule_on_the_text_as_it_stands_and_as_it_reads(
    pieces: list[tuple[str, str]], held: set[int]
) -> None:
    text = "".join(piece + behind for piece, behind in pieces)
    stands, reads = runs(text), runs(as_read(text))
    digests = frozenset(digest(run) for i, run in enumerate(stands + reads) if i in held)
    found = Overlap(digests).hits(text)
    assert set(found) == {run for run in stands + reads if digest(run) in digests}
    expected = [run for run in stands if digest(run) in digests]
    assert found[: len(expected)] == expected


@pytest.mark.parametrize(
    "hide",
    [
        lambda text: json.dumps(f"x\n{text}\ny"),
        lambda text: json.dumps(json.dumps(f"x\t{text.replace(' ', chr(10))}\ny")),
        lambda text: f"s = '\\n{text}\\x00'",
        lambda text: text.replace(" ", "\\u00a0"),
        lambda text: text.replace(" ", "\xa0"),
        lambda text: "".join(chr(ord(c) + 0xFEE0) if c.isalpha() else c for c in text),  # full width
        lambda text: "\xad".join(text),
        lambda text: text.replace("fl", "\ufb02").replace("owl", "o\u200bwl"),
        lambda text: "".join(chr(0x1D400 + ord(c) - 65) if c.isupper() else c for c in text),  # bold, of mathematics
        lambda text: f"naïve {text} naïve",
    ],
)
def test_a_run_in_another_form_is_found(overlap, hide) -> None:
    hidden = hide(SENTENCE)
    for text in (hidden, f"some = words(before)\n{hidden}", f"{hidden}\nand = words.behind()", f"{hidden} {hidden}"):
        assert SENTENCE.lower() in overlap.hits(text), text


def test_a_text_reads_as_people_see_it() -> None:
    assert as_read("plain text, 'as' it is\n") == "plain text, 'as' it is\n"
    assert as_read(r"a\nb\\tc\x41d\u00e9e\qf").split() == ["a", "b", "c", "d", "e\\qf"]
    assert as_read("so\xadft \uff57\uff49\uff44\uff45 cafe\u0301 \ufb01ne") == "soft wide café fine"
    assert as_read("\xad\ud800") == "\ud800"


@given(st.text(max_size=200))
def test_what_is_read_has_no_other_reading_than_nfkc(text: str) -> None:
    seen = "".join(c for c in text.replace("\\", "/") if c.isascii() or unicodedata.category(c) != "Cf")
    assert as_read(text.replace("\\", "/")) == unicodedata.normalize("NFKC", seen)


def test_hits_are_those_of_the_plain_rule_in_a_long_text() -> None:
    text = " ".join(f"word{i % 40_000}" for i in range(50_000))
    every = runs(text)
    overlap = Overlap(frozenset(digest(run) for run in every[::5_000]))
    assert overlap.hits(text) == [run for run in every if digest(run) in overlap.digests]
    assert len(overlap.hits(text)) > len(every) / 5_000


LONG = "Twelve grey herons walked slowly along the muddy river bank while seven others slept"


def test_every_run_of_ten_words_of_a_benchmark_file_is_found(tmp_path) -> None:
    record = {"id": 1, "prompt": f"# {LONG}\n", "more": {"tests": [SENTENCE, "a short one", 3, None]}}
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n")
    (tmp_path / "a.json").write_text(json.dumps([record], indent=1))
    (tmp_path / "a.md").write_text(f"{LONG}\n\nand so on, {SENTENCE}")
    words = LONG.lower().split()
    tens = [" ".join(words[i : i + 10]) for i in range(len(words) - 9)]
    for name in ("a.jsonl", "a.json", "a.md"):
        overlap = Overlap.from_files([tmp_path / name])
        assert overlap.hits(f"x = 1  # {LONG}") == tens
        for ten in tens:
            assert overlap.hits(f"before {ten.upper()}\nafter") == [ten]
            assert overlap.hits(ten.rpartition(" ")[0]) == []  # nine words of a longer text prove nothing
        assert SENTENCE.lower() in overlap.hits(f"{SENTENCE} again")


def test_a_short_string_is_taken_whole(tmp_path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": "Return the seven largest odd numbers given"}))
    overlap = Overlap.from_files([tmp_path / "a.jsonl"])
    assert overlap.hits("return the seven largest odd numbers given xs") == [
        "return the seven largest odd numbers given"
    ]
    assert overlap.hits("return the seven largest odd numbers") == []


def test_several_files_are_all_kept_out(tmp_path) -> None:
    (tmp_path / "a.txt").write_text(LONG)
    (tmp_path / "b.txt").write_text(LONG.replace("herons", "geese"))
    overlap = Overlap.from_files([tmp_path / "a.txt", tmp_path / "b.txt"])
    assert overlap.hits(LONG)
    assert overlap.hits(LONG.replace("herons", "geese"))


def test_a_benchmark_is_found_where_it_was_written_into_a_string(tmp_path) -> None:
    prompt = f'def f(x):\n    """{LONG}\n    {SENTENCE}.\n    """\n'
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": prompt}))
    overlap = Overlap.from_files([tmp_path / "a.jsonl"])
    plain = overlap.hits(prompt)
    assert len(plain) == len(runs(prompt, [10]))
    for hidden in (repr(prompt), json.dumps(prompt), json.dumps({"a": [json.dumps(prompt)]})):
        assert set(overlap.hits(hidden)) == set(plain)


def test_strings_too_short_to_tell_are_counted(tmp_path) -> None:
    record = {"name": "f/1", "prompt": LONG, "short": "only six words are in this", "numbers": "1 2 3 4 5 6 7 8 9"}
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n" + json.dumps({"prompt": SENTENCE}))
    overlap = Overlap.from_files([tmp_path / "a.jsonl"])
    assert (overlap.strings, overlap.short) == (5, 3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"too short", "no run of 7 words"),
        ("a.txt", b"\xff\xfe", "UTF-8"),
        ("a.json", b"{", "JSON"),
        ("a.jsonl", b"{\n", "Line 1"),
        ("none.txt", None, "check the path"),
    ],
)
def test_a_benchmark_file_of_no_use_is_refused(tmp_path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        Overlap.from_files([tmp_path / name])
