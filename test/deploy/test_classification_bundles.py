"""Bundles of classifiers: official answers from raw pictures, names apart, misfits named."""

import dataclasses

import numpy as np
import onnx
import pytest
import torch

from internimage_perception.deploy import bundles, check_export, create_bundle
from internimage_perception.errors import BackendError, BundleError, ConfigError
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import Bundle, ClassSpec, InputSpec, OutputSpec
from internimage_perception.inference.tasks import ClassificationTask
from internimage_perception.models import create_model, deploy_model, load_checkpoint

NETWORK = {"channels": 8, "depths": [1, 1, 1, 1], "groups": [1, 2, 4, 8], "num_classes": 4}
CLASSES = tuple(ClassSpec(index, f"class {index}") for index in range(4))
PICTURES = ["75_131_1", "240_100_2", "40_33_3", "65_64_4", "301_402_5"]


def make(folder, **changes):
    arguments = {
        "architecture": NETWORK,
        "state_dict": None,
        "classes": CLASSES,
        "input_spec": InputSpec(64, 64),
        "name": "test",
    } | changes
    return create_bundle(folder, **arguments)


@pytest.fixture(scope="module", params=["T", "LXL", "H_smallclip"])
def official(request, golden, recipe, tmp_path_factory):
    """A bundle of a network with both kinds of head, its name and the official answers."""
    stored = np.load(golden / f"internimage_tiny_cls_{request.param}.npz")
    configuration = recipe.config(stored)
    shapes = create_model(configuration).state_dict()
    weights = {key: torch.from_numpy(recipe.weight(key, tuple(v.shape))) for key, v in shapes.items()}
    bundle = make(
        tmp_path_factory.mktemp("official") / "bundle",
        architecture=configuration,
        state_dict=weights,
        classes=[ClassSpec(index, f"class {index}") for index in range(configuration["num_classes"])],
        provenance={"weights": "recipe"},
    )
    return bundle, request.param, np.load(golden / "classification_official.npz")


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_the_official_answers_from_raw_pictures(official, recipe, backend):
    """Preparation, network, softmax and order against InternImage's own code on Pillow's images."""
    bundle, variant, stored = official
    task = ClassificationTask(bundle, create_backend(backend, bundle))
    for index, case in enumerate(PICTURES):
        answer = task.run(recipe.picture(*map(int, case.split("_"))))
        # With the weights that a bundle holds, rounded to float16, nothing else may differ.
        for name, tolerance in ((f"logits_{variant}_half", 2e-5), (f"logits_{variant}", 5e-3)):
            logits = stored[name][index].astype(np.float64)
            expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            ranked = [expected[item.id] for item in answer]
            np.testing.assert_allclose([item.probability for item in answer], ranked, rtol=tolerance)
            np.testing.assert_allclose(ranked, np.sort(expected)[::-1][:5], rtol=tolerance)
        assert len({item.id for item in answer}) == 5


def test_a_bundle_says_what_it_holds(official):
    bundle, _, _ = official
    loaded = Bundle.load(bundle.root)
    assert loaded == bundle
    assert loaded.task == "classification"
    assert [item.name for item in loaded.classes] == [f"class {index}" for index in range(10)]
    assert list(loaded.files) == ["weights.safetensors", "portable.onnx", "classes.txt"]
    manifest = loaded.to_dict()
    assert manifest["classes"] == "classes.txt"
    assert "output" not in manifest
    assert {value.dtype for value in load_checkpoint(loaded.file("weights.safetensors")).values()} <= {
        torch.float16, torch.int64,
    }  # fmt: skip


def test_the_graph_answers_ranks_of_any_frame(official):
    bundle, _, _ = official
    model = onnx.load(bundle.file("portable.onnx"))
    outputs = {
        output.name: (
            output.type.tensor_type.elem_type,
            [dim.dim_param or dim.dim_value for dim in output.type.tensor_type.shape.dim],
        )
        for output in model.graph.output
    }
    assert outputs == {
        "class_ids": (onnx.TensorProto.INT32, ["batch", 5]),
        "probabilities": (onnx.TensorProto.FLOAT, ["batch", 5]),
    }
    frames = np.random.default_rng(0).integers(0, 256, (3, 45, 70, 3), dtype=np.uint8)
    answers = [create_backend(name, bundle).run(frames) for name in ("onnxruntime", "torch")]
    np.testing.assert_array_equal(answers[0]["class_ids"], answers[1]["class_ids"])
    np.testing.assert_allclose(answers[0]["probabilities"], answers[1]["probabilities"], rtol=1e-4)
    assert (np.diff(answers[0]["probabilities"], axis=1) <= 0).all()


def test_the_check_sees_a_small_difference(official):
    """Another softmax, another order: either is enough."""
    bundle, _, _ = official
    model = create_model(bundle.architecture)
    model.load_state_dict(
        {k: v.float() for k, v in load_checkpoint(bundle.file("weights.safetensors")).items()}
    )
    graph = deploy_model(model.eval(), height=64, width=64, mean=bundle.input.mean, std=bundle.input.std)
    with torch.no_grad():
        ids, probabilities = check_export(graph, bundle.file("portable.onnx"))
        assert (ids.name, probabilities.name) == ("class_ids", "probabilities")
        assert ids.identical == probabilities.identical == 1
        assert probabilities.max_difference < 1e-3
        model.head.bias += 0.05 * torch.arange(10)
        ids, probabilities = check_export(graph, bundle.file("portable.onnx"))
    assert ids.identical < 0.999
    assert probabilities.identical < 0.999


def test_fewer_classes_than_ranks(tmp_path):
    bundle = make(tmp_path / "model")
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    for name in ("onnxruntime", "torch"):
        answer = create_backend(name, bundle).run(frames)
        assert answer["class_ids"].shape == (2, 4)
        np.testing.assert_allclose(answer["probabilities"].sum(axis=1), 1, rtol=1e-5)
    # A manifest that claims another task than its graph's.
    claims = dataclasses.replace(bundle, task="segmentation")
    with pytest.raises(BackendError, match="no deployed segmentation graph: it answers class_ids, prob"):
        create_backend("onnxruntime", claims)
    with pytest.raises(BackendError, match="not one for segmentation"):
        create_backend("torch", claims)


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        ({"architecture": NETWORK | {"num_classes": 5}}, ConfigError, "num_classes 5, but 4"),
        ({"architecture": "internimage_t"}, ConfigError, "bare backbone"),
        ({"output_spec": OutputSpec("input")}, ConfigError, "answers no masks"),
        ({"classes": [*CLASSES[:3], ClassSpec(3, "two\nlines")]}, ConfigError, "class 3 cannot be called"),
        ({"classes": [*CLASSES[:3], ClassSpec(3, "")]}, ConfigError, "class 3 cannot be called ''"),
        ({"classes": CLASSES[1:] + CLASSES[:1]}, BundleError, "ids 0, 1, 2"),
        ({"classes": ()}, BundleError, "ids 0, 1, 2"),
        ({"state_dict": {}, "provenance": {"weights": "x"}}, BundleError, "missing"),
    ],
)  # fmt: skip
def test_misfits_are_named_and_leave_nothing(tmp_path, monkeypatch, change, kind, word):
    monkeypatch.setattr(bundles, "export_portable", None)  # nothing may come so far
    with pytest.raises(kind, match=word):
        make(tmp_path / "model", **change)
    assert list(tmp_path.iterdir()) == []
