"""Bundles: complete or not there at all."""

import hashlib
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

from internimage_perception.deploy import ExportReport, bundles, create_bundle
from internimage_perception.errors import BundleError, ConfigError, PerceptionError
from internimage_perception.inference.bundle import Bundle, ClassSpec, InputSpec, OutputSpec
from internimage_perception.models import create_model, load_checkpoint, load_weights

NETWORK = {
    "channels": 8,
    "depths": [1, 1, 1, 1],
    "groups": [1, 2, 4, 8],
    "head_channels": 8,
    "num_classes": 4,
}
BACKBONE = {key: NETWORK[key] for key in ("channels", "depths", "groups")}
CLASSES = tuple(ClassSpec(index, f"class {index}", (index, 0, 0)) for index in range(4))


def make(folder, **changes):
    arguments = {
        "architecture": NETWORK,
        "state_dict": None,
        "classes": CLASSES,
        "input_spec": InputSpec(64, 96),
        "output_spec": OutputSpec("model"),
        "name": "test",
    } | changes
    return create_bundle(folder, **arguments)


@pytest.fixture
def quick(monkeypatch):
    """Let another file stand for the graph, where the graph itself does not matter: tracing takes seconds."""

    def stand_in(graph, path, **_):
        data = repr((graph.size, graph.model.state_dict()["decode_head.conv_seg.bias"])).encode()
        path.write_bytes(data)
        return ExportReport(path, hashlib.sha256(data).hexdigest(), len(data), 0, ())

    monkeypatch.setattr(bundles, "export_portable", stand_in)


def test_a_bundle_holds_network_files_and_origin(tmp_path):
    bundle = make(tmp_path / "model", provenance={"note": "for tests"}, seed=5)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "model.yaml", "portable.onnx", "weights.safetensors",
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    loaded = Bundle.load(tmp_path / "model")
    assert loaded == bundle
    assert loaded.provenance == {"weights": "random, seed 5", "note": "for tests"}
    assert set(loaded.files) == {"portable.onnx", "weights.safetensors"}
    model = create_model(loaded.architecture)
    weights = load_checkpoint(loaded.file("weights.safetensors"))
    load_weights(model, weights)
    assert {value.dtype for value in weights.values()} == {torch.float16, torch.int64}


def test_weights_lie_in_the_folder_once(tmp_path):
    """The smallest network a bundle is shipped for: its weights as float16, and little else."""
    bundle = make(tmp_path / "model", architecture="upernet_internimage_nano")
    model = create_model(bundle.architecture)
    weights = 2 * sum(parameter.numel() for parameter in model.parameters())
    assert sum(path.stat().st_size for path in bundle.root.iterdir()) < 1.05 * weights
    graph = onnx.load(bundle.file("portable.onnx"), load_external_data=False).graph
    places = [
        {item.key: item.value for item in tensor.external_data}
        for tensor in graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    ]
    assert {place["location"] for place in places} == {"weights.safetensors"}
    assert sum(int(place["length"]) for place in places) > 0.98 * weights
    onnx.checker.check_model(bundle.file("portable.onnx"))


def test_the_graph_follows_its_folder(tmp_path):
    bundle = make(tmp_path / "model")
    bundle.root.rename(tmp_path / "moved")
    onnxruntime.InferenceSession(str(tmp_path / "moved" / "portable.onnx"))


@pytest.mark.usefixtures("quick")
def test_given_weights_are_rounded_once_and_the_training_head_left_out(tmp_path):
    torch.manual_seed(1)
    trained = create_model(NETWORK | {"aux_channels": 8})
    bundle = make(
        tmp_path / "model",
        architecture=NETWORK | {"aux_channels": 8},
        state_dict=trained.state_dict(),
        provenance={"weights": "this test"},
    )
    weights = load_checkpoint(bundle.file("weights.safetensors"))
    assert not any(key.startswith("auxiliary_head.") for key in weights)
    expected = trained.backbone.levels[0].blocks[0].mlp.fc1.weight.half()
    assert torch.equal(weights["backbone.levels.0.blocks.0.mlp.fc1.weight"], expected)


def test_the_same_seed_makes_the_same_weights(tmp_path):
    state = torch.get_rng_state()
    first, second = (make(tmp_path / str(n), seed=1) for n in range(2))
    assert first.files == second.files
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.usefixtures("quick")
def test_a_name_adopts_the_number_of_classes(tmp_path):
    bundle = make(tmp_path / "model", architecture="upernet_internimage_nano")
    assert bundle.architecture["num_classes"] == 4


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        ({"architecture": NETWORK | {"num_classes": 5}}, ConfigError, "num_classes 5, but 4"),
        ({"architecture": "internimage_nano", "classes": CLASSES}, ConfigError, "head_channels"),
        ({"architecture": BACKBONE}, ConfigError, "backbone"),
        ({"architecture": "nothing"}, ConfigError, "nothing"),
        ({"state_dict": {}, "provenance": {"weights": "x"}}, BundleError, "missing"),
        ({"state_dict": create_model(NETWORK).state_dict()}, ConfigError, "provenance"),
        ({"input_spec": InputSpec(16, 96)}, ConfigError, "32"),
        ({"classes": CLASSES[1:] + CLASSES[:1]}, BundleError, "classes"),
    ],
)  # fmt: skip
def test_misfits_are_named_and_leave_nothing(tmp_path, change, kind, word):
    with pytest.raises(kind, match=word):
        make(tmp_path / "model", **change)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_an_existing_folder_is_kept_unless_asked(tmp_path):
    first = make(tmp_path / "model", seed=1)
    with pytest.raises(BundleError, match="already exists"):
        make(tmp_path / "model", seed=2)
    assert Bundle.load(tmp_path / "model") == first
    second = make(tmp_path / "model", seed=2, overwrite=True)
    assert Bundle.load(tmp_path / "model") == second
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.usefixtures("quick")
def test_a_failure_on_the_way_leaves_the_old_bundle(tmp_path, monkeypatch):
    first = make(tmp_path / "model", seed=1)

    def fail(*_, **__):
        raise BundleError("no")

    monkeypatch.setattr(bundles, "export_portable", fail)
    with pytest.raises(BundleError):
        make(tmp_path / "model", seed=2, overwrite=True)
    assert Bundle.load(tmp_path / "model") == first
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PerceptionError, match="choose another output folder"):
        make(tmp_path / "file" / "model")


@pytest.mark.usefixtures("quick")
def test_another_seed_makes_other_weights(tmp_path):
    first, second = (make(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    assert first.files["weights.safetensors"] != second.files["weights.safetensors"]


def test_the_specification_reaches_the_graph(tmp_path, monkeypatch):
    seen = []

    def record(graph, *_, **__):
        seen.append(graph)
        raise BundleError("enough")

    monkeypatch.setattr(bundles, "export_portable", record)
    spec = InputSpec(64, 96, channel_order="bgr", mean=(0.0, 50.0, 200.0), std=(2.0, 4.0, 8.0))
    with pytest.raises(BundleError, match="enough"):
        make(tmp_path / "model", input_spec=spec, output_spec=OutputSpec((30, 40)))
    (graph,) = seen
    assert (graph.size, graph.output_size, graph.channel_order) == ((64, 96), (30, 40), "bgr")
    assert graph.mean.flatten().tolist() == [0, 50, 200]
    assert graph.inverse_std.flatten().tolist() == [0.5, 0.25, 0.125]
    assert not graph.model.training


def test_overwriting_spares_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    with pytest.raises(BundleError, match="is no bundle"):
        create_bundle(
            tmp_path / "thesis", architecture="upernet_internimage_nano", state_dict=None, name="x",
            classes=[ClassSpec(0, "a", (0, 0, 0))], input_spec=InputSpec(64, 64),
            output_spec=OutputSpec("model"), overwrite=True,
        )  # fmt: skip
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "precious"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_make_no_bundle(tmp_path, value):
    state = create_model(NETWORK).state_dict()
    state["decode_head.conv_seg.bias"][2] = value
    with pytest.raises(BundleError, match=r"decode_head\.conv_seg\.bias holds values that are not finite"):
        make(tmp_path / "model", state_dict=state, provenance={"weights": "for tests"})
    assert not list(tmp_path.iterdir())
