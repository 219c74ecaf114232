"""Documents that only copying predicts."""

from polyturn.data.repeats import repeats


def test_repeats_can_be_predicted_by_copying() -> None:
    for ids, target in repeats(1, 50, range(32, 500), separator=0):
        half = len(ids) // 2
        assert ids[:half] == ids[half + 1 :]
        assert target == [False] * (half + 1) + [True] * half
        assert 32 <= min(ids[:half]) <= max(ids[:half]) < 500
