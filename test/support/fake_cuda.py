# ruff: noqa: ARG002, N802, N815 - names and arguments are those of CUDA
"""CUDA's runtime as cuda-python has it, recorded: memory is this process's, streams do their work at once.

It shows which calls are made, in which order, and that the bytes arrive; nothing of a GPU's behaviour.
"""

import ctypes
from types import SimpleNamespace


class Error(int):
    """A return code."""


class FakeCuda:
    """Stands for the module `cuda.bindings.runtime`.

    Attributes:
        calls: names of the calls, in order.
        failing: calls that fail, to the error they return.
        memory: address to the bytes allocated there, on the GPU and page-locked.
        device_sizes: bytes of every allocation on the GPU, in order.
    """

    cudaHostAllocDefault = 0
    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice="up", cudaMemcpyDeviceToHost="down")
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, name=b"Orin\0\0", capability=(8, 7)):
        self.calls = []
        self.failing = {}
        self.memory = {}
        self.device_sizes = []
        self.recording = None
        self._properties = SimpleNamespace(name=name, major=capability[0], minor=capability[1])

    def work(self, action):
        """Do an action of a stream, or record it."""
        if self.recording is None:
            action()
        else:
            self.recording.append(action)

    def _done(self, name, *results):
        self.calls.append(name)
        code = self.failing.get(name)
        return (Error(code[0]), None) if code else (Error(0), *results)

    def _allocate(self, size):
        buffer = (ctypes.c_uint8 * size)()
        address = ctypes.addressof(buffer)
        self.memory[address] = buffer
        return address

    def cudaSetDevice(self, index):
        return self._done("cudaSetDevice")

    def cudaGetDeviceProperties(self, index):
        return self._done("cudaGetDeviceProperties", self._properties)

    def cudaGetErrorName(self, code):
        return Error(0), next(name for number, name in self.failing.values() if number == code).encode()

    def cudaGetErrorString(self, code):
        return Error(0), b"as the test wants it"

    def cudaGetLastError(self):
        return (self._done("cudaGetLastError")[0],)

    def cudaMalloc(self, size):
        if "cudaMalloc" not in self.failing:
            self.device_sizes.append(size)
        return self._done("cudaMalloc", self._allocate(size))

    def cudaFree(self, address):
        del self.memory[address]
        return self._done("cudaFree")

    def cudaHostAlloc(self, size, flags):
        return self._done("cudaHostAlloc", self._allocate(size))

    def cudaFreeHost(self, address):
        del self.memory[address]
        return self._done("cudaFreeHost")

    def cudaStreamCreateWithFlags(self, flags):
        assert flags == self.cudaStreamNonBlocking
        return self._done("cudaStreamCreateWithFlags", 77)

    def cudaStreamDestroy(self, stream):
        return self._done("cudaStreamDestroy")

    def cudaStreamSynchronize(self, stream):
        return self._done("cudaStreamSynchronize")

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        self.work(lambda: ctypes.memmove(target, source, size))
        return self._done(f"copy {kind}")

    def cudaStreamBeginCapture(self, stream, mode):
        assert mode == 1
        answer = self._done("cudaStreamBeginCapture")
        if not int(answer[0]):
            self.recording = []
        return answer

    def cudaStreamEndCapture(self, stream):
        graph, self.recording = Graph(self.recording or []), None
        return self._done("cudaStreamEndCapture", graph)

    def cudaGraphInstantiateWithFlags(self, graph, flags):
        return self._done("cudaGraphInstantiate", graph)

    def cudaGraphDestroy(self, graph):
        return self._done("cudaGraphDestroy")

    def cudaGraphLaunch(self, graph, stream):
        for action in graph.actions:
            action()
        return self._done("cudaGraphLaunch")

    def cudaGraphExecDestroy(self, graph):
        return self._done("cudaGraphExecDestroy")


class Graph:
    """Recorded work."""

    def __init__(self, actions):
        self.actions = actions

    def __int__(self):
        return 1
