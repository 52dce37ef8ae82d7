"""Backends by name: the deployed graph on whatever this computer has."""

from collections.abc import Mapping

from internimage_perception.errors import ConfigError
from internimage_perception.inference.backends.base import Backend, Images, Outputs
from internimage_perception.inference.backends.null import NullBackend
from internimage_perception.inference.bundle import Bundle

BACKENDS = (
    "auto", "tensorrt", "onnxruntime", "onnxruntime-cpu", "onnxruntime-cuda", "onnxruntime-tensorrt",
    "torch", "torch-cpu", "torch-cuda", "null",
)  # fmt: skip

_TORCH_DEVICES: Mapping[str, str] = {"torch": "auto", "torch-cpu": "cpu", "torch-cuda": "cuda"}

__all__ = ["BACKENDS", "Backend", "Images", "NullBackend", "Outputs", "create_backend"]


def create_backend(name: str, bundle: Bundle, *, threads: int | None = None) -> Backend:
    """Return backend `name` ready to run `bundle`.

    Args:
        name: one of BACKENDS. A library's name alone takes the GPU where that library has one, else the CPU;
            with a device behind it, that device or nothing. "auto" takes the fastest that works here, see
            `backends.automatic`.
        bundle: the model.
        threads: CPU threads of the graph; None leaves it to the library.

    Raises:
        ConfigError: for an unknown name.
        BackendError: when the library is not installed or refuses the model.
    """
    if name not in BACKENDS:
        raise ConfigError(f"unknown backend {name!r}; choose one of {', '.join(BACKENDS)}")
    if name == "null":
        return NullBackend(bundle)
    # Imported only when chosen: a vehicle computer has one of them, rarely all.
    if name == "auto":
        from internimage_perception.inference.backends.automatic import pick_backend  # noqa: PLC0415

        return pick_backend(bundle, create_backend, threads=threads)
    if name == "tensorrt":
        from internimage_perception.inference.backends.tensorrt import TensorRTBackend  # noqa: PLC0415

        return TensorRTBackend(bundle)
    if name in _TORCH_DEVICES:
        from internimage_perception.inference.backends.torch import TorchBackend  # noqa: PLC0415

        return TorchBackend(bundle, device=_TORCH_DEVICES[name], threads=threads)
    from internimage_perception.inference.backends.onnxruntime import (  # noqa: PLC0415
        PROVIDERS,
        OnnxRuntimeBackend,
    )

    return OnnxRuntimeBackend(bundle, threads=threads, providers=PROVIDERS.get(name))
