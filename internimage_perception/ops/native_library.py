"""Finding and calling the native kernels: the C interface of `dcnv3_plugin`, through ctypes."""

import ctypes
import functools
import sys
from pathlib import Path

from internimage_perception.errors import PerceptionError
from internimage_perception.native_files import first_library, search_path

ABI_VERSION = 1
CPU_LIBRARY = "libdcnv3_cpu.so"
F32, F64, F16, BF16 = range(4)
REMOVE_CENTER, SOFTMAX_MASK, DETERMINISTIC = 1, 2, 4


class Params(ctypes.Structure):
    """`dcnv3_params`."""

    _fields_ = (
        ("struct_size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("batch", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("out_height", ctypes.c_int64),
        ("out_width", ctypes.c_int64),
        ("group", ctypes.c_int32),
        ("group_channels", ctypes.c_int32),
        ("kernel_h", ctypes.c_int32),
        ("kernel_w", ctypes.c_int32),
        ("stride_h", ctypes.c_int32),
        ("stride_w", ctypes.c_int32),
        ("pad_h", ctypes.c_int32),
        ("pad_w", ctypes.c_int32),
        ("dilation_h", ctypes.c_int32),
        ("dilation_w", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("offset_scale", ctypes.c_double),
    )


class Array(ctypes.Structure):
    """`dcnv3_array`."""

    _fields_ = (("data", ctypes.c_void_p), ("type", ctypes.c_int32), ("reserved", ctypes.c_int32))


class Tensors(ctypes.Structure):
    """`dcnv3_tensors`."""

    _fields_ = (("input", Array), ("offset", Array), ("mask", Array), ("gate", Array))


class NativeError(PerceptionError, RuntimeError):
    """The native library is not there, not the right one, or refused a call."""


def library_path(name: str = CPU_LIBRARY) -> Path | None:
    """Return the first library of that name in the search path, None without one."""
    return first_library(name, search_path())


@functools.cache
def cpu_library() -> ctypes.CDLL:
    """Load the CPU kernels. Raises NativeError saying where it looked, or what is wrong with the file."""
    if sys.byteorder != "little":
        raise NativeError("the native kernels need a little-endian machine")
    path = found_library(
        CPU_LIBRARY, "build it: cmake -S dcnv3_plugin -B build/native && cmake --build build/native"
    )
    library = open_library(path, "dcnv3_abi_version", "dcnv3_status_text")
    library.dcnv3_cpu_instructions.restype = ctypes.c_char_p
    library.dcnv3_forward_cpu.argtypes = (ctypes.POINTER(Params), ctypes.POINTER(Tensors), Array)
    library.dcnv3_backward_cpu.argtypes = (
        ctypes.POINTER(Params), ctypes.POINTER(Tensors), Array, ctypes.POINTER(Tensors),
    )  # fmt: skip
    return library


def found_library(name: str, advice: str) -> Path:
    """Return the path of a library. Raises NativeError saying where it looked, and what to do: `advice`."""
    path = library_path(name)
    if path is None:
        raise NativeError(f"no {name} in {', '.join(map(str, search_path()))}; {advice}")
    return path


def open_library(path: Path, version: str, status_text: str) -> ctypes.CDLL:
    """Open a library of ours, given the names of the functions that tell its interface and explain a status.

    Raises NativeError for a file that is no such library, or of another interface.
    """
    try:
        library = ctypes.CDLL(str(path))
        tell, explain = getattr(library, version), getattr(library, status_text)
    except (OSError, AttributeError) as error:
        raise NativeError(f"{path} cannot be loaded: {error}; build it anew") from error
    tell.restype = ctypes.c_uint32
    if (found := tell()) != ABI_VERSION:
        raise NativeError(f"{path} has interface {found}, this package needs {ABI_VERSION}; build it anew")
    explain.restype, explain.argtypes = ctypes.c_char_p, (ctypes.c_int,)
    return library


def check(library: ctypes.CDLL, status: int, what: str, status_text: str = "dcnv3_status_text") -> None:
    """Raise NativeError for a status that is no success, in the words of the library's function."""
    if status:
        raise NativeError(f"{what}: {getattr(library, status_text)(status).decode()}")
