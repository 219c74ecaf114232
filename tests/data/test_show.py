"""What is shown of a report."""

from polyturn.data.show import Row, outcomes, stages, together

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
