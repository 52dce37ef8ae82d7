"""Schedules, computed by hand from mmcv's rules."""

import math

import pytest

from internimage_perception.training.config import ScheduleConfig
from internimage_perception.training.schedules import learning_rate_factor


@pytest.mark.parametrize(
    ("options", "step", "expected"),
    [
        ({"kind": "poly"}, 0, 1.0),
        ({"kind": "poly"}, 25, 0.75),
        ({"kind": "poly"}, 99, 0.01),
        ({"kind": "poly", "power": 2.0}, 25, 0.5625),
        ({"kind": "poly", "lowest": 0.1}, 25, 0.775),
        ({"kind": "poly", "power": 0.9, "lowest": 0.1}, 100, 0.1),
        ({"kind": "cosine"}, 0, 1.0),
        ({"kind": "cosine"}, 25, 0.5 + math.sqrt(0.125)),
        ({"kind": "cosine"}, 50, 0.5),
        ({"kind": "cosine", "lowest": 0.2}, 50, 0.6),
        ({"kind": "cosine", "lowest": 0.2}, 100, 0.2),
        ({"kind": "constant", "lowest": 0.2}, 70, 1.0),
    ],
)
def test_without_warm_up(options, step, expected):
    config = ScheduleConfig(warm_up=0, **options)
    assert learning_rate_factor(config, step, 100) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.1), (1, 0.99 * 0.19), (5, 0.95 * 0.55), (9, 0.91 * 0.91), (10, 0.9), (11, 0.89)],
)
def test_warm_up_scales_the_schedule(step, expected):
    config = ScheduleConfig(warm_up=10, warm_up_from=0.1)
    assert learning_rate_factor(config, step, 100) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 1e-6),
        (750, 0.9953125 * 0.5000005),
        (1499, (1 - 1499 / 160000) * (1 - (1 - 1e-6) / 1500)),
        (1500, 0.990625),
        (80000, 0.5),
        (159999, 6.25e-6),
    ],
)
def test_official_schedule(step, expected):
    assert learning_rate_factor(ScheduleConfig(), step, 160_000) == pytest.approx(expected, rel=1e-9)


def test_warm_up_longer_than_the_run():
    factors = [learning_rate_factor(ScheduleConfig(), step, 100) for step in range(100)]
    assert factors[50] == pytest.approx(0.5 * 0.5000005)
    assert factors[99] == pytest.approx(0.01 * (1 - 0.01 * (1 - 1e-6)))
    constant = [learning_rate_factor(ScheduleConfig(kind="constant"), step, 100) for step in range(101)]
    assert constant == sorted(constant)
    assert constant[100] == 1.0


def test_nothing_after_the_end():
    for kind in ("poly", "cosine"):
        config = ScheduleConfig(kind=kind, power=0.5, lowest=0.3, warm_up=2)
        assert learning_rate_factor(config, 250, 100) == pytest.approx(0.3)
    assert learning_rate_factor(ScheduleConfig(), 0, 1) == pytest.approx(1e-6)
