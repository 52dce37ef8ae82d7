"""The portable file against PyTorch: any size, any batch, and what is in it."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from internimage_perception.deploy import check_export, export, export_portable, tracing
from internimage_perception.errors import BundleError, ConfigError
from internimage_perception.models import DeployedSegmentation, create_model, save_checkpoint

NETWORKS = {
    "pre-norm": {"channels": 16, "depths": [1, 1, 1, 1], "groups": [1, 2, 4, 8]},
    "post-norm, scaled offsets": {
        "channels": 16, "depths": [1, 1, 1, 1], "groups": [2, 4, 8, 16],
        "post_norm": True, "layer_scale": 0.5, "offset_scale": 2.0,
    },
    "norms of H": {
        "channels": 16, "depths": [1, 1, 2, 1], "groups": [1, 2, 4, 8], "dw_kernel_size": 5,
        "res_post_norm": True, "level2_post_norm": True, "level2_post_norm_block_ids": [1],
        "center_feature_scale": True,
    },
}  # fmt: skip


def lively(configuration, seed=0):
    """Return a network whose offsets, masks and answers differ from place to place."""
    torch.manual_seed(seed)
    model = create_model(configuration | {"head_channels": 16, "num_classes": 6})
    for name, parameter in model.named_parameters():
        if ".offset." in name or ".mask." in name:
            torch.nn.init.normal_(parameter, std=0.2)
        if "conv_seg" in name:
            torch.nn.init.normal_(parameter, std=0.5)
        parameter.data = parameter.data.half().float()
    return model.eval()


def deployed(configuration, **changes):
    arguments = {
        "height": 96,
        "width": 128,
        "mean": (120.0, 115.0, 100.0),
        "std": (58.0, 57.0, 56.0),
    } | changes
    return DeployedSegmentation(lively(configuration), **arguments).eval()


@pytest.fixture(scope="module", params=NETWORKS.values(), ids=NETWORKS.keys())
def exported(request, tmp_path_factory):
    """Return a graph, its file and the report."""
    graph = deployed(request.param, output_size="input", channel_order="bgr")
    path = tmp_path_factory.mktemp("export") / "portable.onnx"
    return graph, path, export_portable(graph, path, metadata={"name": "test", "version": "3"})


def answers(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["class_ids", "confidence"], {"images": images})


@pytest.mark.parametrize("shape", [(1, 96, 128), (4, 75, 131), (2, 33, 200), (1, 1, 1), (3, 211, 64)])
def test_answers_like_pytorch_at_any_size(exported, shape):
    graph, path, _ = exported
    images = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    ids, confidence = answers(path, images)
    with torch.inference_mode():
        own_ids, own_confidence = (tensor.numpy() for tensor in graph(torch.from_numpy(images)))
    assert ids.shape == shape
    assert ids.dtype == confidence.dtype == np.uint8
    assert (ids == own_ids).mean() >= 0.9999
    assert np.abs(confidence.astype(int) - own_confidence).max() <= 1


def test_the_network_decides_something(exported):
    """The comparisons mean nothing for a graph that always answers the same."""
    _, path, _ = exported
    images = np.random.default_rng(1).integers(0, 256, (2, 96, 128, 3), dtype=np.uint8)
    ids, confidence = answers(path, images)
    assert len(np.unique(ids)) > 1
    assert len(np.unique(confidence)) > 10


def test_report_and_file_agree(exported):
    _, path, report = exported
    data = path.read_bytes()
    assert report.path == path
    assert report.size == len(data)
    assert report.external == 0
    assert report.sha256 == hashlib.sha256(data).hexdigest()
    assert [agreement.name for agreement in report.agreements] == ["class_ids", "confidence"]
    assert report.agreements[0].identical >= 0.9999
    assert "class_ids: 100" in str(report.agreements[0])


def test_every_layer_is_one_node_beside_one_function(exported):
    graph, path, _ = exported
    model = onnx.load(path)
    onnx.checker.check_model(model)
    layers = sum(sum(1 for _ in stage.blocks) for stage in graph.model.backbone.levels)
    nodes = [node for node in model.graph.node if node.op_type == "DCNv3"]
    assert len(nodes) == layers
    assert {(function.domain, function.name) for function in model.functions} == {("internimage", "DCNv3")}
    assert {node.domain for node in model.graph.node if node.op_type != "DCNv3"} == {""}
    assert not any(node.op_type == "GridSample" for node in model.graph.node)


def test_inputs_and_outputs_are_bytes_of_free_size(exported):
    _, path, _ = exported
    model = onnx.load(path)
    for value, last in ((model.graph.input[0], 3), *((output, None) for output in model.graph.output)):
        tensor = value.type.tensor_type
        assert tensor.elem_type == TensorProto.UINT8
        sizes = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
        assert sizes == ["batch", "height", "width"] + ([last] if last else [])


def test_bytes_are_only_converted(exported):
    """TensorRT takes uint8 at the border of a graph, and there only into and out of casts."""
    _, path, _ = exported
    model = onnx.load(path)
    readers = {node.op_type for node in model.graph.node if "images" in node.input}
    writers = {node.op_type for node in model.graph.node if {"class_ids", "confidence"} & set(node.output)}
    assert readers == {"Cast", "Shape"}
    assert writers == {"Cast"}


def test_the_file_is_half_as_large_and_tells_where_it_is_from(exported):
    graph, path, report = exported
    model = onnx.load(path)
    properties = {item.key: item.value for item in model.metadata_props}
    assert properties["name"] == "test"
    assert properties["version"] == "3"
    assert len(properties["weights_sha256"]) == 64
    floats = sum(4 * parameter.numel() for parameter in graph.model.parameters())
    assert report.size < 0.5 * floats + 200_000
    text = path.read_bytes()
    for trace in ("site-packages", "pkg.torch", str(Path(__file__).parents[2]), str(Path.home())):
        assert trace.encode() not in text


def test_weights_that_float16_cannot_hold_stay_exact(tmp_path):
    graph = deployed(NETWORKS["pre-norm"])
    with torch.no_grad():
        graph.model.decode_head.conv_seg.weight.add_(1e-5)
        graph.model.decode_head.fpn_bottleneck.conv.weight.mul_(1.0001)
    path = tmp_path / "portable.onnx"
    export_portable(graph, path)
    kinds = {item.name: item.data_type for item in onnx.load(path).graph.initializer}
    assert kinds["model.decode_head.fpn_bottleneck.conv.weight"] == TensorProto.FLOAT
    assert kinds["model.decode_head.bottleneck.conv.weight.half"] == TensorProto.FLOAT16


def test_exporting_leaves_the_graph_as_it_was(tmp_path):
    graph = deployed(NETWORKS["pre-norm"])
    before = {key: value.clone() for key, value in graph.state_dict().items()}
    export_portable(graph, tmp_path / "portable.onnx")
    after = graph.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_a_file_that_answers_differently_is_not_kept(tmp_path, monkeypatch):
    graph = deployed(NETWORKS["pre-norm"])
    original = tracing.dcnv3_function

    def broken():
        function = original()
        text = next(node for node in function.node if node.output == ["grid"])
        text.op_type = "Sub"
        return function

    monkeypatch.setattr(tracing, "dcnv3_function", broken)
    with pytest.raises(BundleError, match="class_ids: "):
        export_portable(graph, tmp_path / "portable.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_graph_beyond_the_format_needs_a_weights_file(tmp_path, monkeypatch):
    graph = deployed(NETWORKS["pre-norm"])
    limit = 150_000
    assert 2 * sum(parameter.numel() for parameter in graph.model.parameters()) > limit
    monkeypatch.setattr(export, "_PROTOBUF_LIMIT", limit)
    with pytest.raises(ConfigError, match="2 GB: let it refer to a weights file"):
        export_portable(graph, tmp_path / "portable.onnx")
    assert list(tmp_path.iterdir()) == []
    save_checkpoint(tmp_path / "weights.safetensors", graph.model.state_dict(), half=True)
    report = export_portable(graph, tmp_path / "portable.onnx", weights=tmp_path / "weights.safetensors")
    assert report.agreements[0].identical >= 0.9999


@pytest.fixture
def compact(exported, tmp_path):
    """Return the same graph with its weights in a file beside it, and the report."""
    graph, _, _ = exported
    save_checkpoint(tmp_path / "weights.safetensors", graph.model.state_dict(), half=True)
    path = tmp_path / "portable.onnx"
    return path, export_portable(graph, path, weights=tmp_path / "weights.safetensors")


def optimized(path, folder):
    """Return the graph as ONNX Runtime runs it."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / f"{path.parent.name}_optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath).graph


def test_weights_beside_the_graph_change_nothing(exported, compact, tmp_path):
    """Bit for bit the same answers, from the same operators: nothing is left to do for each frame."""
    _, complete, complete_report = exported
    path, report = compact
    assert report.size + report.external < complete_report.size + 100_000
    assert report.external > 0.8 * complete_report.size - 200_000
    images = np.random.default_rng(1).integers(0, 256, (2, 75, 131, 3), dtype=np.uint8)
    for own, other in zip(answers(path, images), answers(complete, images), strict=True):
        assert np.array_equal(own, other)
    graphs = [optimized(file, tmp_path) for file in (path, complete)]
    kinds = [sorted(node.op_type for node in graph.node) for graph in graphs]
    assert kinds[0] == kinds[1]
    constants = {tensor.name for tensor in graphs[0].initializer}
    moved = [node for node in graphs[0].node if node.op_type in {"Cast", "Transpose"}]
    assert not any(node.input[0] in constants for node in moved)


def test_weights_elsewhere_are_refused(tmp_path):
    graph = deployed(NETWORKS["pre-norm"])
    save_checkpoint(tmp_path / "weights.safetensors", graph.model.state_dict(), half=True)
    with pytest.raises(ConfigError, match="must lie beside"):
        export_portable(graph, tmp_path / "there" / "portable.onnx", weights=tmp_path / "weights.safetensors")


def test_the_check_sees_a_small_difference(exported, tmp_path):
    graph, path, _ = exported
    model = onnx.load(path)
    bias = next(item for item in model.graph.initializer if item.name.endswith("conv_seg.bias"))
    changed = onnx.numpy_helper.to_array(bias) + np.arange(6, dtype=np.float32)
    bias.CopyFrom(onnx.numpy_helper.from_array(changed, bias.name))
    onnx.save(model, tmp_path / "changed.onnx")
    agreement = check_export(graph, tmp_path / "changed.onnx")[0]
    assert agreement.identical < 0.99


def test_a_batch_norm_is_two_operators(exported):
    _, path, _ = exported
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert "BatchNormalization" not in operators
    assert helper.np_dtype_to_tensor_dtype(np.dtype(np.uint8)) == TensorProto.UINT8
