"""Backends by name: the deployed graph on whatever this computer has."""

from internimage_perception.errors import BackendError, ConfigError
from internimage_perception.inference.backends.base import Backend, Images, Outputs
from internimage_perception.inference.backends.null import NullBackend
from internimage_perception.inference.bundle import Bundle

BACKENDS = ("auto", "onnxruntime", "torch", "null")

__all__ = ["BACKENDS", "Backend", "Images", "NullBackend", "Outputs", "create_backend"]


def create_backend(name: str, bundle: Bundle, *, threads: int | None = None) -> Backend:
    """Return backend `name` ready to run `bundle`.

    Args:
        name: one of BACKENDS; "auto" takes onnxruntime, else torch, whichever is installed.
        bundle: the model.
        threads: CPU threads of the graph; None leaves it to the library.

    Raises:
        ConfigError: for an unknown name.
        BackendError: when the library is not installed or refuses the model.
    """
    if name == "auto":
        reasons: list[str] = []
        for candidate in ("onnxruntime", "torch"):
            try:
                return create_backend(candidate, bundle, threads=threads)
            except BackendError as error:
                reasons.append(f"{candidate}: {error}")
        raise BackendError("no inference backend can run this model. " + "; ".join(reasons))
    if name == "null":
        return NullBackend(bundle)
    # Imported only when chosen: a vehicle computer has one of them, rarely all.
    if name == "onnxruntime":
        from internimage_perception.inference.backends.onnxruntime import OnnxRuntimeBackend  # noqa: PLC0415

        return OnnxRuntimeBackend(bundle, threads=threads)
    if name == "torch":
        from internimage_perception.inference.backends.torch import TorchBackend  # noqa: PLC0415

        return TorchBackend(bundle, threads=threads)
    raise ConfigError(f"unknown backend {name!r}; choose one of {', '.join(BACKENDS)}")
