"""Progress lines where there is no terminal."""

import pytest

from polyturn.utils.progress import Counter, span, track


@pytest.mark.parametrize(
    ("seconds", "read"), [(0.4, "0 s"), (99, "99 s"), (420, "7 min"), (18322, "5 h 5 min"), (7200, "2 h 0 min")]
)
def test_times_are_told_in_units_that_suit_them(seconds: float, read: str) -> None:
    assert span(seconds) == read


def test_work_within_work_shows_the_outer_one_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 100_000, 20))  # every look at the clock is 20 s after the last
    monkeypatch.setattr("polyturn.utils.progress.time.monotonic", lambda: next(clock))
    with Counter("steps") as counter:
        counter.show(1, 3)
        for _ in track(range(5), "inner"):
            pass
        counter.show(2, 3)
    for _ in track(range(2), "afterwards"):
        pass
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["steps", "steps", *["afterwards"] * 3]
