"""What is needed of CUDA: memory, a stream, a graph of recorded work. On cuda-python, without torch."""

import ctypes
import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import BackendError

if TYPE_CHECKING:
    from cuda.bindings import runtime

# Where the module lies: from 12.6 on, and before.
_MODULES = ("cuda.bindings.runtime", "cuda.cudart")
_ADVICE = {
    "cudaErrorMemoryAllocation": "free memory, or take a smaller batch",
    "cudaErrorInsufficientDriver": "the driver is missing, or older than cuda-python: install the one of its "
    "CUDA version, such as pip install 'cuda-python<13'",
    "cudaErrorNoDevice": "this computer has no NVIDIA GPU, or a container does not see it",
    "cudaErrorInvalidDevice": "there are fewer GPUs than that",
}

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU: its number, name, compute capability such as "8.7"."""

    index: int
    name: str
    compute_capability: str


class Cuda:
    """CUDA's runtime, its return codes made exceptions.

    Every method raises BackendError when CUDA reports an error, also one of earlier work on the device.

    Args:
        module: `cuda.bindings.runtime`, or `cuda.cudart` of older versions.
    """

    def __init__(self, module: ModuleType) -> None:
        self._cuda = module

    def device(self, index: int) -> Device:
        """Return the GPU of that number and make it this thread's."""
        self.use(index)
        found = self._call("cudaGetDeviceProperties", index)
        name = found.name.decode(errors="replace") if isinstance(found.name, bytes) else str(found.name)
        return Device(index, name.rstrip("\0"), f"{found.major}.{found.minor}")

    def use(self, index: int) -> None:
        """Let the calls of this thread go to that GPU."""
        self._call("cudaSetDevice", index)

    def allocate(self, size: int) -> int:
        """Return the address of `size` bytes on the GPU."""
        return int(self._call("cudaMalloc", size))

    def free(self, address: int) -> None:
        """Give memory on the GPU back."""
        self._call("cudaFree", address)

    def allocate_host(self, size: int) -> tuple[int, Bytes]:
        """Return the address of `size` page-locked bytes, which the GPU reads by itself, and the bytes."""
        address = int(self._call("cudaHostAlloc", size, self._cuda.cudaHostAllocDefault))
        pointer = ctypes.cast(address, ctypes.POINTER(ctypes.c_uint8))
        return address, np.ctypeslib.as_array(pointer, (size,))

    def free_host(self, address: int) -> None:
        """Give page-locked memory back; no array may look at it any more."""
        self._call("cudaFreeHost", address)

    def create_stream(self) -> "runtime.cudaStream_t":
        """Return a stream that does not wait for the default one."""
        return self._call("cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking)

    def destroy_stream(self, stream: "runtime.cudaStream_t") -> None:
        """Destroy a stream."""
        self._call("cudaStreamDestroy", stream)

    def synchronize(self, stream: "runtime.cudaStream_t") -> None:
        """Wait for all work of a stream."""
        self._call("cudaStreamSynchronize", stream)

    def upload(self, device: int, host: int, size: int, stream: "runtime.cudaStream_t") -> None:
        """Copy to the GPU, as work of the stream."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", device, host, size, kind, stream)

    def download(self, host: int, device: int, size: int, stream: "runtime.cudaStream_t") -> None:
        """Copy from the GPU, as work of the stream."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", host, device, size, kind, stream)

    def begin_capture(self, stream: "runtime.cudaStream_t") -> None:
        """Record this thread's work of the stream instead of doing it; other threads go on as ever."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: "runtime.cudaStream_t") -> "runtime.cudaGraphExec_t":
        """Return what was recorded, ready to launch."""
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            # `cudaGraphInstantiate` took other arguments before CUDA 12.
            if hasattr(self._cuda, "cudaGraphInstantiateWithFlags"):
                return self._call("cudaGraphInstantiateWithFlags", graph, 0)
            return self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def abandon_capture(self, stream: "runtime.cudaStream_t") -> None:
        """End a recording that failed, whatever comes of it."""
        code, *found = self._cuda.cudaStreamEndCapture(stream)
        if int(code) == 0 and found and int(found[0]):
            self._cuda.cudaGraphDestroy(found[0])

    def forget_error(self) -> None:
        """Clear the error that this thread's last failed call left behind."""
        self._cuda.cudaGetLastError()

    def launch(self, graph: "runtime.cudaGraphExec_t", stream: "runtime.cudaStream_t") -> None:
        """Do recorded work once more."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: "runtime.cudaGraphExec_t") -> None:
        """Destroy recorded work."""
        self._call("cudaGraphExecDestroy", graph)

    def _call(self, name: str, *arguments: object) -> "runtime.cudaGraphExec_t":
        """Call a function of the runtime, which returns its error code before its one result."""
        code, *results = getattr(self._cuda, name)(*arguments)
        if int(code):
            label = _text(self._cuda.cudaGetErrorName(code))
            message = f"CUDA: {name} failed: {_text(self._cuda.cudaGetErrorString(code))} ({label})"
            raise BackendError(f"{message}; {_ADVICE[label]}" if label in _ADVICE else message)
        return results[0] if results else None


def load_cuda() -> Cuda:
    """Import cuda-python. Raises BackendError when it is not installed."""
    reasons = []
    for name in _MODULES:
        try:
            return Cuda(importlib.import_module(name))
        except ImportError as error:
            reasons.append(str(error))
    message = (
        f"cuda-python cannot be imported ({reasons[0]}); install the one for the driver's CUDA version, "
        "such as pip install 'cuda-python<13'"
    )
    raise BackendError(message)


def _text(answer: tuple[object, object]) -> str:
    text = answer[-1]
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
