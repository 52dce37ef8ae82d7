"""`internimage-perception models`."""

import json

import pytest

from internimage_perception.cli.main import main
from internimage_perception.models import model_names


def test_json_lists_every_network(capsys):
    assert main(["models", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    assert [model["name"] for model in models] == model_names()
    by_name = {model["name"]: model for model in models}
    assert by_name["internimage_t_1k"]["scores"][0]["value"] == 83.5
    assert by_name["internimage_t_1k"]["multiply_adds"] is None
    assert by_name["segformer_internimage_l"]["parameters"] == 219_870_024
    assert all(model["licence"] for model in models)


def test_some_networks_with_their_cost(capsys):
    assert main(["models", "internimage_nano", "upernet_internimage_nano", "--size", "64x96"]) == 0
    said = capsys.readouterr().out
    assert said.count("multiply-adds for an image of 64x96") == 2
    assert "upernet_internimage_nano: segmentation, 13 classes, 1.9 M parameters" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["internimage_q"], "internimage_q"),
        (["--size", "64"], "HEIGHTxWIDTH"),
        (["--size", "16x64"], "from 32"),
    ],
)
def test_wrong_use_is_explained(words, said, capsys):
    assert main(["models", *words]) == 1
    assert said in capsys.readouterr().err
