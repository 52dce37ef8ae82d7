"""Weights fitted to networks with fewer points or classes."""

import pytest
import torch

from internimage_perception.errors import BundleError, ConfigError
from internimage_perception.models import create_model, load_weights
from internimage_perception.models.adapt import drop_center_points, read_class_map, select_classes

FULL = {"channels": 8, "depths": [1, 1, 1, 1], "groups": [1, 2, 4, 8], "num_classes": 5}
HOLLOW = FULL | {"remove_center": True}


def lively(configuration, seed=0):
    torch.manual_seed(seed)
    model = create_model(configuration)
    for name, parameter in model.named_parameters():
        if ".offset." in name or ".mask." in name:
            torch.nn.init.normal_(parameter)
    return model.eval()


def test_the_rows_of_the_centre_are_deleted_from_a_full_checkpoint():
    weights = lively(FULL).state_dict()
    model = create_model(HOLLOW)
    with pytest.raises(BundleError, match=r"dcn\.mask"):
        load_weights(model, weights)
    adapted = drop_center_points(model, weights)
    load_weights(model, adapted)
    for key, tensor in weights.items():
        rows = torch.arange(tensor.shape[0]) if tensor.dim() else None
        if ".dcn.mask." in key:
            expected = tensor[rows % 9 != 4]
        elif ".dcn.offset." in key:
            expected = tensor[(rows % 18 != 8) & (rows % 18 != 9)]
        else:
            expected = tensor
        assert torch.equal(adapted[key], expected)


def test_a_full_network_whose_centre_has_no_weight_answers_like_the_hollow_one():
    full = lively(FULL)
    for name, parameter in full.named_parameters():
        if name.endswith("dcn.mask.bias"):
            parameter.data[4::9] = -1e4
    hollow = create_model(HOLLOW).eval()
    load_weights(hollow, drop_center_points(hollow, full.state_dict()))
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(hollow(x), full(x), atol=1e-5, rtol=1e-4)


def test_weights_that_fit_and_full_networks_stay_as_they_are():
    model = create_model(HOLLOW)
    state = model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in drop_center_points(model, state).items())
    full = create_model(FULL)
    assert drop_center_points(full, full.state_dict()).keys() == full.state_dict().keys()
    assert drop_center_points(full, full.state_dict())["levels.0.blocks.0.dcn.mask.bias"].shape == (9,)


@pytest.mark.parametrize("from_segmentor", [False, True])
def test_prefixes_of_segmentors_do_not_matter(from_segmentor):
    head = {"head_channels": 8}
    weights = create_model(FULL | (head if from_segmentor else {})).state_dict()
    model = create_model(HOLLOW | ({} if from_segmentor else head))
    adapted = drop_center_points(model, weights)
    prefix = "backbone." if from_segmentor else ""
    assert adapted[f"{prefix}levels.1.blocks.0.dcn.offset.weight"].shape == (2 * 8 * 2, 16)


def test_classes_are_taken_in_the_order_of_the_map(tmp_path):
    (tmp_path / "map.txt").write_text("3\n0\n 4 \n\n")
    indices = read_class_map(tmp_path / "map.txt")
    assert indices == [3, 0, 4]
    large = lively(FULL)
    small = create_model(FULL | {"num_classes": 3}).eval()
    load_weights(small, select_classes(large.state_dict(), indices))
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(small(x), large(x)[:, [3, 0, 4]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"), ("1\nx\n", "line 2"), ("-1\n", "line 1"), ("1\n\n2\n", "line 2"),
        ("\udc80", "cannot read"),
    ],
)  # fmt: skip
def test_a_broken_map_is_named(tmp_path, text, words):
    path = tmp_path / "map.txt"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=words) as caught:
        read_class_map(path)
    assert str(path) in str(caught.value)


def test_a_map_that_is_missing_or_points_nowhere_is_named(tmp_path):
    with pytest.raises(ConfigError, match="gone"):
        read_class_map(tmp_path / "gone.txt")
    state = create_model(FULL).state_dict()
    with pytest.raises(ConfigError, match="class 5, but the weights have classes 0 to 4"):
        select_classes(state, [0, 5])
    with pytest.raises(BundleError, match=r"head\.bias"):
        select_classes({"head.weight": state["head.weight"]}, [0])
