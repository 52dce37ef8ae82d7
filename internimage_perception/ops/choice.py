"""Which implementation of an operator runs, and why."""

import functools
import logging
import os

import torch

from internimage_perception.ops.geometry import OperatorError
from internimage_perception.ops.native_arrays import CPU_TYPES
from internimage_perception.ops.native_library import NativeError, cpu_library

IMPLEMENTATIONS = ("reference", "native")
ENVIRONMENT = "INTERNIMAGE_PERCEPTION_OPS"

_log = logging.getLogger(__name__)


def choose(requested: str, *tensors: torch.Tensor) -> str:
    """Return "native" or "reference" for a call on these tensors.

    Args:
        requested: "auto", "native" or "reference". The environment variable INTERNIMAGE_PERCEPTION_OPS
            replaces "auto".
        tensors: of the call; their devices and types decide what "auto" can take.

    Raises:
        OperatorError: no implementation has that name.
        NativeError: "native" was asked for and cannot run these tensors; the message says why.
    """
    if requested == "auto":
        requested = os.environ.get(ENVIRONMENT, "auto")
    if requested not in ("auto", *IMPLEMENTATIONS):
        names = ", ".join(("auto", *IMPLEMENTATIONS))
        raise OperatorError(f"no implementation {requested!r} (argument or {ENVIRONMENT}); there are {names}")
    if requested == "reference":
        return "reference"
    refusal = refused(*tensors)
    if refusal is None:
        return "native"
    if requested == "native":
        raise NativeError(f"the native kernels cannot run this: {refusal}")
    return "reference"


def refused(*tensors: torch.Tensor) -> str | None:
    """Return why the native kernels do not run on these tensors; None where they do."""
    for tensor in tensors:
        if tensor.device.type != "cpu":
            return f"they run on the CPU, a tensor lies on {tensor.device}"
        if tensor.dtype not in CPU_TYPES:
            return f"they take float32, float64 and bfloat16, a tensor is {tensor.dtype}"
    return missing()


@functools.cache
def missing() -> str | None:
    """Return why the native library cannot be used, or None. The first time, a warning says so too."""
    try:
        cpu_library()
    except NativeError as error:
        _log.warning("%s. Until then the operators run in PyTorch, more than ten times slower.", error)
        return str(error)
    return None
