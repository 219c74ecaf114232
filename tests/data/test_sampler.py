"""The sampler: batch k at once, on any number of hosts; each row once an epoch; weights that hold for ever."""

import itertools
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.data import shards
from polyturn.data.packing import best_fit
from polyturn.data.sampler import InOrder, Mixture, as_batch, permuted
from polyturn.data.shards import About, Shards
from polyturn.utils.errors import UserError

ROW = 8


def made(folder: Path, rows: int, first: int, tokenizer: str = "t", row: int = ROW) -> Shards:
    """Shards whose row n begins with the token `first` + n, then a second document and padding."""
    documents = [piece for n in range(rows) for piece in ([first + n] * (row - 3), [first + n] * 2)]
    packs = [best_fit(documents[2 * n : 2 * n + 2], row, 60_000, 1) for n in range(rows)]
    shards.write(folder, packs, vocab=60_000, pad_id=1, about=About("c", tokenizer, rows), megabytes=20 * row / 2**20)
    return shards.open(folder)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Shards]:
    """Of 37, 101 and 5 rows: tokens 100 to 136, 1,000 to 1,100 and 5,000 to 5,004."""
    folder = tmp_path_factory.mktemp("three")
    return [made(folder / str(first), rows, first) for rows, first in ((37, 100), (101, 1000), (5, 5000))]


def rows(mixture: Mixture, step: int, size: int, host: int = 0, hosts: int = 1) -> list[int]:
    return mixture.batch(step, size, host, hosts).tokens[:, 0].tolist()


@pytest.mark.parametrize("hosts", [1, 2, 3, 8])
def test_the_slices_of_all_hosts_are_the_batch_of_one(three: list[Shards], hosts: int) -> None:
    mixture = Mixture(list(zip(three, (0.5, 0.3, 0.2), strict=True)), 3, [(4, (0, 1, 1))])
    for step in (0, 3, 4, 11, 100_000_000):
        whole = mixture.batch(step, 24)
        slices = [mixture.batch(step, 24, host, hosts) for host in range(hosts)]
        for name in ("tokens", "segments", "targets", "weights"):
            together = np.concatenate([getattr(part, name) for part in slices])
            assert together.tobytes() == getattr(whole, name).tobytes()
            assert together.dtype == getattr(whole, name).dtype


@given(st.integers(1, 40), st.integers(0, 2**40))
def test_each_row_once_an_epoch(three: list[Shards], size: int, seed: int) -> None:
    mixture = Mixture([(three[0], 1)], seed)
    read = [row for step in range(2 + 3 * 37 // size) for row in rows(mixture, step, size)]
    epochs = [read[n * 37 : (n + 1) * 37] for n in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(100, 137))
    assert epochs[0] != epochs[1] != epochs[2]


def test_each_row_once_an_epoch_of_every_part_through_all_stages(three: list[Shards]) -> None:
    mixture = Mixture(list(zip(three, (3, 1, 2), strict=True)), 0, [(7, (1, 5, 0)), (20, (0.1, 0.1, 0.8))])
    read = [row for step in range(40) for row in rows(mixture, step, 13)]
    for count, first in ((37, 100), (101, 1000), (5, 5000)):
        mine = [row for row in read if first <= row < first + count]
        for at in range(0, len(mine) - count, count):
            assert sorted(mine[at : at + count]) == list(range(first, first + count))


def test_no_earlier_step_is_needed(three: list[Shards]) -> None:
    parts = list(zip(three, (0.5, 0.3, 0.2), strict=True))
    mixture = Mixture(parts, 1, [(50, (1, 0, 0))])
    in_order = [rows(mixture, step, 10) for step in range(60)]
    for step in (59, 3, 50, 49, 17):
        assert rows(Mixture(parts, 1, [(50, (1, 0, 0))]), step, 10) == in_order[step]
    assert in_order != [rows(Mixture(parts, 2, [(50, (1, 0, 0))]), step, 10) for step in range(60)]


@given(
    st.lists(st.integers(0, 1000) | st.floats(0, 1).map(lambda w: round(w, 4)), min_size=3, max_size=3).filter(any),
    st.integers(0, 10**7),
    st.integers(1, 64),
)
def test_weights_hold_at_every_moment(three: list[Shards], weights: list[float], step: int, size: int) -> None:
    mixture = Mixture(list(zip(three, weights, strict=True)), 0)
    part_of, _ = mixture.choose(step, 0, size, size)
    seen = Counter(part_of.tolist())
    for part, weight in enumerate(weights):
        share = size * weight / sum(weights)
        assert abs(seen[part] - share) <= 3
        assert weight > 0 or seen[part] == 0


def test_weights_hold_over_time(three: list[Shards]) -> None:
    weights = (0.7, 0.2, 0.1)
    mixture = Mixture(list(zip(three, weights, strict=True)), 0)
    total = np.zeros(3)
    for step in range(1000):
        part_of, _ = mixture.choose(step, 0, 7, 7)
        total += np.bincount(part_of, minlength=3)
        assert (abs(total - 7 * (step + 1) * np.array(weights)) <= 3).all()
    assert total.tolist() == [4900, 1400, 700], "exact: 0.7 is 7/10"


@given(st.integers(1, 2000), st.text(max_size=5))
def test_a_permutation(length: int, key: str) -> None:
    assert sorted(permuted(np.arange(length), length, key).tolist()) == list(range(length))


def test_a_permutation_is_found_place_by_place() -> None:
    length = 10**12 + 39
    places = np.array([0, 1, 2, 10**11, length - 1])
    found = permuted(places, length, "k")
    assert ((found >= 0) & (found < length)).all()
    assert [int(permuted(places[n : n + 1], length, "k")[0]) for n in range(5)] == found.tolist()
    assert len({*found.tolist(), *permuted(places, length, "l").tolist()}) == 10


@pytest.mark.parametrize("length", [2, 3, 5, 8, 13, 100])
def test_every_row_is_as_likely_at_every_place(length: int) -> None:
    """Chi-squared over 2,000 keys, with room for 6 standard deviations; and no pair of neighbours stays together."""
    keys = 2000
    drawn = np.array([permuted(np.arange(length), length, str(key)) for key in range(keys)])
    for place in {0, length // 2, length - 1}:
        seen = np.bincount(drawn[:, place], minlength=length)
        statistic = ((seen - keys / length) ** 2 / (keys / length)).sum()
        freedom = length - 1
        assert statistic < freedom + 6 * np.sqrt(2 * freedom)
    steps = np.bincount((drawn[:, 1] - drawn[:, 0]) % length, minlength=length)[1:]
    assert abs(steps / keys - 1 / (length - 1)).max() < 6 * np.sqrt(1 / (length - 1) / keys)


def test_orders_of_three_are_all_as_likely() -> None:
    seen = Counter(tuple(permuted(np.arange(3), 3, str(key)).tolist()) for key in range(3000))
    assert set(seen) == set(itertools.permutations(range(3)))
    assert max(abs(n - 500) for n in seen.values()) < 6 * np.sqrt(500)


def test_documents_of_a_row_are_apart_or_not(three: list[Shards]) -> None:
    apart = Mixture([(three[0], 1)], 0).batch(0, 4)
    joined = Mixture([(three[0], 1)], 0, separate=False).batch(0, 4)
    assert apart.segments.tolist() == [[1, 1, 1, 1, 1, 2, 2, 0]] * 4
    assert apart.weights.tolist() == [[1, 1, 1, 1, 0, 1, 0, 0]] * 4
    assert joined.segments.tolist() == [[1, 1, 1, 1, 1, 1, 1, 0]] * 4
    assert joined.weights.tolist() == [[1, 1, 1, 1, 1, 1, 0, 0]] * 4
    for batch in (apart, joined):
        assert batch.targets[:, :-1].tolist() == batch.tokens[:, 1:].tolist()
    rows = three[0].read(np.array([3]))
    assert as_batch(rows).segments.tolist() == rows.segments.tolist()


def test_prefetch_gives_the_batches_and_ends(three: list[Shards]) -> None:
    mixture = Mixture([(three[0], 1), (three[1], 2)], 5)
    ahead = mixture.prefetch(3, 6, host=1, hosts=2)
    for step in range(3, 30):
        assert next(ahead).tokens.tolist() == mixture.batch(step, 6, 1, 2).tokens.tolist()
    ahead.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_prefetch_tells_of_errors(three: list[Shards]) -> None:
    with pytest.raises(UserError, match="even share"):
        next(Mixture([(three[0], 1)], 0).prefetch(0, 7, host=0, hosts=2))


def test_what_is_no_mixture(three: list[Shards], tmp_path: Path) -> None:
    one = three[0]
    with pytest.raises(UserError, match="at least one"):
        Mixture([], 0)
    for bad in ([0.0, 0.0], [1.0, -0.5], [1.0, float("nan")], [float("inf"), 1.0]):
        with pytest.raises(UserError, match="2 parts"):
            Mixture([(one, bad[0]), (one, bad[1])], 0)
    with pytest.raises(UserError, match="2 parts"):
        Mixture([(one, 1), (one, 1)], 0, [(5, (1,))])
    with pytest.raises(UserError, match="digits"):
        Mixture([(one, 0.12345678912345), (one, 0.9)], 0)
    for steps in ((0,), (5, 5), (5, 3)):
        with pytest.raises(UserError, match="Stages"):
            Mixture([(one, 1)], 0, [(step, (1,)) for step in steps])
    with pytest.raises(UserError, match="even share"):
        Mixture([(one, 1)], 0).batch(0, 7, 0, 2)
    with pytest.raises(UserError, match="even share"):
        Mixture([(one, 1)], 0).batch(0, 8, 2, 2)
    with pytest.raises(UserError, match="rows of 8 tokens"):
        Mixture([(one, 1), (made(tmp_path / "long", 3, 9, row=16), 1)], 0)
    with pytest.raises(UserError, match="different tokenizers"):
        Mixture([(one, 1), (made(tmp_path / "other", 3, 9, "u"), 1)], 0)


def test_validation_takes_each_row_once_on_any_number_of_hosts(three: list[Shards]) -> None:
    held = InOrder(three[0])
    size = 8
    batches = -(-len(three[0]) // size) + 1  # one more than there are rows for
    whole = [held.batch(step, size) for step in range(batches)]
    tokens = np.concatenate([batch.tokens for batch in whole])
    weights = np.concatenate([batch.weights for batch in whole])
    assert (tokens[: len(three[0])] == three[0].read(np.arange(len(three[0]))).tokens).all()
    assert not weights[len(three[0]) :].any()
    assert weights[: len(three[0])].any(1).all()
    for step, batch in enumerate(whole):
        halves = [held.batch(step, size, host, 2) for host in range(2)]
        assert (np.concatenate([half.tokens for half in halves]) == batch.tokens).all()
        assert (np.concatenate([half.weights for half in halves]) == batch.weights).all()


def test_the_digest_tells_what_would_give_other_batches(three: list[Shards]) -> None:
    def digest(weights: tuple[int, int], seed: int = 0, separate: bool = True) -> str:
        return Mixture(list(zip(three[:2], weights, strict=True)), seed, separate=separate).digest()

    assert digest((1, 1)) == digest((2, 2))  # the same shares
    assert len({digest((1, 1)), digest((1, 2)), digest((1, 1), seed=1), digest((1, 1), separate=False)}) == 4
    assert InOrder(three[0]).digest() != InOrder(three[1]).digest()
