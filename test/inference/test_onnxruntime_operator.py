"""DCNv3 as a custom operator of ONNX Runtime against the function that travels in the graph."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from support.dcnv3_calls import draw_call, geometry_of

from internimage_perception.deploy.dcnv3_function import (
    DOMAIN,
    NAME,
    OPSET,
    dcnv3_attributes,
    dcnv3_function,
)
from internimage_perception.inference.backends.onnxruntime import OnnxRuntimeBackend
from internimage_perception.inference.bundle import Bundle
from internimage_perception.native_files import OPS_ENVIRONMENT, first_library
from internimage_perception.resources import bundle_path

LIBRARY = first_library("libdcnv3_onnxruntime.so")
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="built without ONNX Runtime's headers")


def model_of(geometry, per_group, *, function):
    node = helper.make_node(
        NAME, ["input", "offset", "mask"], ["output"], domain=DOMAIN,
        **dcnv3_attributes(
            kernel_size=geometry.kernel_size, stride=geometry.stride, padding=geometry.padding,
            dilation=geometry.dilation, group=geometry.group, group_channels=per_group,
            offset_scale=geometry.offset_scale, remove_center=geometry.remove_center,
        ),
    )  # fmt: skip
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4)
        for name in ("input", "offset", "mask", "output")
    ]
    graph = helper.make_graph([node], "one", tensors[:3], tensors[3:])
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    functions = [dcnv3_function()] if function else []
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=9)


def session_of(model, *, native):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if native:
        options.register_custom_ops_library(str(LIBRARY))
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def feed(call):
    return {name: tensor.numpy() for name, tensor in zip(("input", "offset", "mask"), call, strict=False)}


@pytest.mark.parametrize(
    ("arguments", "size", "per_group"),
    [
        ({"kernel_size": 3, "group": 4}, (9, 11), 16),
        ({"kernel_size": 5, "group": 2, "padding": 2, "remove_center": True}, (8, 7), 32),
        ({"kernel_size": (3, 5), "group": 3, "stride": (2, 1), "padding": (0, 3)}, (12, 10), 5),
        ({"kernel_size": 3, "group": 2, "dilation": 2, "offset_scale": 2.0, "padding": 2}, (6, 13), 8),
    ],
)
def test_agrees_with_the_function(arguments, size, per_group):
    geometry = geometry_of(**arguments)
    plain = session_of(model_of(geometry, per_group, function=True), native=False)
    # Without the function in the graph, only the custom operator can answer.
    native = session_of(model_of(geometry, per_group, function=False), native=True)
    for batch in (1, 3):
        call = draw_call(batch, geometry, size, per_group, batch=batch, dtype=torch.float32)[:3]
        (mine,), (theirs,) = native.run(None, feed(call)), plain.run(None, feed(call))
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)


def test_several_sessions_share_the_operator():
    geometry = geometry_of(kernel_size=3, group=2)
    model = model_of(geometry, 8, function=True)
    call = draw_call(5, geometry, (5, 6), 8, dtype=torch.float32)[:3]
    answers = [session_of(model, native=True).run(None, feed(call))[0] for _ in range(3)]
    assert all(np.array_equal(answers[0], other) for other in answers)


@pytest.mark.parametrize(("index", "axis"), [(0, 3), (1, 3), (2, 3), (2, 1), (1, 0)])
def test_tensors_that_do_not_fit_are_refused(index, axis):
    geometry = geometry_of(kernel_size=3, group=2)
    call = list(draw_call(6, geometry, (5, 6), 8, dtype=torch.float32)[:3])
    call[index] = call[index].narrow(axis, 0, call[index].shape[axis] - 1).contiguous()
    session = session_of(model_of(geometry, 8, function=False), native=True)
    with pytest.raises(Exception, match="do not fit"):
        session.run(None, feed(call))


def test_the_backend_gives_the_same_masks(monkeypatch):
    bundle = Bundle.load(bundle_path("nano"))
    frames = np.random.default_rng(3).integers(0, 256, (2, 480, 640, 3), dtype=np.uint8)
    native = OnnxRuntimeBackend(bundle).run(frames)
    monkeypatch.setenv(OPS_ENVIRONMENT, "reference")
    plain = OnnxRuntimeBackend(bundle).run(frames)
    assert (native["class_ids"] == plain["class_ids"]).mean() > 0.999
    difference = np.abs(native["confidence"].astype(np.float64) - plain["confidence"])
    assert np.quantile(difference, 0.999) <= 1.0 + 1e-3


def test_a_broken_library_is_left_out(monkeypatch, tmp_path, caplog):
    (tmp_path / "libdcnv3_onnxruntime.so").write_bytes(b"no library")
    monkeypatch.setenv("INTERNIMAGE_PERCEPTION_LIBRARY_PATH", str(tmp_path))
    backend = OnnxRuntimeBackend(Bundle.load(bundle_path("nano")))
    assert "cannot be used" in caplog.text
    assert backend.run(np.zeros((1, 48, 64, 3), np.uint8))["class_ids"].shape[0] == 1


def test_the_graph_s_model_is_valid():
    onnx.checker.check_model(model_of(geometry_of(kernel_size=3, group=2), 8, function=True))
