"""The overlap filter, against digests made here from texts of our own."""

import hashlib

import pytest

from polyturn.curriculum.overlap import Overlap, runs
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
