"""`tools/draw_streets.py`: stored pictures are those that the street dataset draws."""

import sys
from pathlib import Path

import draw_streets
import numpy as np
import pytest

pytest.importorskip("embreex", reason="the street needs the extra `sim`")

from internimage_perception.data.datasets import open_dataset
from internimage_perception.data.datasets.street import RandomStreets


def draw(monkeypatch: pytest.MonkeyPatch, folder: Path, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["draw_streets.py", str(folder), *map(str, words)])
    assert draw_streets.main() == 0


def test_stored_pictures_are_those_of_the_dataset(monkeypatch, tmp_path):
    words = ("--count", 13, "--size", 40, 32, "--seed", 5, "--tall", "--split", "test")
    draw(monkeypatch, tmp_path / "streets", *words)
    stored = open_dataset(tmp_path / "streets" / "dataset.yaml")
    drawn = RandomStreets(13, 5, 40, 32, "test", tall=True)
    assert len(stored) == 13
    assert tuple(stored.classes) == tuple(drawn.classes)
    for index in (0, 11, 12):
        one, other = stored[index], drawn[index]
        assert one.labels is not None and other.labels is not None
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_only_what_is_missing_is_drawn_again(monkeypatch, tmp_path, capsys):
    words = (tmp_path, "--count", 13, "--size", 24, 16, "--workers", 1)
    draw(monkeypatch, *words)
    last, first = tmp_path / "labels/1/00.png", tmp_path / "labels/0/00.png"
    before, kept = last.read_bytes(), first.stat().st_mtime_ns
    last.unlink()
    draw(monkeypatch, *words)
    assert last.read_bytes() == before
    assert first.stat().st_mtime_ns == kept
    assert capsys.readouterr().out.count("13 of 13") == 2
