"""What memory a call of an engine needs: pure arithmetic."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import BackendError

# By name: TensorRT's own table of numpy's types fails with the numpy of today in version 8.
_TYPES: Mapping[str, type[np.generic]] = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a call: name, shape, numpy's type."""

    name: str
    shape: tuple[int, ...]
    dtype: npt.DTypeLike

    @property
    def size(self) -> int:
        """Its bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def numpy_type(name: str, kind: str) -> npt.DTypeLike:
    """Return numpy's type for TensorRT's `kind`, such as "UINT8". Raises BackendError for one numpy lacks."""
    if kind not in _TYPES:
        message = f"the engine's {name} has the type {kind}, which no array has"
        raise BackendError(message)
    return _TYPES[kind]


def growth(capacity: Mapping[str, int], tensors: Iterable[Tensor]) -> dict[str, int]:
    """Return the sizes to allocate anew, by name: only of what is larger than what there is.

    Raises BackendError for a shape that is not known before the call.
    """
    needed: dict[str, int] = {}
    for tensor in tensors:
        if any(side < 0 for side in tensor.shape):
            message = f"the size of the engine's {tensor.name}, {tensor.shape}, is not known before it ran"
            raise BackendError(message)
        if tensor.size > capacity.get(tensor.name, 0):
            needed[tensor.name] = tensor.size
    return needed
