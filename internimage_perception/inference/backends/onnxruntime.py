"""Backend `onnxruntime`: the bundle's portable graph in ONNX Runtime."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import BackendError, BundleError
from internimage_perception.inference.backends.base import Images, Outputs, output_names
from internimage_perception.inference.bundle import PORTABLE, WEIGHTS, Bundle
from internimage_perception.inference.engines.cache import cache_folder
from internimage_perception.inference.engines.onnx_wire import custom_operators
from internimage_perception.inference.export_spec import FP16, FP32, INT8, LARGEST_SIDE
from internimage_perception.inference.frame_sizes import FrameSizes
from internimage_perception.native_files import OPS_ENVIRONMENT, first_library

if TYPE_CHECKING:
    import onnxruntime

PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "onnxruntime-cpu": ("CPUExecutionProvider",),
    "onnxruntime-cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "onnxruntime-tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}
"""Execution providers of each backend name that asks for a device, as ONNX Runtime names them."""

_Answer = npt.NDArray[Any]

_CUSTOM_OPERATORS = "libdcnv3_onnxruntime.so"
_ON_GPU = ("CUDAExecutionProvider", "TensorrtExecutionProvider")

_log = logging.getLogger(__name__)


class OnnxRuntimeBackend:
    """Runs `portable.onnx`, on the GPU where ONNX Runtime has one (CUDA), else on the CPU.

    ONNX Runtime's own use of TensorRT is taken only when asked for: it builds its engines at the first frames
    of each size, for minutes. It keeps them in the cache of engines, apart for every model and version.

    The graph takes its weights from `weights.safetensors` beside it; one that holds them itself, as earlier
    versions wrote it, runs as well.

    Its threads sleep between frames instead of spinning: a spinning worker answers a little sooner, but
    takes whole cores from everything else on the vehicle while it waits for the next frame.

    On the CPU, DCNv3 runs in the native kernel where `libdcnv3_onnxruntime.so` is found (see
    `native_files.search_path`), else as the graph's own function of standard operators, about twice as slow.
    INTERNIMAGE_PERCEPTION_OPS=reference leaves the native kernel out. It computes in float32 alone, so that
    graphs in float16 take their own function.

    An export for a fixed number of frames is run as often as needed, its last call filled up by repeating a
    frame. Frames of sizes that it was not exported for are refused, also where the graph would run on them:
    the same export answers the same on every backend.

    Args:
        bundle: the model.
        threads: CPU threads for one call; None leaves it to ONNX Runtime (one per core).
        providers: execution providers, as ONNX Runtime names them; the first has to work, the others take
            what it does not know. None: CUDA where it works, else the CPU.

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
        wanted = providers[0] if providers else None
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
            # The kernel is one for the CPU; on the GPU it would fetch every map to and fro.
            half = bundle.export is not None and bundle.export.precision == FP16
            self._native = not half and not set(_ON_GPU) & set(providers) and _add_native_dcnv3(options)
            given = [(name, _provider_options(name, bundle, onnxruntime.__version__)) for name in providers]
            self._session = onnxruntime.InferenceSession(str(path), options, providers=given)
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            message = f"onnxruntime {onnxruntime.__version__} refuses {path}: {error}"
            raise BackendError(message) from error
        self._path = path
        first = self._session.get_providers()[0]
        if wanted not in (None, first):
            # ONNX Runtime goes on without a provider that it cannot load.
            message = (
                f"{wanted} of onnxruntime {onnxruntime.__version__} does not work here: CUDA, cuDNN or "
                f"TensorRT, in the versions it was built for, is missing; it would take {first}"
            )
            raise BackendError(message)
        device = first.removesuffix("ExecutionProvider").lower()
        self.name = f"onnxruntime-{device}"
        self._outputs = output_names(bundle)
        outputs = {output.name for output in self._session.get_outputs()}
        if not outputs.issuperset(self._outputs) or len(self._session.get_inputs()) != 1:
            message = f"{path} is no deployed {bundle.task} graph: it answers {', '.join(sorted(outputs))}"
            raise BackendError(message)
        frames = self._session.get_inputs()[0]
        self._input = frames.name
        # Free sizes have names instead of numbers.
        fixed = [size if isinstance(size, int) else None for size in frames.shape[:3]]
        self._count = fixed[0]
        self.frame_sizes = FrameSizes.of_export(bundle) or _fixed_sizes(path, *fixed[1:])
        self.prefers_batch = device != "cpu" or (self._count or 1) > 1

    @property
    def reference_path(self) -> bool:
        """Whether the graph has DCNv3, and it runs as a function of standard operators."""
        return not self._native and bool(custom_operators(self._path.read_bytes()))

    def run(self, images: Images) -> Outputs:
        """See `Backend.run`."""
        if self.frame_sizes is not None and images.ndim == 4:
            self.frame_sizes.check(*images.shape[1:3])
        count = self._count or len(images) or 1
        starts = range(0, max(len(images), 1), count)
        parts = [self._run(images[start : start + count]) for start in starts]
        answers = parts[0] if len(parts) == 1 else [np.concatenate(part) for part in zip(*parts, strict=True)]
        return dict(zip(self._outputs, answers, strict=True))

    def _run(self, images: Images) -> list[_Answer]:
        """Run one call of the graph, filled up to its number of frames."""
        missing = self._count - len(images) if self._count and len(images) else 0
        filled = np.concatenate([images, images[-1:].repeat(missing, axis=0)]) if missing else images
        try:
            answers: list[_Answer] = self._session.run(self._outputs, {self._input: filled})
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            shape = getattr(images, "shape", None)
            message = f"{self.name} failed on images {shape} {getattr(images, 'dtype', '')}: {error}"
            raise BackendError(message) from error
        return [answer[: len(images)] for answer in answers] if missing else answers


def _fixed_sizes(graph: Path, height: int | None, width: int | None) -> FrameSizes | None:
    """Return the frames that a graph of fixed sizes takes, for a bundle that does not state them."""
    if height is None and width is None:
        return None
    rows, columns = (
        (1, LARGEST_SIDE, LARGEST_SIDE) if size is None else (size,) * 3 for size in (height, width)
    )
    return FrameSizes(rows, columns, str(graph))


def _beside_weights(graph: Path) -> Path:
    """Return the path by which ONNX Runtime finds the weights in the graph's own folder.

    `colcon build --symlink-install` links files one by one, and ONNX Runtime 1.24 refuses weights behind a
    link that leads out of the folder it was given: the links' target is such a folder too.
    """
    real = graph.resolve()
    return real if (real.parent / WEIGHTS).is_file() else graph


def _provider_options(provider: str, bundle: Bundle, version: str) -> dict[str, str]:
    """Return the options of an execution provider."""
    if provider != "TensorrtExecutionProvider":
        return {}
    # Its engines are not told apart by weights or versions: each gets a folder of its own.
    folder = cache_folder() / f"onnxruntime-{version}" / bundle.identity()
    folder.mkdir(parents=True, exist_ok=True)
    precision = bundle.export.precision if bundle.export else FP32
    return {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(folder),
        "trt_fp16_enable": str(precision != FP32),
        "trt_int8_enable": str(precision == INT8),
    }


def _add_native_dcnv3(options: "onnxruntime.SessionOptions") -> bool:
    """Register the native kernel of `internimage::DCNv3`, which replaces the function; return whether."""
    library = first_library(_CUSTOM_OPERATORS)
    if library is None or os.environ.get(OPS_ENVIRONMENT) == "reference":
        return False
    try:
        options.register_custom_ops_library(str(library))
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions share no base class of their own
        _log.warning("%s cannot be used: %s. DCNv3 runs as a function instead.", library, error)
        return False
    return True


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
