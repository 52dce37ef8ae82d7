"""Costs and publications of the registered networks."""

import pytest
import torch

from internimage_perception.errors import ConfigError
from internimage_perception.models import create_model
from internimage_perception.models.catalog import describe_model
from internimage_perception.models.flops import measure_cost
from internimage_perception.models.published import publication


def meta(source):
    with torch.device("meta"):
        return create_model(source)


@pytest.mark.parametrize(
    ("name", "size", "published"),
    [
        ("internimage_t_1k", (224, 224), 5e9),
        ("internimage_l_1k", (384, 384), 108e9),
        ("internimage_g_1k", (512, 512), 2700e9),
        ("upernet_internimage_t", (512, 2048), 944e9),
        ("segformer_internimage_l", (1024, 2048), 1580e9),
    ],
)
def test_multiply_adds_are_those_of_the_paper(name, size, published):
    assert describe_model(name, size).multiply_adds == pytest.approx(published, rel=0.025)


def test_sampling_costs_five_per_point_channel_and_pixel():
    cost = measure_cost(meta({"channels": 8, "depths": [1, 1, 1, 1], "groups": [1, 2, 4, 8]}), (64, 96))
    pixels = [(16 * 24, 8), (8 * 12, 16), (4 * 6, 32), (2 * 3, 64)]
    assert cost.sampling == sum(5 * 9 * count * channels for count, channels in pixels)
    assert cost.multiply_adds > cost.sampling


def test_costs_of_a_linear_classifier_by_hand():
    few, many = (
        measure_cost(
            meta({"channels": 8, "depths": [1, 1, 1, 1], "groups": [1, 2, 4, 8], "num_classes": n}), (64, 64)
        )
        for n in (1, 11)
    )
    assert many.multiply_adds - few.multiply_adds == 10 * 96
    assert many.parameters - few.parameters == 10 * 97


def test_networks_with_weights_and_empty_images_are_not_counted():
    with pytest.raises(ConfigError, match="meta"):
        measure_cost(create_model("internimage_nano"), (64, 64))
    with pytest.raises(ConfigError, match="positive"):
        measure_cost(meta("internimage_nano"), (0, 64))


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("upernet_internimage_t", 59.08), ("upernet_internimage_s", 79.87), ("upernet_internimage_b", 128.39),
        ("upernet_internimage_l", 255.6), ("upernet_internimage_xl", 367.7),
        ("upernet_internimage_h", 1120.3),
        ("upernet_internimage_g", 3112.7), ("segformer_internimage_l", 219.9),
        ("segformer_internimage_xl", 330.0), ("internimage_t_1k", 29.918424), ("internimage_s_1k", 50.079880),
        ("internimage_b_1k", 97.461832), ("internimage_l_1k", 223.334810), ("internimage_xl_1k", 334.819780),
        ("internimage_h_1k", 1089.636760), ("internimage_g_1k", 3076.373352),
        ("internimage_g_22k", 3092.400081), ("internimage_l_22k", 263.370371),
    ],
)  # fmt: skip
def test_parameters_are_the_published_ones(name, millions):
    assert describe_model(name).parameters / 1e6 == pytest.approx(millions, rel=3e-4)


def test_scores_say_what_they_were_trained_on():
    scores = publication("upernet_internimage_xl").scores
    assert [(score.dataset, score.value, score.multi_scale) for score in scores] == [
        ("ADE20K", 55.0, 55.3), ("Cityscapes", 83.62, 84.28), ("Cityscapes", 86.20, 86.42),
    ]  # fmt: skip
    assert scores[2].trained_on == ("ImageNet-22k", "Mapillary Vistas", "Cityscapes")
    (score,) = publication("internimage_h_1k").scores
    assert (score.value, score.size, score.multi_scale) == (89.6, (640, 640), None)


@pytest.mark.parametrize(
    ("name", "checkpoint", "words"),
    [
        ("segformer_internimage_l", True, ("NVIDIA", "Mapillary Vistas")),
        ("internimage_h_22k", True, ("MIT", "427 M")),
        ("internimage_t_22k", False, ("no weights",)),
        ("upernet_internimage_g", False, ("no weights",)),
        ("internimage_b", False, ("part of the classifiers'",)),
        ("upernet_internimage_nano", False, ("no official counterpart",)),
    ],
)
def test_licences_and_what_is_not_published(name, checkpoint, words):
    known = publication(name)
    assert known.checkpoint == checkpoint
    assert all(word in known.licence for word in words)
    assert bool(known.source) == bool(known.scores)


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="internimage_t_1k"):
        describe_model("internimage_q")
