"""Configurations: every wrong value is named; YAML's keys become the dataclass."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from internimage_perception.data.distortion import PRESETS, DistortionConfig, config_from_dict
from internimage_perception.errors import ConfigError
from internimage_perception.geometry import MeiCamera

WRONG = [
    ({"warp": "zoom"}, "warp"),
    ({"interpolation": "cubic"}, "interpolation"),
    ({"backgrounds": "all"}, "backgrounds"),
    ({"size": (10,)}, "size"),
    ({"size": (10.5, 20)}, "whole"),
    ({"models": ()}, "models"),
    ({"models": ("zoom",)}, "models"),
    ({"edge_deg": (90.0, 50.0)}, "edge_deg"),
    ({"edge_deg": 50.0}, "edge_deg"),
    ({"vignette": (0.0, 1.5)}, "vignette"),
    ({"vignette": (0.0, float("nan"))}, "vignette"),
    ({"rotation_deg": (1.0, 2.0)}, "rotation_deg"),
    ({"translation": (0.0, 0.0, 1.0)}, "translation"),
    ({"outside_label": 256}, "outside_label"),
    ({"outside_label": 1.5}, "whole"),
    ({"min_visible": True}, "min_visible"),
    ({"k": 0.0}, "k is"),
    ({"crop": "yes"}, "crop"),
    ({"coefficients": {"zoom": ((0.0, 1.0),)}}, "zoom"),
    ({"coefficients": {"eucm": ((0.0, 1.0),)}}, "eucm"),
    ({"coefficients": {"eucm": ((0.0, 1.0), (1.0, 0.0))}}, "eucm"),
    ({"warp": "division", "size": (10, 10)}, "size"),
]


@pytest.mark.parametrize(("values", "words"), WRONG)
def test_wrong_values_are_named(values, words):
    with pytest.raises(ConfigError, match=words):
        DistortionConfig(**values)


def test_a_mapping_becomes_a_configuration():
    camera = {"model": "mei", "width": 10, "height": 8, "fx": 5, "fy": 5, "cx": 4, "cy": 4, "xi": 1.0}
    config = config_from_dict(
        {
            "preset": "lenses",
            "edge_deg": [60, 70],
            "cameras": [camera],
            "coefficients": {"eucm": [[0.5, 0.6], [1, 1]]},
        }
    )
    assert config.edge_deg == (60, 70)
    assert config.models == PRESETS["lenses"].models
    assert isinstance(config.cameras[0], MeiCamera)
    assert config.ranges_of("eucm") == ((0.5, 0.6), (1, 1))
    assert config.ranges_of("mei") == DistortionConfig().ranges_of("mei")
    assert config_from_dict({}, "dacon2023") == PRESETS["dacon2023"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"preset": "seed"}, "fisheye"),
        ({"vignete": [0, 1]}, "vignette"),
        ({"nonsense_key": 1}, "known"),
        ({"cameras": "front"}, "cameras"),
        ({"cameras": [{"model": "mei"}]}, "cameras"),
        ({"edge_deg": "wide"}, "edge_deg"),
        ({"edge_deg": None}, "edge_deg"),
        ({"models": "eucm"}, "models"),
        ({"coefficients": [1, 2]}, "kind"),
        ({"image_fill": [1, 2]}, "image_fill"),
    ],
)
def test_wrong_mappings_are_refused_in_words(values, words):
    with pytest.raises(ConfigError, match=words):
        config_from_dict(values)


def test_the_documentation_names_every_key_and_its_example_works():
    text = (Path(__file__).resolve().parents[3] / "docs" / "augmentation.md").read_text(encoding="utf-8")
    table = "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    for field in dataclasses.fields(DistortionConfig):
        assert f"`{field.name}`" in table
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    config = config_from_dict(yaml.safe_load(example))
    assert config.size == (960, 640)
    assert config.cameras[0].model == "equidistant"
    for name in PRESETS:
        assert f"| `{name}` |" in text
