"""Random streets as a dataset: the same pictures in any order, in any process."""

import pickle

import pytest

pytest.importorskip("embreex", reason="the street needs the extra `sim`")

from internimage_perception.data.datasets import load_dataset
from internimage_perception.data.street.samples import random_samples
from internimage_perception.errors import ConfigError

SIZE = {"width": 48, "height": 32, "rays": 1}


def test_pictures_are_those_of_random_samples_in_any_order() -> None:
    dataset = load_dataset("street", length=3, seed=3, per_street=2, **SIZE)
    assert list(dataset.names) == ["train/3/0", "train/3/1", "train/4/0"]
    wanted = list(random_samples(3, 2, width=48, height=32, samples=1))
    for index in (1, 0, -2):
        sample = dataset[index]
        image, labels = wanted[index % 3]
        assert (sample.image == image).all() and (sample.labels == labels).all()
        assert sample.name == dataset.names[index]
    dataset[1].image[:] = 0
    assert (dataset[1].image == wanted[1][0]).all()
    assert (dataset[2].image != wanted[0][0]).any()
    again = pickle.loads(pickle.dumps(dataset))
    assert (again[0].image == wanted[0][0]).all()
    with pytest.raises(IndexError):
        dataset[3]
    assert "3 pictures, all with labels, of 48x32 in 2 streets from seed 3, 13 classes" in dataset.description


def test_held_out_streets_and_mistakes() -> None:
    held_out = load_dataset("street", length=1, split="test", **SIZE)
    (wanted,) = random_samples(0, 1, width=48, height=32, split="test", samples=1)
    assert held_out.names == ["test/0/0"] and (held_out[0].image == wanted[0]).all()
    with pytest.raises(ConfigError, match="street: length must be at least 1, not 0"):
        load_dataset("street", length=0)
    with pytest.raises(ConfigError, match="rays must be 1 or 4, not 2"):
        load_dataset("street", length=1, rays=2)
