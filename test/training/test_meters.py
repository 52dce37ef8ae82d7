"""Means of losses and the pace between two lines of the log."""

import time

import pytest
import torch
from support.training_runs import settings

from internimage_perception.training.meters import Meters
from internimage_perception.training.runtime import start_fabric


def test_means_and_a_pace_without_pauses(monkeypatch):
    fabric = start_fabric(settings({"kind": "folders", "images": "a", "labels": "b"}))
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    meters = Meters()
    for loss in (1.0, 3.0):
        meters.add({"loss": torch.tensor(loss)})
        now[0] += 2.0
    with meters.pause():
        now[0] += 50.0
    assert meters.take(fabric, 8) == pytest.approx({"loss": 2.0, "pictures_per_s": 4.0})
    meters.add({"loss": torch.tensor(5.0)})
    now[0] += 1.0
    assert meters.take(fabric, 8) == pytest.approx({"loss": 5.0, "pictures_per_s": 8.0})
