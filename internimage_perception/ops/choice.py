"""Which implementation of an operator runs, and why."""

import functools
import logging
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch

from internimage_perception.native_files import OPS_ENVIRONMENT as ENVIRONMENT
from internimage_perception.ops.geometry import OperatorError
from internimage_perception.ops.native_arrays import CPU_TYPES, CUDA_TYPES, Types
from internimage_perception.ops.native_cuda import cuda_library
from internimage_perception.ops.native_library import NativeError, cpu_library

IMPLEMENTATIONS = ("reference", "native")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kernels:
    """Native kernels for one kind of device.

    Attributes:
        place: what it is called in messages.
        types: of the tensors they take.
        load: opens their library, or raises NativeError.
        without: what a warning says about life without them.
    """

    place: str
    types: Types
    load: Callable[[], object]
    without: str


KERNELS = {
    "cpu": Kernels(
        "the CPU",
        CPU_TYPES,
        cpu_library,
        "Until then the operators run in PyTorch, more than ten times slower.",
    ),
    "cuda": Kernels(
        "CUDA devices",
        CUDA_TYPES,
        cuda_library,
        "Until then the operators run on the GPU in PyTorch, slower and with more memory.",
    ),
}
"""Kernels by kind of device (`torch.device.type`)."""


def choose(requested: str, *tensors: torch.Tensor, devices: Collection[str] = ("cpu",)) -> str:
    """Return "native" or "reference" for a call on these tensors.

    Args:
        requested: "auto", "native" or "reference". The environment variable INTERNIMAGE_PERCEPTION_OPS
            replaces "auto".
        tensors: of the call; their device and types decide what "auto" can take.
        devices: kinds of device (of `KERNELS`) that the operator has kernels for.

    Raises:
        OperatorError: no implementation has that name, or the tensors lie on several devices.
        NativeError: "native" was asked for and cannot run these tensors; the message says why.
    """
    if requested == "auto":
        requested = os.environ.get(ENVIRONMENT, "auto")
    if requested not in ("auto", *IMPLEMENTATIONS):
        names = ", ".join(("auto", *IMPLEMENTATIONS))
        raise OperatorError(f"no implementation {requested!r} (argument or {ENVIRONMENT}); there are {names}")
    places = list(dict.fromkeys(str(tensor.device) for tensor in tensors))
    if len(places) > 1:
        raise OperatorError(f"the operator's tensors are on {' and '.join(places)}; move them together")
    if requested == "reference":
        return "reference"
    refusal = refused(*tensors, devices=devices)
    if refusal is None:
        return "native"
    if requested == "native":
        raise NativeError(f"the native kernels cannot run this: {refusal}")
    return "reference"


def refused(*tensors: torch.Tensor, devices: Collection[str] = ("cpu",)) -> str | None:
    """Return why the native kernels do not run on these tensors, of one device; None where they do.

    Where only the library is missing, a warning says so the first time, once per kind of device.
    """
    kind = tensors[0].device.type
    if kind not in devices:
        places = " and ".join(KERNELS[device].place for device in devices)
        return f"they run on {places}, a tensor lies on {tensors[0].device}"
    types = KERNELS[kind].types
    for tensor in tensors:
        if tensor.dtype not in types:
            names = ", ".join(str(dtype).removeprefix("torch.") for dtype in types)
            return f"on {KERNELS[kind].place} they take {names}, a tensor is {tensor.dtype}"
    if missing(kind) is not None:
        _warn(kind)
    return missing(kind)


@functools.cache
def missing(device: str = "cpu") -> str | None:
    """Return why the library for a kind of device cannot be used, or None. Looks once, then remembers."""
    try:
        KERNELS[device].load()
    except NativeError as error:
        return str(error)
    return None


@functools.cache
def _warn(device: str) -> None:
    _log.warning("%s. %s", missing(device), KERNELS[device].without)
