"""Scores of a network while it is trained."""

import copy

import numpy as np
import pytest
from support.training_runs import differences, final_state, read_table, settings

from internimage_perception.data.datasets import open_dataset
from internimage_perception.errors import ConfigError
from internimage_perception.models import create_model
from internimage_perception.models.checkpoints import load_checkpoint
from internimage_perception.models.inference_modes import EvaluationMode, Window, probabilities
from internimage_perception.training.loop import train


def trained_network(config, out):
    network = create_model(config.model)
    network.load_state_dict(load_checkpoint(out / "weights.safetensors"))
    return network.eval()


@pytest.mark.parametrize(
    ("changes", "mode"),
    [
        ({}, EvaluationMode()),
        ({"scale": [64, 64], "limit": 3}, EvaluationMode(scale=(64, 64))),
        (
            {"mode": "slide", "crop": [48, 40], "stride": [24, 20]},
            EvaluationMode(window=Window((40, 48), (20, 24))),
        ),
    ],
)
def test_scores_are_those_of_the_official_evaluation(pictures, tmp_path, changes, mode):
    validation = {"sources": {"val": pictures.val}, "every": 4, **changes}
    config = settings(pictures.train, steps=4, average=0.5, validation=validation)
    result = train(config, tmp_path)
    network, dataset = trained_network(config, tmp_path), open_dataset(pictures.val)
    # Three of four, evenly spread.
    indices = [0, 2, 3] if "limit" in changes else range(4)
    overlap, union = np.zeros(13), np.zeros(13)
    for index in indices:
        sample = dataset[index]
        found = probabilities(network, sample.image, mode).argmax(0).numpy()
        valid = sample.labels != 255
        for number in range(13):
            mine, theirs = (found == number) & valid, (sample.labels == number) & valid
            overlap[number] += (mine & theirs).sum()
            union[number] += (mine | theirs).sum()
    seen = union > 0
    assert result.scores["val/miou"] == pytest.approx((overlap[seen] / union[seen]).mean(), abs=1e-9)
    scene = seen & (np.arange(13) != 12)
    assert result.scores["val/miou_scene"] == pytest.approx((overlap[scene] / union[scene]).mean(), abs=1e-9)
    (row,) = read_table(tmp_path / "validation.csv")
    assert float(row["val/miou"]) == pytest.approx(result.scores["val/miou"], rel=1e-4)


def test_validation_leaves_training_alone(pictures, run):
    one = run(settings(pictures.train), "one")
    two = run(settings(pictures.train, validation={"sources": {"val": pictures.val}, "every": 1}), "two")
    assert differences(final_state(one), final_state(two)) == []


def test_validation_data_that_do_not_fit(pictures, run, tmp_path):
    with pytest.raises(ConfigError, match=r"validation\.sources\.target has no labels"):
        run(settings(pictures.train, validation={"sources": {"target": pictures.target}}))
    other = copy.deepcopy(pictures.val) | {"classes": [f"class {number}" for number in range(13)]}
    with pytest.raises(
        ConfigError, match=r"validation\.sources\.val has the classes class 0, .* training's are Road"
    ):
        run(settings(pictures.train, other))
    validation = {"sources": {"a": pictures.val}, "mode": "slide", "crop": [8, 8], "stride": [9, 9]}
    with pytest.raises(ConfigError, match="stride"):
        run(settings(pictures.train, validation=validation))
    assert not (tmp_path / "run").exists()
