"""`EngineSession`: one engine, ready to run, with its memory and its stream."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import BackendError
from internimage_perception.inference.engines.buffers import Tensor, growth, numpy_type
from internimage_perception.inference.engines.cuda import Bytes, Cuda
from internimage_perception.inference.engines.tensorrt_module import MessageFilter

if TYPE_CHECKING:
    import tensorrt
    from cuda.bindings import runtime

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Buffer:
    """Memory of one tensor, of the same size here and on the GPU."""

    size: int
    device: int
    host: int
    view: Bytes


class EngineSession:
    """Runs an engine on batches of frames; memory is allocated once and grows only for larger ones.

    Frames go through page-locked memory, which the GPU fetches by itself, and so do answers. Where the engine
    takes one shape only, the second call is recorded as a CUDA graph, and later calls launch it: one command
    instead of one per kernel. The first call is not, because TensorRT still prepares itself then.

    A session belongs to one thread at a time.

    Args:
        engine: deserialized.
        cuda: CUDA, on the GPU of the engine.
        messages: what TensorRT says.
        cuda_graph: whether to record the work where the shape is fixed.

    Raises:
        BackendError: the engine cannot be made ready: its memory does not fit, or it is no deployed graph.
    """

    def __init__(
        self, engine: "tensorrt.ICudaEngine", cuda: Cuda, messages: MessageFilter, *, cuda_graph: bool = True
    ) -> None:
        self._engine = engine
        self._cuda = cuda
        self._messages = messages
        self._buffers: dict[str, _Buffer] = {}
        self._tensors: dict[str, Tensor] = {}
        self._graph: runtime.cudaGraphExec_t | None = None
        self._stream: runtime.cudaStream_t = None
        self._warm = False
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name).name == "INPUT"]
        if len(inputs) != 1:
            message = f"the engine takes {', '.join(inputs) or 'nothing'}; a deployed graph takes frames only"
            raise BackendError(message)
        self._input = inputs[0]
        self.outputs = tuple(name for name in names if name != self._input)
        self._types = {name: numpy_type(name, engine.get_tensor_dtype(name).name) for name in names}
        self._recordable = cuda_graph and -1 not in tuple(engine.get_tensor_shape(self._input))
        self._context = engine.create_execution_context()
        if self._context is None:
            message = f"the engine cannot be made ready: {messages.reason()}; is there enough free memory?"
            raise BackendError(message)
        self._stream = cuda.create_stream()

    def run(self, frames: npt.NDArray[np.uint8], batch: int) -> Mapping[str, npt.NDArray[np.generic]]:
        """Return the outputs for the frames, as arrays of their own.

        Args:
            frames: uint8 (N, H, W, 3); may be read-only or strided.
            batch: the batch to run with, N or more; what lies beyond N is not answered.
        """
        count = len(frames)
        shape = (batch, *frames.shape[1:])
        if self._input not in self._tensors or self._tensors[self._input].shape != shape:
            self._reshape(shape)
        np.copyto(self._array(self._input)[:count], frames)
        if self._graph is None and self._recordable and self._warm:
            self._record()
        if self._graph is not None:
            self._cuda.launch(self._graph, self._stream)
        else:
            self._enqueue()
        self._cuda.synchronize(self._stream)
        self._warm = True
        return {name: self._array(name)[:count].copy() for name in self.outputs}

    def close(self) -> None:
        """Give all memory back; the session cannot be used any more. A second time it does nothing."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        self._forget_graph()
        for name in list(self._buffers):
            self._release(name)
        self._context = None
        self._engine = None
        self._cuda.destroy_stream(stream)

    def _reshape(self, shape: tuple[int, ...]) -> None:
        """Let the engine work on frames of this shape."""
        self._forget_graph()
        self._warm = False
        self._tensors.clear()
        if not self._context.set_input_shape(self._input, shape):
            message = f"the engine does not take frames {shape}: {self._messages.reason()}"
            raise BackendError(message)
        tensors = {self._input: Tensor(self._input, shape, self._types[self._input])}
        for name in self.outputs:
            tensors[name] = Tensor(name, tuple(self._context.get_tensor_shape(name)), self._types[name])
        capacity = {name: buffer.size for name, buffer in self._buffers.items()}
        for name, size in growth(capacity, tensors.values()).items():
            if name in self._buffers:
                self._release(name)
            self._buffers[name] = self._allocate(size)
        for name in tensors:
            self._context.set_tensor_address(name, self._buffers[name].device)
        self._tensors = tensors

    def _enqueue(self) -> None:
        """Put upload, network and downloads on the stream."""
        buffer = self._buffers[self._input]
        self._cuda.upload(buffer.device, buffer.host, self._tensors[self._input].size, self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            message = f"the engine failed: {self._messages.reason()}"
            raise BackendError(message)
        for name in self.outputs:
            buffer = self._buffers[name]
            self._cuda.download(buffer.host, buffer.device, self._tensors[name].size, self._stream)

    def _record(self) -> None:
        """Record a call as CUDA graph; where that fails, never try again."""
        try:
            self._cuda.begin_capture(self._stream)
            try:
                self._enqueue()
            except BackendError:
                self._cuda.abandon_capture(self._stream)
                raise
            self._graph = self._cuda.end_capture(self._stream)
        except BackendError as error:
            self._recordable = False
            # TensorRT would take a remembered error for one of its own kernels.
            self._cuda.forget_error()
            _log.warning("the engine runs without a CUDA graph, a little slower: %s", error)

    def _array(self, name: str) -> npt.NDArray[np.generic]:
        tensor = self._tensors[name]
        return self._buffers[name].view[: tensor.size].view(tensor.dtype).reshape(tensor.shape)

    def _allocate(self, size: int) -> _Buffer:
        device = self._cuda.allocate(size)
        try:
            return _Buffer(size, device, *self._cuda.allocate_host(size))
        except BackendError:
            self._cuda.free(device)
            raise

    def _release(self, name: str) -> None:
        buffer = self._buffers.pop(name)
        self._cuda.free(buffer.device)
        self._cuda.free_host(buffer.host)

    def _forget_graph(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            self._cuda.destroy_graph(graph)
