"""Weights from files, hostile ones too."""

import os
from pathlib import Path

import pytest
import torch

from internimage_perception.errors import BundleError
from internimage_perception.models import create_model, load_checkpoint, load_weights, save_checkpoint
from internimage_perception.models.checkpoints import StoredTensor, stored_tensors, to_half

BACKBONE = {"channels": 8, "depths": [1, 1, 1, 1], "groups": [1, 2, 4, 8], "layer_scale": 1.0}
SEGMENTOR = BACKBONE | {"head_channels": 8, "num_classes": 3, "aux_channels": 4}


class Payload:
    """An object whose unpickling runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def backbone():
    torch.manual_seed(3)
    return create_model(BACKBONE)


def equal(model, state):
    own = model.state_dict()
    return all(torch.equal(own[key], value) for key, value in state.items())


def test_safetensors_round_trip(tmp_path, backbone):
    save_checkpoint(tmp_path / "w.safetensors", backbone.state_dict(), metadata={"name": "x"})
    fresh = create_model(BACKBONE)
    report = load_weights(fresh, load_checkpoint(tmp_path / "w.safetensors"))
    assert str(report) == "all keys match"
    assert equal(fresh, backbone.state_dict())
    (tmp_path / "plain").touch()  # readable for whom any other output is readable
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_half_precision_keeps_what_does_not_fit(tmp_path):
    state = {"a": torch.tensor([1.0, 1e5]), "b": torch.tensor([0.1, 2.0]), "n": torch.tensor(3)}
    save_checkpoint(tmp_path / "w.safetensors", state, half=True)
    loaded = load_checkpoint(tmp_path / "w.safetensors")
    assert [loaded[key].dtype for key in "abn"] == [torch.float32, torch.float16, torch.int64]
    assert torch.equal(loaded["a"], state["a"])
    assert to_half(torch.tensor([float("inf")])).dtype == torch.float16


def test_places_in_the_file_are_where_the_values_are(tmp_path):
    state = {
        "odd": torch.arange(3).half(), "matrix": torch.rand(5, 7).half(), "wide": torch.tensor([1e5, -2.5]),
    }  # fmt: skip
    path = tmp_path / "w.safetensors"
    save_checkpoint(path, state, metadata={"name": "some text"})
    places = stored_tensors(path)
    assert places.keys() == state.keys()
    content = path.read_bytes()
    for name, place in places.items():
        values = content[place.offset : place.offset + place.length]
        assert values == state[name].numpy().tobytes()
        assert place.shape == tuple(state[name].shape)
    assert [places[name].dtype for name in state] == ["F16", "F16", "F32"]
    assert isinstance(places["odd"], StoredTensor)


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_places_of_a_damaged_file(tmp_path, content):
    path = tmp_path / "w.safetensors"
    if content is None:
        save_checkpoint(path, {"a": torch.ones(300)})
        content = path.read_bytes()[:-1]
    path.write_bytes(content)
    with pytest.raises(BundleError, match="no safetensors file or damaged"):
        stored_tensors(path)


@pytest.mark.parametrize("entry", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_pytorch_files_of_every_layout(tmp_path, backbone, entry, prefix):
    state = {prefix + key: value for key, value in backbone.state_dict().items()}
    torch.save({entry: state, "epoch": 3} if entry else state, tmp_path / "w.pth")
    fresh = create_model(BACKBONE)
    load_weights(fresh, load_checkpoint(tmp_path / "w.pth"))
    assert equal(fresh, backbone.state_dict())


def test_hugging_face_names(tmp_path, backbone):
    state = {
        "model." + key.replace("gamma", "layer_scale"): value for key, value in backbone.state_dict().items()
    }
    assert any("layer_scale1" in key for key in state)
    torch.save(state, tmp_path / "pytorch_model.bin")
    fresh = create_model(BACKBONE)
    load_weights(fresh, load_checkpoint(tmp_path / "pytorch_model.bin"))
    assert equal(fresh, backbone.state_dict())


def test_backbone_from_a_segmentor_and_the_other_way(backbone):
    segmentor = create_model(SEGMENTOR)
    report = load_weights(create_model(BACKBONE), segmentor.state_dict())
    assert any(key.startswith("decode_head.") for key in report.ignored)
    report = load_weights(segmentor, backbone.state_dict(), strict=False)
    assert equal(segmentor.backbone, backbone.state_dict())
    assert report.missing and all(
        key.startswith(("decode_head.", "auxiliary_head.")) for key in report.missing
    )


def test_classification_heads_are_left_out(backbone):
    state = backbone.state_dict() | {"head.weight": torch.zeros(2, 2), "conv_head.0.weight": torch.zeros(1)}
    report = load_weights(create_model(BACKBONE), state)
    assert set(report.ignored) == {"head.weight", "conv_head.0.weight"}


def test_a_network_without_auxiliary_head_ignores_its_weights():
    model = create_model(SEGMENTOR | {"aux_channels": None})
    report = load_weights(model, create_model(SEGMENTOR).state_dict())
    assert report.ignored and all(key.startswith("auxiliary_head.") for key in report.ignored)


def test_differences_are_listed(backbone):
    state = backbone.state_dict()
    del state["patch_embed.conv1.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["patch_embed.conv2.bias"] = torch.zeros(5)
    with pytest.raises(BundleError) as caught:
        load_weights(create_model(BACKBONE), state)
    for word in ("1 missing: patch_embed.conv1.bias", "1 unexpected: extra.weight", "(5,), model has (8,)"):
        assert word in str(caught.value)
    report = load_weights(create_model(BACKBONE), state, strict=False)
    assert report.missing == ("patch_embed.conv1.bias",)


def test_another_number_of_classes_is_explained():
    with pytest.raises(BundleError, match="number of classes differs"):
        load_weights(create_model(SEGMENTOR), create_model(SEGMENTOR | {"num_classes": 4}).state_dict())


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_runs_code_is_refused_and_does_not_run(tmp_path, legacy):
    marker = tmp_path / "pwned"
    file = tmp_path / "w.pth"
    torch.save(
        {"state_dict": {"a": torch.zeros(1)}, "config": Payload(marker)},
        file,
        _use_new_zipfile_serialization=not legacy,
    )
    with pytest.raises(BundleError, match="trust_pickle=True"):
        load_checkpoint(file)
    assert not marker.exists()
    assert "a" in load_checkpoint(file, trust_pickle=True)
    assert marker.exists()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"not weights", b"\x80\x02}q\x00.", b"PK\x03\x04" + bytes(60), bytes(500)]
)
def test_damaged_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        load_checkpoint(tmp_path / name)


def test_a_truncated_file_is_named(tmp_path, backbone):
    for name in ("w.pth", "w.safetensors"):
        file = tmp_path / name
        if name.endswith("pth"):
            torch.save(backbone.state_dict(), file)
        else:
            save_checkpoint(file, backbone.state_dict())
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(BundleError, match=name):
            load_checkpoint(file)


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, {1: torch.zeros(1)}, {}, torch.zeros(2)])
def test_files_without_weights_are_named(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(BundleError, match=r"w\.pth holds no"):
        load_checkpoint(tmp_path / "w.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BundleError, match="gone"):
        load_checkpoint(tmp_path / "gone.pth")


def test_whole_numbers_are_no_weights():
    model = torch.nn.Linear(2, 2)
    before = model.weight.detach().clone()
    state = {"weight": torch.ones(2, 2, dtype=torch.int8), "bias": torch.ones(2)}
    with pytest.raises(BundleError, match="1 of the weights are whole numbers, such as weight"):
        load_weights(model, state)
    assert torch.equal(model.weight, before)
