"""Backends: the same answers from the same bundle, and errors a person can act on."""

import builtins
import importlib
import shutil
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from internimage_perception.deploy import create_bundle
from internimage_perception.errors import BackendError, ConfigError
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.backends.onnxruntime import OnnxRuntimeBackend
from internimage_perception.inference.backends.torch import TorchBackend
from internimage_perception.inference.bundle import Bundle, ClassSpec, InputSpec, OutputSpec
from internimage_perception.models import create_model

NETWORK = {
    "channels": 16,
    "depths": [1, 1, 1, 1],
    "groups": [1, 2, 4, 8],
    "head_channels": 16,
    "num_classes": 5,
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle of odd sizes whose network decides something."""
    torch.manual_seed(2)
    model = create_model(NETWORK)
    for name, parameter in model.named_parameters():
        if ".offset." in name or ".mask." in name or "conv_seg" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return create_bundle(
        tmp_path_factory.mktemp("bundle") / "model",
        architecture=NETWORK,
        state_dict=model.state_dict(),
        classes=[ClassSpec(index, f"class {index}", (index, 0, 0)) for index in range(5)],
        input_spec=InputSpec(72, 104, channel_order="bgr"),
        output_spec=OutputSpec((61, 90)),
        name="test",
        provenance={"weights": "random"},
    )


@pytest.fixture(scope="module")
def backends(bundle):
    return {"torch": TorchBackend(bundle, device="cpu"), "onnxruntime": OnnxRuntimeBackend(bundle)}


def images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(1, 72, 104), (4, 111, 207), (2, 540, 960), (1, 3, 5)])
def test_backends_agree(backends, shape):
    frames = images(*shape)
    own, other = backends["torch"].run(frames), backends["onnxruntime"].run(frames)
    assert set(own) == set(other) == {"class_ids", "confidence"}
    for name in own:
        assert own[name].shape == other[name].shape == (shape[0], 61, 90)
        assert own[name].dtype == other[name].dtype == np.uint8
    assert (own["class_ids"] == other["class_ids"]).mean() >= 0.9999
    assert np.abs(own["confidence"].astype(int) - other["confidence"]).max() <= 1
    assert own["class_ids"].max() < 5


def test_the_network_decides_something(backends):
    answer = backends["torch"].run(images(2, 72, 104))
    assert len(np.unique(answer["class_ids"])) > 1


@pytest.mark.parametrize("name", ["torch", "onnxruntime"])
def test_answers_repeat_exactly(backends, name):
    frames = images(2, 90, 120)
    first, second = backends[name].run(frames), backends[name].run(frames)
    assert all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["torch", "onnxruntime"])
def test_frames_are_views_of_message_bytes(backends, name):
    """Read-only, reversed or strided arrays are taken, and left as they are."""
    frames = images(1, 80, 100)
    expected = backends[name].run(frames)
    frozen = np.frombuffer(frames.tobytes(), np.uint8).reshape(frames.shape)
    padded = np.zeros((1, 80, 110, 3), np.uint8)
    padded[:, :, :100] = frames
    reversed_twice = np.ascontiguousarray(frames[..., ::-1])[..., ::-1]
    for view in (frozen, padded[:, :, :100], reversed_twice):
        answer = backends[name].run(view)
        assert all(np.array_equal(answer[key], expected[key]) for key in expected)


def test_names_say_library_and_device(backends):
    assert backends["torch"].name == "torch-cpu"
    assert backends["onnxruntime"].name == "onnxruntime-cpu"
    assert not backends["torch"].prefers_batch
    assert not backends["onnxruntime"].prefers_batch


@pytest.mark.parametrize("name", ["torch", "onnxruntime"])
@pytest.mark.parametrize(
    "frames",
    [np.zeros((72, 104, 3), np.uint8), np.zeros((1, 72, 104, 3)), np.zeros((1, 72, 104, 4), np.uint8)],
    ids=["one frame", "float", "four channels"],
)
def test_wrong_images_are_named(backends, name, frames):
    with pytest.raises(BackendError) as caught:
        backends[name].run(frames)
    assert str(frames.shape) in str(caught.value)


@pytest.mark.parametrize("name", ["onnxruntime", "torch"])
def test_by_name_with_threads(bundle, name):
    before = torch.get_num_threads()
    try:
        backend = create_backend(name, bundle, threads=1)
        assert backend.run(images(1, 72, 104))["class_ids"].shape == (1, 61, 90)
    finally:
        torch.set_num_threads(before)


def test_workers_sleep_between_frames(bundle):
    entry = OnnxRuntimeBackend(bundle)._session.get_session_options().get_session_config_entry
    assert entry("session.intra_op.allow_spinning") == "0"


def test_an_unknown_provider_is_named(bundle):
    with pytest.raises(BackendError, match=r"no MagicExecutionProvider; it has .*CPUExecutionProvider"):
        OnnxRuntimeBackend(bundle, providers=["MagicExecutionProvider"])


def test_an_unknown_device_is_named(bundle):
    with pytest.raises(BackendError, match="abacus"):
        TorchBackend(bundle, device="abacus")


@pytest.fixture
def copy(bundle, tmp_path):
    """A bundle's folder to damage."""
    shutil.copytree(bundle.root, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize(
    ("name", "file"), [("onnxruntime", "portable.onnx"), ("torch", "weights.safetensors")]
)
def test_damaged_and_missing_files_are_named(copy, name, file):
    loaded = Bundle.load(copy)
    (copy / file).write_bytes(b"garbage")
    with pytest.raises(BackendError, match=file):
        create_backend(name, loaded)
    (copy / file).unlink()
    with pytest.raises(BackendError, match=file):
        create_backend(name, loaded)


def test_a_graph_without_its_weights_is_refused(copy):
    loaded = Bundle.load(copy)
    (copy / "weights.safetensors").unlink()
    with pytest.raises(BackendError, match=r"portable\.onnx.*weights\.safetensors"):
        OnnxRuntimeBackend(loaded)


def test_linked_files_are_read(bundle, backends, tmp_path, monkeypatch):
    """A symlink install links file by file: the weights then lie in another folder than the graph's link."""
    (tmp_path / "linked").mkdir()
    for file in bundle.root.iterdir():
        (tmp_path / "linked" / file.name).symlink_to(file)
    opened = []
    session = onnxruntime.InferenceSession

    def record(path, *rest, **options):
        opened.append(path)
        return session(path, *rest, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", record)
    frames = images(1, 72, 104)
    answers = OnnxRuntimeBackend(Bundle.load(tmp_path / "linked")).run(frames)
    assert opened == [str(bundle.root.resolve() / "portable.onnx")]
    for name, expected in backends["onnxruntime"].run(frames).items():
        assert np.array_equal(answers[name], expected)


def test_a_bundle_whose_graph_holds_its_weights_runs_as_well(bundle, backends, copy):
    """Earlier versions wrote such bundles."""
    complete = onnx.load(bundle.file("portable.onnx"))  # takes the weights in
    onnx.save(complete, copy / "portable.onnx")
    (copy / "weights.safetensors").unlink()
    frames = images(1, 72, 104)
    answers = OnnxRuntimeBackend(Bundle.load(copy, verify=False)).run(frames)
    for name, expected in backends["onnxruntime"].run(frames).items():
        assert np.array_equal(answers[name], expected)


def test_auto_falls_back_to_what_the_bundle_has(copy):
    loaded = Bundle.load(copy)
    assert create_backend("auto", loaded).name == "onnxruntime-cpu"
    (copy / "portable.onnx").unlink()
    assert create_backend("auto", loaded).name.startswith("torch-")


def test_weights_of_another_architecture_are_refused(copy):
    manifest = copy / "model.yaml"
    manifest.write_text(manifest.read_text().replace("head_channels: 16", "head_channels: 24"))
    with pytest.raises(BackendError, match=r"decode_head\."):
        TorchBackend(Bundle.load(copy))


@pytest.mark.parametrize(
    "change", [("num_classes: 5", "num_classes: 6"), ("channels: 16\n", "chanels: 16\n")]
)
def test_a_wrong_manifest_is_refused(copy, change):
    manifest = copy / "model.yaml"
    manifest.write_text(manifest.read_text().replace(*change))
    with pytest.raises(BackendError, match=r"classes|chanels"):
        TorchBackend(Bundle.load(copy))


@pytest.mark.parametrize("library", ["onnxruntime", "torch"])
def test_a_missing_library_is_named(bundle, monkeypatch, library):
    real = builtins.__import__

    def without(name, *rest, **options):
        if name.split(".")[0] == library:
            message = f"No module named {library!r}"
            raise ModuleNotFoundError(message)
        return real(name, *rest, **options)

    module = f"internimage_perception.inference.backends.{library}"
    monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", without)
    backend = importlib.import_module(module)
    kind = backend.TorchBackend if library == "torch" else backend.OnnxRuntimeBackend
    with pytest.raises(BackendError, match=f"pip install {library}"):
        kind(bundle)


def test_an_unknown_backend_is_named(bundle):
    with pytest.raises(ConfigError, match="onnxruntime"):
        create_backend("magic", bundle)
