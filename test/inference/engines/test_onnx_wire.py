"""Reading and shortening ONNX files without the onnx package, held against the onnx package."""

import onnx
import pytest
from onnx import TensorProto, helper

from internimage_perception.errors import BundleError
from internimage_perception.inference.engines.onnx_wire import (
    custom_operators,
    external_files,
    has_functions,
    without_functions,
)
from internimage_perception.resources import share_path

NANO = share_path("config/bundles/nano/portable.onnx")


def model(*nodes, functions=(), initializers=()):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        list(nodes), "g", [value("x", TensorProto.FLOAT, ["n"])], [value("y", TensorProto.FLOAT, ["n"])],
        list(initializers),
    )  # fmt: skip
    return helper.make_model(graph, functions=list(functions), opset_imports=[helper.make_opsetid("", 18)])


def inside(node):
    """Return an If with the node in one of its branches."""
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    branches = [helper.make_graph([item], "b", [], [value]) for item in (node, relu())]
    return helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])


def relu():
    return helper.make_node("Relu", ["x"], ["y"])


def special(domain="internimage"):
    return helper.make_node("DCNv3", ["x"], ["y"], domain=domain)


def test_a_shipped_graph():
    data = NANO.read_bytes()
    assert has_functions(data)
    assert custom_operators(data) == {"DCNv3"}
    assert external_files(data) == ("weights.safetensors",)


def test_only_functions_go():
    data = NANO.read_bytes()
    expected = onnx.load_model_from_string(data)
    del expected.functions[:]
    shortened = without_functions(data)
    assert onnx.load_model_from_string(shortened) == expected
    assert not has_functions(shortened)
    assert without_functions(shortened) == shortened
    # Nothing is written anew: the one function is the file's last field.
    assert data.startswith(shortened)


def test_fields_behind_the_functions_stay():
    """Fields may come in any order."""
    function = helper.make_function("d", "F", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [])
    data = model(functions=[function, function]).SerializeToString()
    behind = helper.make_model(
        helper.make_graph([special()], "g", [], []), producer_name="behind"
    ).SerializeToString()
    both = onnx.load_model_from_string(without_functions(data + behind))
    assert both.producer_name == "behind"
    assert not both.functions


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([relu()], set()),
        ([special("ai.onnx")], set()),
        ([relu(), special()], {"DCNv3"}),
        ([inside(special("other"))], {"DCNv3"}),
        ([inside(inside(special()))], {"DCNv3"}),
        ([inside(relu())], set()),
    ],
)
def test_operators_of_a_graph_and_of_graphs_within(nodes, expected):
    assert custom_operators(model(*nodes).SerializeToString()) == expected


def test_weights_outside_are_named_once():
    tensors = []
    for name, location in (("a", "w.data"), ("b", "w.data"), ("c", "other"), ("d", None)):
        tensor = helper.make_tensor(name, TensorProto.FLOAT, [1], bytes(4), raw=True)
        if location:
            onnx.external_data_helper.set_external_data(tensor, location, offset=4, length=4)
        tensors.append(tensor)
    assert external_files(model(relu(), initializers=tensors).SerializeToString()) == ("other", "w.data")


@pytest.mark.parametrize("function", [without_functions, has_functions, custom_operators, external_files])
def test_what_is_no_onnx_file_is_said(function):
    data = NANO.read_bytes()
    for wrong in (data[:-1], b"garbage", b"\xff" * 30, b"\x0b"):
        with pytest.raises(BundleError, match="not an ONNX file"):
            function(wrong)
