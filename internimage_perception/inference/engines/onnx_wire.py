"""What has to be known of an ONNX file before TensorRT reads it, without the onnx package.

An ONNX file is one protobuf message, a sequence of fields: a tag (field number and kind), then a value, most
of them with their length in front. Values are skipped by their length, so that weights are never looked at.
Numbers of the fields are those of `onnx.proto`.
"""

from collections.abc import Iterator

from internimage_perception.errors import BundleError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10

_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 6, 11
_TENSOR_EXTERNAL = 13
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_STANDARD_DOMAINS = ("", "ai.onnx")

_Field = tuple[int, int, int, int]
"""Number of a field, where its tag begins, where its value begins, where it ends."""


def without_functions(data: bytes) -> bytes:
    """Return the ONNX file without its model-local functions, every other byte as it was.

    Up to 10.6 TensorRT prefers a function to a plugin of the same name: the plugin needs a file without.
    Raises BundleError when `data` is no ONNX file.
    """
    view = memoryview(data)
    kept = [view[tag:end] for number, tag, _, end in _fields(view) if number != _MODEL_FUNCTIONS]
    return b"".join(kept)


def has_functions(data: bytes) -> bool:
    """Return whether the ONNX file brings functions of its own. Raises BundleError when it is none."""
    return any(number == _MODEL_FUNCTIONS for number, *_ in _fields(memoryview(data)))


def custom_operators(data: bytes) -> frozenset[str]:
    """Return the operators of the graph, and of graphs within, that the ONNX standard does not know.

    Raises BundleError when `data` is no ONNX file.
    """
    graphs = _values(memoryview(data), _MODEL_GRAPH)
    return frozenset(name for graph in graphs for name in _custom(graph))


def external_files(data: bytes) -> tuple[str, ...]:
    """Return the files beside the graph that hold its weights, as the graph names them, sorted.

    Raises BundleError when `data` is no ONNX file.
    """
    found: set[str] = set()
    for graph in _values(memoryview(data), _MODEL_GRAPH):
        for tensor in _values(graph, _GRAPH_INITIALIZER):
            for entry in _values(tensor, _TENSOR_EXTERNAL):
                if _text(entry, _ENTRY_KEY) == "location":
                    found.add(_text(entry, _ENTRY_VALUE))
    return tuple(sorted(found))


def _custom(graph: memoryview) -> Iterator[str]:
    for node in _values(graph, _GRAPH_NODE):
        if _text(node, _NODE_DOMAIN) not in _STANDARD_DOMAINS:
            yield _text(node, _NODE_OPERATOR)
        for attribute in _values(node, _NODE_ATTRIBUTE):
            for number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                for inner in _values(attribute, number):
                    yield from _custom(inner)


def _values(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, _, begin, end in _fields(message):
        if number == wanted:
            yield message[begin:end]


def _text(message: memoryview, wanted: int) -> str:
    return next((bytes(value).decode(errors="replace") for value in _values(message, wanted)), "")


def _fields(message: memoryview) -> Iterator[_Field]:
    position = 0
    while position < len(message):
        tag = position
        code, position = _varint(message, position)
        kind = code & 7
        begin = position
        if kind == _VARINT:
            _, position = _varint(message, position)
        elif kind == _BYTES:
            length, begin = _varint(message, position)
            position = begin + length
        elif kind in _FIXED_SIZES:
            position += _FIXED_SIZES[kind]
        else:
            raise BundleError(f"not an ONNX file: byte {tag} begins a field of the unknown kind {kind}")
        if position > len(message):
            raise BundleError(
                f"not an ONNX file, or cut off: the field at byte {tag} is longer than the rest"
            )
        yield code >> 3, tag, begin, position


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return the number at `position`, seven bits per byte, and where it ends."""
    value = 0
    for index, byte in enumerate(message[position : position + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise BundleError(f"not an ONNX file, or cut off: no number at byte {position}")
