"""Backend `onnxruntime`: the bundle's portable graph in ONNX Runtime."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from internimage_perception.errors import BackendError, BundleError
from internimage_perception.inference.backends.base import Images, Outputs, output_names
from internimage_perception.inference.bundle import PORTABLE, WEIGHTS, Bundle
from internimage_perception.native_files import OPS_ENVIRONMENT, first_library

if TYPE_CHECKING:
    import onnxruntime

_CUSTOM_OPERATORS = "libdcnv3_onnxruntime.so"

_log = logging.getLogger(__name__)


class OnnxRuntimeBackend:
    """Runs `portable.onnx`, on the GPU where ONNX Runtime has one (CUDA), else on the CPU.

    The graph takes its weights from `weights.safetensors` beside it; one that holds them itself, as earlier
    versions wrote it, runs as well.

    Its threads sleep between frames instead of spinning: a spinning worker answers a little sooner, but
    takes whole cores from everything else on the vehicle while it waits for the next frame.

    On the CPU, DCNv3 runs in the native kernel where `libdcnv3_onnxruntime.so` is found (see
    `native_files.search_path`), else as the graph's own function of standard operators, about twice as slow.
    INTERNIMAGE_PERCEPTION_OPS=reference leaves the native kernel out.

    Args:
        bundle: the model.
        threads: CPU threads for one call; None leaves it to ONNX Runtime (one per core).
        providers: execution providers in order of preference, as ONNX Runtime names them.

    Raises:
        BackendError: ONNX Runtime is not installed, lacks a provider, or refuses the model, or the graph is
            not one of the bundle's task.
    """

    def __init__(
        self, bundle: Bundle, *, threads: int | None = None, providers: Sequence[str] | None = None
    ) -> None:
        try:
            import onnxruntime  # noqa: PLC0415 - needed only when this backend is chosen
        except ImportError as error:
            message = f"onnxruntime cannot be imported ({error}); install it: pip install onnxruntime"
            raise BackendError(message) from error
        available = onnxruntime.get_available_providers()
        if providers is None:
            providers = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in available]
        if missing := [provider for provider in providers if provider not in available]:
            message = f"this onnxruntime has no {', '.join(missing)}; it has {', '.join(available)}"
            raise BackendError(message)
        try:
            path = _beside_weights(bundle.file(PORTABLE))
        except BundleError as error:
            raise BackendError(str(error)) from error
        try:
            options = _options(threads)
            if "CUDAExecutionProvider" not in providers:
                _add_native_dcnv3(options)
            self._session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            message = f"onnxruntime {onnxruntime.__version__} refuses {path}: {error}"
            raise BackendError(message) from error
        device = self._session.get_providers()[0].removesuffix("ExecutionProvider").lower()
        self.name = f"onnxruntime-{device}"
        self.prefers_batch = device != "cpu"
        self._outputs = output_names(bundle)
        outputs = {output.name for output in self._session.get_outputs()}
        if not outputs.issuperset(self._outputs) or len(self._session.get_inputs()) != 1:
            message = f"{path} is no deployed {bundle.task} graph: it answers {', '.join(sorted(outputs))}"
            raise BackendError(message)
        self._input = self._session.get_inputs()[0].name

    def run(self, images: Images) -> Outputs:
        """See `Backend.run`."""
        try:
            answers = self._session.run(self._outputs, {self._input: images})
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            shape = getattr(images, "shape", None)
            message = f"{self.name} failed on images {shape} {getattr(images, 'dtype', '')}: {error}"
            raise BackendError(message) from error
        return dict(zip(self._outputs, answers, strict=True))


def _beside_weights(graph: Path) -> Path:
    """Return the path by which ONNX Runtime finds the weights in the graph's own folder.

    `colcon build --symlink-install` links files one by one, and ONNX Runtime 1.24 refuses weights behind a
    link that leads out of the folder it was given: the links' target is such a folder too.
    """
    real = graph.resolve()
    return real if (real.parent / WEIGHTS).is_file() else graph


def _add_native_dcnv3(options: "onnxruntime.SessionOptions") -> None:
    """Register the native kernel of `internimage::DCNv3` where there is one; it replaces the function."""
    library = first_library(_CUSTOM_OPERATORS)
    if library is None or os.environ.get(OPS_ENVIRONMENT) == "reference":
        return
    try:
        options.register_custom_ops_library(str(library))
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions share no base class of their own
        _log.warning("%s cannot be used: %s. DCNv3 runs as a function instead.", library, error)


def _options(threads: int | None) -> "onnxruntime.SessionOptions":
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options
