"""What is shown of a report."""

from pathlib import Path

import pytest

from polyturn.data.show import Row, dropped, line, outcomes, stages, together
from polyturn.data.sources import Dropped

REPORT = {
    "outcomes": {
        "": {"binary": [3, 30]},
        "C": {"language": [2, 20]},
        "Go": {"language": [1, 5]},
        "Java": {"language": [4, 40], "binary": [1, 1]},
        "Markdown": {"kept": [1, 7]},
        "Python": {"kept": [5, 50], "duplicate": [1, 10], "near-duplicate": [2, 21], "empty": [3, 0]},
    }
}


def test_rows_are_in_the_order_of_what_was_kept() -> None:
    rows = outcomes(REPORT)
    assert list(dict.fromkeys(row.language for row in rows))[:2] == ["Python", "Markdown"]
    assert [row.outcome for row in rows[:4]] == ["kept", "near-duplicate", "duplicate", "empty"]
    assert {row.language for row in rows if row.outcome == "binary"} == {"(unknown)", "Java"}


def test_languages_that_nobody_wanted_share_a_row() -> None:
    rows = together(outcomes(REPORT))
    assert rows[-1] == Row("(2 others)", "language", 3, 25)
    assert {row.language for row in rows} == {"Python", "Markdown", "(unknown)", "Java", "(2 others)"}
    assert sum(row.documents for row in rows) == sum(row.documents for row in outcomes(REPORT))
    one = [row for row in outcomes(REPORT) if row.language != "C"]
    assert together(one) == one


def test_what_goes_into_a_stage_comes_out_of_the_one_before() -> None:
    assert stages(REPORT) == [
        ("filters", 23, 184, 9, 88),
        ("duplicate", 9, 88, 8, 78),
        ("near-duplicate", 8, 78, 6, 57),
    ]


@pytest.fixture
def gone(tmp_path: Path) -> Path:
    """A folder with files that were dropped."""
    pytest.importorskip("pyarrow")
    from polyturn.data.stages import write_dropped

    found = [
        Dropped("code/language/a.go", 5, "Go", "language"),
        Dropped("code/language/b.xyz", 5, "", "unknown-language"),
        Dropped("code/c.py", 5, "Python", "duplicate of code/language/c.py"),
    ]
    write_dropped(tmp_path / "dropped" / "read-00000.parquet", found)
    write_dropped(tmp_path / "dropped" / "read-00001.parquet", [Dropped("d.py", 5, "Python", "near-duplicate of e.py")])
    return tmp_path


@pytest.mark.parametrize(
    ("sought", "names"),
    [
        ("language", ["a.go"]),
        ("unknown-language", ["b.xyz"]),
        ("duplicate", ["c.py"]),
        ("near-duplicate", ["d.py"]),
        ("code/language", ["a.go", "b.xyz", "c.py"]),  # no reason: names, and what is duplicated
        ("", ["a.go", "b.xyz", "c.py", "d.py"]),
        ("empty", []),
    ],
)
def test_a_reason_is_matched_whole_and_a_name_in_part(gone: Path, sought: str, names: list[str]) -> None:
    assert [Path(each.id).name for each in dropped(gone, sought)] == names


@pytest.mark.parametrize(
    "name", ["two\nlines", "a\ttab", "\x1b[31mred", "back\\slash", "two\\nlines", "caf\xe9 \u2028"]
)
def test_a_dropped_file_is_one_line_of_three_fields(name: str) -> None:
    said = line(Dropped(f"code/{name}", 7, "", f"duplicate of code/x{name}"))
    assert len(said.splitlines()) == 1
    assert said.replace("\t", "").isprintable()
    reason, size, id = said.split("\t")
    assert size == "7"
    read = [each.encode("latin-1", "backslashreplace").decode("unicode_escape") for each in (reason, id)]
    assert read == [f"duplicate of code/x{name}", f"code/{name}"]


def test_a_name_that_is_no_unicode_is_escaped_once() -> None:
    assert line(Dropped("caf\\udce9", 0, "", "name")) == "name\t0\tcaf\\udce9"
