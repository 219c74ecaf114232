"""The overlap filter, against digests made here from texts of our own."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.data.overlap import Overlap, runs
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


@given(st.lists(st.sampled_from(LISTED), max_size=60), st.sets(st.integers(0, 200)))
def test_hits_are_those_of_the_plain_rule(pieces: list[str], held: set[int]) -> None:
    text = " ".join(pieces)
    every = runs(text)
    digests = frozenset(digest(run) for i, run in enumerate(every) if i in held)
    expected = [run for run in every if digest(run) in digests]
    assert Overlap(digests).hits(text) == expected


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
