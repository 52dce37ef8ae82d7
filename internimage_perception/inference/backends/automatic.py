"""Backend `auto`: the fastest that works on this computer, and why not a faster one."""

import ctypes
import logging
from typing import Protocol

from internimage_perception.errors import BackendError
from internimage_perception.inference.backends.base import Backend
from internimage_perception.inference.bundle import Bundle

CANDIDATES = ("tensorrt", "torch-cuda", "onnxruntime", "torch-cpu")
"""Best first. `onnxruntime` takes CUDA where it has it."""
_NVIDIA = ("tensorrt", "torch-cuda")
_DRIVER = "libcuda.so.1"

_log = logging.getLogger(__name__)


class Create(Protocol):
    """Makes a backend by name, as `backends.create_backend` does."""

    def __call__(self, name: str, bundle: Bundle, *, threads: int | None = None) -> Backend:
        """Return the backend. Raises BackendError."""
        ...


def pick_backend(bundle: Bundle, create: Create, *, threads: int | None = None) -> Backend:
    """Return the first of CANDIDATES that works, and say in one line of the log why the better ones do not.

    The line is a warning where there is the driver of an NVIDIA GPU, which is then not used as it could be.
    A second warning says when DCNv3 runs as the reference, without a kernel of its own.

    Args:
        bundle: the model.
        create: makes a backend by name.
        threads: CPU threads of the graph; None leaves it to the library.

    Raises:
        BackendError: none works; it says why for each.
    """
    driver = _has_driver()
    reasons: list[str] = []
    for name in CANDIDATES:
        if name in _NVIDIA and not driver:
            # Asked first: importing a library to learn this takes seconds.
            reasons.append(f"{name}: no NVIDIA driver here ({_DRIVER} is not found)")
            continue
        try:
            backend = create(name, bundle, threads=threads)
        except BackendError as error:
            reasons.append(f"{name}: {error}")
            continue
        level = logging.WARNING if driver and reasons else logging.INFO
        _log.log(level, "backend auto took %s%s", backend.name, _because(reasons))
        # TensorRT's backend and PyTorch's operators say so themselves.
        if name == "onnxruntime" and getattr(backend, "reference_path", False):
            _log.warning(
                "SLOW: DCNv3 of %s runs as a function of standard operators on %s; docs/deployment.md says "
                "what is faster",
                bundle.name,
                backend.name,
            )
        return backend
    raise BackendError("no inference backend can run this model. " + "; ".join(reasons))


def _because(reasons: list[str]) -> str:
    return f"; not {'; not '.join(reasons)}" if reasons else ""


def _has_driver() -> bool:
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return False
    return True
