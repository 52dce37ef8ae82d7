"""Where the numbers of a graph lie: exact, once, and in the folder."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from internimage_perception.deploy.initializers import HALF_FROM, WeightsFile, store_initializers
from internimage_perception.errors import BundleError, ConfigError
from internimage_perception.models import save_checkpoint

GENERATOR = np.random.default_rng(0)
EXACT = GENERATOR.normal(size=(12, 16)).astype(np.float16).astype(np.float32)
INEXACT = GENERATOR.normal(size=(12, 16)).astype(np.float32)
HUGE = np.where(np.arange(192).reshape(12, 16) == 5, 1e5, EXACT).astype(np.float32)


def identity_model(**constants):
    """Return a model that answers its constants."""
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in constants]
    outputs = [
        helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, values.shape)
        for name, values in constants.items()
    ]
    initializers = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "constants", [], outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def weights_file(folder, **tensors):
    path = folder / "weights.safetensors"
    save_checkpoint(path, {name: torch.from_numpy(values.copy()) for name, values in tensors.items()})
    return WeightsFile(path)


def run(model, folder):
    path = folder / "model.onnx"
    onnx.save(model, path)
    onnx.checker.check_model(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {})


def stored(model):
    """Return name, type, location of each initialiser, and the operators before the answers."""
    return (
        [
            (tensor.name, tensor.data_type, {item.key: item.value for item in tensor.external_data})
            for tensor in model.graph.initializer
        ],
        [node.op_type for node in model.graph.node if node.op_type != "Identity"],
    )


def same(answers, *constants):
    return all(
        answer.dtype == np.float32 and np.array_equal(answer, values)
        for answer, values in zip(answers, constants, strict=True)
    )


def test_without_a_file_what_float16_holds_becomes_float16(tmp_path):
    model = identity_model(a=EXACT, b=INEXACT, c=HUGE)
    assert store_initializers(model) == 0
    assert stored(model) == (
        [("a.half", TensorProto.FLOAT16, {}), ("b", TensorProto.FLOAT, {}), ("c", TensorProto.FLOAT, {})],
        ["Cast"],
    )
    assert same(run(model, tmp_path), EXACT, INEXACT, HUGE)


@pytest.mark.parametrize(
    ("values", "kept", "kind", "steps"),
    [
        (EXACT, EXACT.astype(np.float16), TensorProto.FLOAT16, ["Cast"]),
        (EXACT, EXACT.astype(np.float16).T, TensorProto.FLOAT16, ["Cast", "Transpose"]),
        (EXACT, EXACT, TensorProto.FLOAT, []),
        (HUGE, HUGE, TensorProto.FLOAT, []),
        (HUGE, HUGE.T, TensorProto.FLOAT, ["Transpose"]),
        (EXACT.reshape(-1, 1, 1), EXACT.astype(np.float16), TensorProto.FLOAT16, ["Cast"]),
    ],
    ids=["half", "half, transposed", "float32 file", "beyond float16", "beyond, transposed", "reshaped"],
)
def test_what_the_file_holds_is_referred_to(tmp_path, values, kept, kind, steps):
    """An odd tensor in front puts the others on odd places, as safetensors packs them."""
    file = weights_file(tmp_path, a=np.ones(3, np.float16), kept=kept, other=INEXACT)
    model = identity_model(weight=values)
    assert store_initializers(model, file) == kept.nbytes
    (tensor,), nodes = stored(model)
    assert tensor[1] == kind
    assert tensor[2]["location"] == "weights.safetensors"
    assert int(tensor[2]["length"]) == kept.nbytes
    assert nodes == steps
    assert not model.graph.initializer[0].raw_data
    assert same(run(model, tmp_path), values)


def test_what_the_file_lacks_stays_in_the_model(tmp_path):
    file = weights_file(tmp_path, a=EXACT.astype(np.float16))
    model = identity_model(a=EXACT, b=EXACT + 1, c=INEXACT)
    store_initializers(model, file)
    places = [bool(place) for _, _, place in stored(model)[0]]
    assert places == [True, False, False]
    assert same(run(model, tmp_path), EXACT, EXACT + 1, INEXACT)


def test_equal_tensors_share_their_place(tmp_path):
    file = weights_file(tmp_path, a=EXACT.astype(np.float16), b=EXACT.astype(np.float16))
    model = identity_model(a=EXACT, b=EXACT, c=EXACT.T.copy())
    assert store_initializers(model, file) == EXACT.size * 2
    assert same(run(model, tmp_path), EXACT, EXACT, EXACT.T)


def test_small_tensors_and_integers_stay(tmp_path):
    small = np.ones(HALF_FROM - 1, np.float32)
    file = weights_file(tmp_path, small=small.astype(np.float16), a=EXACT.astype(np.float16))
    model = identity_model(small=small, a=EXACT)
    model.graph.initializer.append(numpy_helper.from_array(np.arange(500), "numbers"))
    store_initializers(model, file)
    kinds = {name: bool(place) for name, _, place in stored(model)[0]}
    assert kinds == {"small": False, "a.stored": True, "numbers": False}


def test_biases_of_convolutions_stay_constants(tmp_path):
    """TensorRT refuses a convolution whose bias is computed, be it by a cast."""
    bias = np.arange(HALF_FROM * 2, dtype=np.float32)
    weight = GENERATOR.normal(size=(HALF_FROM * 2, 1, 1, 1)).astype(np.float16).astype(np.float32)
    model = identity_model(bias=bias, weight=weight)
    model.graph.node.append(helper.make_node("Conv", ["x", "weight", "bias"], ["y"]))
    file = weights_file(tmp_path, bias=bias.astype(np.float16), weight=weight.astype(np.float16))
    store_initializers(model, file)
    assert {name: bool(place) for name, _, place in stored(model)[0]} == {
        "bias": False, "weight.stored": True,
    }  # fmt: skip


def test_a_file_of_another_network_is_refused(tmp_path):
    file = weights_file(tmp_path, a=INEXACT)
    with pytest.raises(ConfigError, match=r"weights\.safetensors holds none"):
        store_initializers(identity_model(a=EXACT), file)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "weights.safetensors").touch()
    with pytest.raises(BundleError, match="damaged"):
        WeightsFile(tmp_path / "weights.safetensors")
