"""Files with weights: entries, prefixes, names, moving averages, what training code leaves beside them."""

import sys
import types
from pathlib import Path

import pytest
import torch

from internimage_perception.errors import BundleError
from internimage_perception.models import save_checkpoint
from internimage_perception.models.checkpoint_files import CheckpointFile, plain_keys, read_checkpoint

WEIGHTS = {"a.weight": torch.ones(3), "b.gamma1": torch.arange(2.0)}
AVERAGE = {key: value + 1 for key, value in WEIGHTS.items()}


def read(tmp_path, content, **options) -> CheckpointFile:
    torch.save(content, tmp_path / "w.pth")
    return read_checkpoint(tmp_path / "w.pth", **options)


def same(found, expected):
    return found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)


def test_weights_and_nothing_else(tmp_path):
    file = read(tmp_path, WEIGHTS)
    assert same(file.weights, WEIGHTS)
    assert file.layout() == "weights and nothing else"


@pytest.mark.parametrize("mapped", [False, True])
def test_a_training_checkpoint(tmp_path, mapped):
    content = {"model": {f"module.{k}": v for k, v in WEIGHTS.items()}, "optimizer": {"lr": 1.0}, "epoch": 3}
    file = read(tmp_path, content, mapped=mapped)
    assert same(file.weights, WEIGHTS)
    assert (file.entry, file.prefixes, file.others) == ("model", ("module.",), ("optimizer", "epoch"))
    assert file.layout() == "entry model; prefix module. taken off; left alone: optimizer, epoch"


def test_hugging_face_names(tmp_path):
    state = {f"model.{key.replace('gamma', 'layer_scale')}": value for key, value in WEIGHTS.items()}
    save_checkpoint(tmp_path / "model.safetensors", state)
    file = read_checkpoint(tmp_path / "model.safetensors")
    assert same(file.weights, WEIGHTS)
    assert file.renamed
    assert file.layout() == "weights and nothing else; prefix model. taken off; Hugging Face names"
    assert plain_keys({}) == {}


def test_the_moving_average_is_taken_when_asked_for_or_alone(tmp_path):
    both = {"model": WEIGHTS, "model_ema": {f"module.{k}": v for k, v in AVERAGE.items()}}
    file = read(tmp_path, both)
    assert same(file.weights, WEIGHTS)
    assert (file.entry, file.averaged) == ("model", "model_ema")
    assert "a moving average lies in model_ema, not taken" in file.layout()
    file = read(tmp_path, both, averaged=True)
    assert same(file.weights, AVERAGE)
    assert file.entry == file.averaged == "model_ema"
    assert file.layout().startswith("entry model_ema (moving average)")
    file = read(tmp_path, {"state_dict_ema": AVERAGE, "epoch": 1})
    assert same(file.weights, AVERAGE)
    assert file.entry == "state_dict_ema"


@pytest.mark.parametrize(
    ("content", "found"),
    [({"model": WEIGHTS, "epoch": 1}, "found model, epoch"), (WEIGHTS, "found weights and nothing")],
)
def test_a_moving_average_that_is_not_there_is_missed(tmp_path, content, found):
    with pytest.raises(BundleError, match=rf"looked for model_ema and state_dict_ema, {found}"):
        read(tmp_path, content, averaged=True)


def test_classes_that_training_wrote_beside_the_weights(tmp_path):
    meta = {"CLASSES": ("road", "sky"), "PALETTE": [[1, 2, 3], [4, 5, 6]], "iter": 9}
    file = read(tmp_path, {"state_dict": WEIGHTS, "meta": meta})
    assert file.class_names == ("road", "sky")
    assert file.palette == ((1, 2, 3), (4, 5, 6))


@pytest.mark.parametrize(
    ("meta", "names"),
    [
        (None, ()),
        ({}, ()),
        ({"CLASSES": "road"}, ()),
        ({"CLASSES": ["road", 3]}, ()),
        ({"CLASSES": ["road", ""]}, ()),
        ({"CLASSES": ["road"], "PALETTE": None}, ("road",)),
        ({"CLASSES": ["road"], "PALETTE": [[1, 2]]}, ("road",)),
        ({"CLASSES": ["road"], "PALETTE": [[1, 2, 300]]}, ("road",)),
        ({"CLASSES": ["road"], "PALETTE": [[1, 2, 3], [4, 5, 6]]}, ("road",)),
    ],
)
def test_odd_classes_do_no_harm(tmp_path, meta, names):
    file = read(tmp_path, {"state_dict": WEIGHTS, "meta": meta})
    assert (file.class_names, file.palette) == (names, ())


@pytest.fixture
def absent_package(monkeypatch):
    """A package that is there while a file is written, and not when it is read: yacs, for instance."""
    module = types.ModuleType("absent_package")

    class CfgNode(dict):
        def __init__(self, values=()):
            super().__init__(values)
            self.__dict__["__immutable__"] = False

    class Steps(list):
        pass

    for kind in (CfgNode, Steps):
        kind.__module__, kind.__qualname__ = "absent_package", kind.__name__
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "absent_package", module)
    return module


@pytest.mark.parametrize("legacy", [False, True])
def test_a_configuration_object_is_refused_and_with_trust_stood_in_for(tmp_path, absent_package, legacy):
    config = absent_package.CfgNode(
        {"MODEL": absent_package.CfgNode({"STEPS": absent_package.Steps([1, 2])})}
    )
    file = tmp_path / "w.pth"
    torch.save({"model": WEIGHTS, "config": config}, file, _use_new_zipfile_serialization=not legacy)
    del sys.modules["absent_package"]
    with pytest.raises(BundleError, match=r"wants to run code.*absent_package\.CfgNode.*--trust-pickle"):
        read_checkpoint(file)
    found = read_checkpoint(file, trust_pickle=True, mapped=True)
    assert same(found.weights, WEIGHTS)
    assert found.others == ("config",)


def resident_bytes():
    """Return the process's memory that no file stands behind."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_mapped_file_takes_memory_only_where_it_is_used(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    size = 64 * 2**20
    state = {"large": torch.ones(size // 4)}
    torch.save(state, path) if suffix == ".pth" else save_checkpoint(path, state)
    del state
    before = resident_bytes()
    weights = read_checkpoint(path, mapped=True).weights
    assert resident_bytes() - before < size // 4
    assert float(weights["large"][-1]) == 1.0


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.ones(3, device="meta"), "b is a shape without values"),
        (torch.ones(3, 2).to_sparse(), "b is sparse"),
        (torch.ones(3, dtype=torch.complex64), "b is of complex numbers"),
    ],
)
def test_tensors_without_plain_numbers_are_named(tmp_path, tensor, words):
    with pytest.raises(BundleError, match=rf"w\.pth holds no plain weights: {words}"):
        read(tmp_path, {"state_dict": {"a": torch.ones(2), "b": tensor}})


def test_a_key_that_is_no_name_is_named(tmp_path):
    with pytest.raises(BundleError, match="the key 1 is int, not a name"):
        read(tmp_path, {"a": torch.ones(2), 1: torch.ones(2)})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"hello weights\n", "damaged: it does not begin like one"),
    ],
)
def test_files_that_hold_no_weights_are_not_called_dangerous(tmp_path, content, words):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(BundleError, match=words) as caught:
        read_checkpoint(tmp_path / "w.pth")
    assert "trust" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_another_pickle_protocol_may_be_damage_and_is_read_with_trust(tmp_path):
    torch.save(WEIGHTS, tmp_path / "w.pth", pickle_protocol=4)
    with pytest.raises(BundleError, match="its list of contents is damaged, or pickled by another protocol"):
        read_checkpoint(tmp_path / "w.pth")
    assert same(read_checkpoint(tmp_path / "w.pth", trust_pickle=True).weights, WEIGHTS)


def test_a_folder_is_called_one(tmp_path):
    with pytest.raises(BundleError, match="is a folder"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("prefixes", [("module.", "model."), ("model.", "module."), ("module.", "module.")])
def test_prefixes_fall_away_in_any_order(tmp_path, prefixes):
    file = read(tmp_path, {"".join(prefixes) + key: value for key, value in WEIGHTS.items()})
    assert same(file.weights, WEIGHTS)
    assert file.prefixes == prefixes
