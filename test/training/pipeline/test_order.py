import pickle
from collections import Counter

import numpy as np
import pytest

from internimage_perception.errors import ConfigError
from internimage_perception.training.pipeline.order import Order


def test_every_sample_comes_once_per_epoch_in_ever_new_order():
    order = Order([7], None, 3, [1])
    epochs = [[order[7 * epoch + place] for place in range(7)] for epoch in range(20)]
    assert all(sorted(index for _, index in epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 15


def test_shares_are_kept_in_every_stretch():
    order = Order([5, 50, 11], [0.5, 0.3, 0.2], 0, [1, 1, 1])
    drawn = [order[number] for number in range(1000)]
    assert Counter(dataset for dataset, _ in drawn) == {0: 500, 1: 300, 2: 200}
    for start in range(0, 1000, 10):
        assert Counter(dataset for dataset, _ in drawn[start : start + 10]) == {0: 5, 1: 3, 2: 2}
    for dataset, length in enumerate((5, 50, 11)):
        indices = [index for which, index in drawn if which == dataset]
        for start in range(0, len(indices) - length, length):
            assert sorted(indices[start : start + length]) == list(range(length))


def test_without_shares_datasets_are_as_large_as_they_are():
    order = Order([300, 7, 123], None, 0, [1, 1, 1])
    epoch = Counter(order[number] for number in range(430))
    assert len(epoch) == 430
    large = Order([90_000, 10_000, 1], None, 0, [1, 1, 1])
    shares = Counter(large[number][0] for number in range(20_000))
    assert shares[0] == pytest.approx(18_000, abs=5)
    # However small a dataset, it is seen.
    assert shares[2] > 0


@pytest.mark.parametrize("shares", [[1.0, 2.0], [1e-9, 1.0], [0.3333, 0.6667], [3, 8999]])
def test_any_number_can_be_asked_for_first(shares):
    order = Order([13, 17], shares, 5, [1, 1])
    numbers = np.random.default_rng(0).integers(0, 3000, 200).tolist()
    forwards = {number: order[number] for number in sorted(numbers)}
    fresh = pickle.loads(pickle.dumps(Order([13, 17], shares, 5, [1, 1])))
    assert all(fresh[number] == forwards[number] for number in numbers)
    assert order[10**12] == fresh[10**12]


def test_seeds_and_datasets_have_orders_of_their_own():
    first = [Order([100, 100], None, seed, [1, 1])[number] for seed in (0, 1) for number in range(200)]
    assert first[:200] != first[200:]
    assert [index for which, index in first[:200] if which] != [
        index for which, index in first[:200] if not which
    ]


def test_runs_stay_together_and_in_order():
    order = Order([26], None, 0, [6])
    for epoch in range(5):
        indices = [order[26 * epoch + place][1] for place in range(26)]
        assert sorted(indices) == list(range(26))
        starts = [index for index in indices if index % 6 == 0]
        expected = [index for start in starts for index in range(start, min(start + 6, 26))]
        assert indices == expected
    assert [index // 6 for _, index in (order[n] for n in range(26))] != [n // 6 for n in range(26)]


@pytest.mark.parametrize("shares", [[1.0, 0.0], [1.0, -1.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_shares_must_be_above_zero(shares):
    with pytest.raises(ConfigError, match="they must be above 0"):
        Order([3, 3], shares, 0, [1, 1])
