"""Where a portable graph's numbers lie: in the file itself, or in the bundle's safetensors file."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from internimage_perception.errors import ConfigError
from internimage_perception.models.checkpoints import StoredTensor, stored_tensors

HALF_FROM = 96
"""Initialisers with fewer values stay as they are: a cast and a reference would take as much room."""

_Array = npt.NDArray[np.float16] | npt.NDArray[np.float32]
_TYPES = {"F16": onnx.TensorProto.FLOAT16, "F32": onnx.TensorProto.FLOAT}


class WeightsFile:
    """The tensors of a safetensors file, found by their content.

    By content, because an exporter renames tensors, merges equal ones and transposes matrices.

    Args:
        path: the file.

    Raises:
        BundleError: it is no safetensors file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[tuple[str, bytes], StoredTensor] = {}
        tensors = stored_tensors(path)
        content = np.memmap(path, np.uint8, mode="r")
        for tensor in tensors.values():
            values = content[tensor.offset : tensor.offset + tensor.length]
            self._places.setdefault((tensor.dtype, _digest(values)), tensor)

    def find(self, values: _Array) -> StoredTensor | None:
        """Return the tensor whose bytes are these values row by row, whatever its shape; None without one."""
        dtype = "F16" if values.dtype == np.float16 else "F32"
        return self._places.get((dtype, _digest(np.ascontiguousarray(values))))


def store_initializers(model: onnx.ModelProto, weights: WeightsFile | None = None) -> int:
    """Give every large float32 initialiser of a graph its smallest exact form.

    With `weights`, what the file holds is referred to there (ONNX external data), in the file's type, with
    a cast behind where that is float16, and a transposition behind where the exporter had turned a matrix.
    Everything else stays in the model, as float16 with a cast behind where that is exact. Runtimes compute
    casts and transpositions of constants once, when they load the model. A convolution's bias stays as it
    is, because TensorRT takes no computed one.

    Args:
        model: changed in place.
        weights: file in the folder where the model will lie.

    Returns:
        The bytes of the file that the model refers to.

    Raises:
        ConfigError: the file holds none of the model's large tensors.
    """
    biases = {node.input[2] for node in model.graph.node if node.op_type == "Conv" and len(node.input) > 2}
    prepared: list[onnx.NodeProto] = []
    lengths: dict[int, int] = {}
    large = 0
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or tensor.name in biases:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < HALF_FROM:
            continue
        large += 1
        name = tensor.name
        half = _as_half(values)
        found = _find(weights, values, half) if weights else None
        if weights and found:
            place, turned = found
            lengths[place.offset] = place.length
            tensor.CopyFrom(_reference(tensor, weights.path.name, place, turned=turned))
            prepared += _restore(tensor, name, turned=turned)
        elif half is not None:
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
            prepared += _restore(tensor, name, turned=False)
    if weights and large and not lengths:
        message = f"{weights.path} holds none of the graph's weights; save those of the same network there"
        raise ConfigError(message)
    nodes = [*prepared, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return sum(lengths.values())


def _as_half(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float16] | None:
    """Return the values as float16 when that is exact."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), values) else None


def _find(
    weights: WeightsFile, values: npt.NDArray[np.float32], half: npt.NDArray[np.float16] | None
) -> tuple[StoredTensor, bool] | None:
    """Return the stored tensor, and whether it is the transposed matrix."""
    for form in _forms(values, half):
        if place := weights.find(form):
            return place, False
        if form.ndim == 2 and (place := weights.find(form.T)):
            return place, True
    return None


def _forms(values: npt.NDArray[np.float32], half: npt.NDArray[np.float16] | None) -> Iterator[_Array]:
    if half is not None:
        yield half
    yield values


def _reference(
    tensor: onnx.TensorProto, location: str, place: StoredTensor, *, turned: bool
) -> onnx.TensorProto:
    """Return an initialiser without values of its own, which lie in the file at `location`."""
    dims = reversed(tensor.dims) if turned else tensor.dims
    reference = onnx.TensorProto(name=f"{tensor.name}.stored", data_type=_TYPES[place.dtype], dims=dims)
    reference.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", place.offset), ("length", place.length)):
        reference.external_data.add(key=key, value=str(value))
    return reference


def _restore(tensor: onnx.TensorProto, name: str, *, turned: bool) -> list[onnx.NodeProto]:
    """Return the nodes that make float32 values called `name` of a stored tensor."""
    half = tensor.data_type == onnx.TensorProto.FLOAT16
    cast = f"{name}.cast" if half and turned else name
    nodes: list[onnx.NodeProto] = []
    if half:
        nodes.append(helper.make_node("Cast", [tensor.name], [cast], to=onnx.TensorProto.FLOAT))
    if turned:
        source = cast if half else tensor.name
        nodes.append(helper.make_node("Transpose", [source], [name], perm=[1, 0]))
    if not nodes:
        tensor.name = name
    return nodes


def _digest(values: npt.NDArray[np.generic]) -> bytes:
    return hashlib.sha256(values.data).digest()
