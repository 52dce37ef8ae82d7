"""Networks by name, file and mapping."""

import pytest
import torch

from internimage_perception.errors import ConfigError
from internimage_perception.models import (
    Classifier,
    InternImage,
    Segmentor,
    create_model,
    load_config,
    model_names,
)
from internimage_perception.models.config import parse_config, to_mapping


@pytest.mark.parametrize("name", model_names())
def test_every_registered_network_builds_and_round_trips(name):
    config = load_config(name)
    with torch.device("meta"):
        model = create_model(name)
    if name.startswith(("upernet_", "segformer_")):
        assert isinstance(model, Segmentor)
    else:
        assert type(model) is (Classifier if name.endswith("k") else InternImage)
    assert parse_config(to_mapping(config)) == config


def test_the_names_are_all_there():
    sizes = ("nano", "t", "s", "b", "l", "xl", "h", "g")
    expected = {f"{kind}internimage_{size}" for kind in ("", "upernet_") for size in sizes}
    expected |= {f"internimage_{size}_{classes}" for size in sizes[1:] for classes in ("1k", "22k")}
    expected |= {"segformer_internimage_l", "segformer_internimage_xl"}
    assert set(model_names()) == expected


def test_the_smallest_network_is_small():
    model = create_model("upernet_internimage_nano")
    assert 1e6 < sum(parameter.numel() for parameter in model.parameters()) < 2e6


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"internimage_q.*upernet_internimage_nano"):
        create_model("internimage_q")


def test_a_mapping_may_build_on_a_name():
    model = create_model({"base": "upernet_internimage_nano", "num_classes": 5})
    assert model.config.num_classes == 5
    assert model.config.head_channels == 48


def test_a_file_may_describe_a_network(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("base: upernet_internimage_nano\nnum_classes: 7\naux_channels: 16\n")
    assert create_model(file).auxiliary_head is not None
    assert create_model(str(file)).config.num_classes == 7


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("- a\n- b\n", "fields"),
        ("channels: [", "mine.yaml"),
        ("base: 3\n", "base"),
        ("base: nowhere\n", "nowhere"),
        ("\x00", "mine.yaml"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, word):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=word):
        create_model(file)


def test_a_file_that_builds_on_itself_is_refused(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(f"base: {file}\n")
    with pytest.raises(ConfigError, match="does not end"):
        create_model(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        create_model(tmp_path / "gone.yaml")
