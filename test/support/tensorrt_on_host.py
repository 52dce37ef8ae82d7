"""The TensorRT plugins on this machine's CPU: made from fields as TensorRT does it, run on tensors in memory.

The C interface is that of dcnv3_plugin/src/host_shim/tensorrt.cpp.
"""

import ctypes

import numpy as np
import torch

from internimage_perception.native_files import first_library
from internimage_perception.ops.native_library import BF16, F16, F32, F64

PATH = first_library("libdcnv3_tensorrt_on_host.so")
TYPES = {torch.float32: F32, torch.float64: F64, torch.float16: F16, torch.bfloat16: BF16}
FIELD_TYPES = {np.int32: 0, np.int64: 1, np.float32: 2, np.float64: 3}
STATE = "dcnv3_state"


class Field(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p), ("data", ctypes.c_void_p),
        ("type", ctypes.c_int32), ("length", ctypes.c_int64),
    )  # fmt: skip


class Tensor(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int32), ("linear", ctypes.c_int32), ("axes", ctypes.c_int32),
        ("sizes", ctypes.c_int64 * 8), ("data", ctypes.c_void_p),
    )  # fmt: skip

    @classmethod
    def of(cls, tensor: torch.Tensor, linear: bool = True) -> "Tensor":
        assert tensor.is_contiguous()
        sizes = (ctypes.c_int64 * 8)(*tensor.shape)
        return cls(TYPES[tensor.dtype], linear, tensor.ndim, sizes, tensor.data_ptr())


class RefusedError(Exception):
    """The plugin refused; the text is its reason."""


def load() -> ctypes.CDLL:
    """Load the library and declare its functions."""
    library = ctypes.CDLL(str(PATH))
    pointer, count, text = ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p
    name, tensors = ctypes.c_char_p, ctypes.POINTER(Tensor)
    for function, result, arguments in (
        ("create", pointer, (name, ctypes.POINTER(Field), count, text, count)),
        ("restore", pointer, (name, pointer, count, text, count)),
        ("clone", pointer, (pointer,)),
        ("destroy", None, (pointer,)),
        ("state", count, (pointer, ctypes.POINTER(ctypes.c_int32), count)),
        ("output_shape", ctypes.c_int, (pointer, tensors, ctypes.c_int, tensors, text, count)),
        ("takes", ctypes.c_int, (tensors, ctypes.c_int)),
        ("run", ctypes.c_int, (pointer, tensors, ctypes.c_int, text, count)),
    ):
        declared = getattr(library, f"dcnv3_plugin_{function}")
        declared.restype, declared.argtypes = result, arguments
    return library


def fields_of(values: dict[str, object]) -> tuple[ctypes.Array, list[np.ndarray]]:
    """Return fields, and the memory they point to; what is no array gets the type a parser gives it."""
    arrays = [
        np.atleast_1d(
            value
            if isinstance(value, np.ndarray)
            else np.asarray(value, np.float32 if isinstance(value, float) else np.int32)
        )
        for value in values.values()
    ]
    rows = [
        Field(name.encode(), array.ctypes.data, FIELD_TYPES.get(array.dtype.type, 4), array.size)
        for name, array in zip(values, arrays, strict=True)
    ]
    return (Field * len(rows))(*rows), arrays


class Plugin:
    """One plugin of the library, destroyed with this object."""

    def __init__(self, library: ctypes.CDLL, name: str, address: int) -> None:
        self._library, self.name, self._address = library, name, address

    @classmethod
    def create(cls, library: ctypes.CDLL, name: str, values: dict[str, object]) -> "Plugin":
        """Make it from fields. Raises RefusedError."""
        fields, _memory = fields_of(values)
        reason = ctypes.create_string_buffer(512)
        address = library.dcnv3_plugin_create(name.encode(), fields, len(fields), reason, len(reason))
        if address is None:
            raise RefusedError(reason.value.decode())
        return cls(library, name, address)

    @classmethod
    def restore(cls, library: ctypes.CDLL, name: str, state: bytes) -> "Plugin":
        """Make it from what an engine kept. Raises RefusedError."""
        reason = ctypes.create_string_buffer(512)
        address = library.dcnv3_plugin_restore(name.encode(), state, len(state), reason, len(reason))
        if address is None:
            raise RefusedError(reason.value.decode())
        return cls(library, name, address)

    def __del__(self) -> None:
        self._library.dcnv3_plugin_destroy(self._address)

    def clone(self) -> "Plugin":
        return Plugin(self._library, self.name, self._library.dcnv3_plugin_clone(self._address))

    def state(self) -> np.ndarray:
        """Return what an engine keeps, in words."""
        words = np.zeros(self._library.dcnv3_plugin_state(self._address, None, 0), np.int32)
        as_pointer = words.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
        self._library.dcnv3_plugin_state(self._address, as_pointer, words.size)
        return words

    def output_shape(self, *inputs: torch.Tensor) -> tuple[int, ...]:
        """Return the output's shape by the plugin's rule. Raises RefusedError."""
        row, output = (Tensor * len(inputs))(*map(Tensor.of, inputs)), Tensor()
        reason = ctypes.create_string_buffer(512)
        if not self._library.dcnv3_plugin_output_shape(
            self._address, row, len(inputs), ctypes.byref(output), reason, len(reason)
        ):
            raise RefusedError(reason.value.decode())
        return tuple(output.sizes[: output.axes])

    def __call__(self, *inputs: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Run it as an engine does: shape, types, kernels. Raises RefusedError."""
        if out is None:
            out = torch.full(self.output_shape(*inputs), torch.nan, dtype=inputs[0].dtype)
        row = (Tensor * 4)(*map(Tensor.of, (*inputs, out)))
        assert all(self._library.dcnv3_plugin_takes(row, position) for position in range(4))
        reason = ctypes.create_string_buffer(512)
        if not self._library.dcnv3_plugin_run(self._address, row, 0, reason, len(reason)):
            raise RefusedError(reason.value.decode())
        return out
