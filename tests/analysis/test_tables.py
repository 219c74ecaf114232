"""Tables as text."""

from polyturn.analysis.tables import Table, to_markdown, to_terminal

TABLE = Table("Title", ["name", "figure"], [["a", "1.0\n[0, 2]"], ["long name", "22.5"]], notes=["A note."])


def test_on_a_terminal_words_stand_left_and_figures_right() -> None:
    assert to_terminal([TABLE], 80).splitlines() == [
        "Title",
        "name       figure",
        "─────────────────",
        "a             1.0",
        "           [0, 2]",
        "long name    22.5",
        "A note.",
    ]


def test_in_markdown_a_cell_is_one_line() -> None:
    assert to_markdown([TABLE, TABLE]).splitlines()[:9] == [
        "### Title",
        "",
        "| name | figure |",
        "| --- | ---: |",
        "| a | 1.0 [0, 2] |",
        "| long name | 22.5 |",
        "",
        "A note.",
        "",
    ]
