# ruff: noqa: ARG002, ARG005, N802 - names and arguments are those of TensorRT
"""TensorRT's Python module as far as engines use it, recorded; engines answer like `brightness_bundle`.

It stands in where a GPU is needed: the calls, their order, and the way of the bytes are tested with it.
Parsing and building are tested with the real TensorRT-RTX (`test_build_real.py`), which holds the names too.
"""

import ctypes
import enum
import json
from types import SimpleNamespace

import numpy as np

Severity = enum.Enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")
Mode = enum.Enum("Mode", "INPUT OUTPUT")
Kind = enum.Enum("Kind", "UINT8 FLOAT")


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING = Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING


class Plan(bytes):
    """What the builder returns: bytes that say what they were built from."""

    @property
    def nbytes(self):
        return len(self)


class FakeTensorRT:
    """Stands for the module `tensorrt`.

    Attributes:
        cuda: the fake runtime that the engine's work goes to.
        built: one entry per build: flags, graph, path, shapes, workspace, timing cache.
        parse_error: what the parser refuses every graph with; empty: it refuses none.
        build_error: what the builder logs instead of a plan; empty: it builds.
        run_error: what running fails with; empty: it runs.
        creators: names of plugins in the registry.
        libraries: plugin libraries that were loaded.
    """

    MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    ILogger = ILogger

    def __init__(self, cuda, version="10.3.0", *, fixed=False):
        self.__version__ = version
        self.__name__ = "tensorrt"
        self.cuda = cuda
        self.fixed = fixed
        self.built = []
        self.parse_error = self.build_error = self.run_error = ""
        self.creators = []
        self.libraries = []
        major = int(version.split(".")[0])
        flags = {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}
        if major < 10:
            del flags["STRONGLY_TYPED"]
        self.NetworkDefinitionCreationFlag = SimpleNamespace(**flags)
        self.BuilderFlag = SimpleNamespace() if major > 10 else SimpleNamespace(FP16="fp16", INT8="int8")
        looked_up = "get_plugin_creator" if major < 10 else "get_creator"
        self.registry = SimpleNamespace(
            load_library=self._load_library,
            **{looked_up: lambda name, version, space: name if name in self.creators else None},
        )

    def get_plugin_registry(self):
        return self.registry

    def _load_library(self, path):
        if path in self.libraries:
            return None
        self.libraries.append(path)
        self.creators.append("DCNv3")
        return path

    def Builder(self, logger):
        return Builder(self, logger)

    def OnnxParser(self, network, logger):
        return Parser(self, network)

    def Runtime(self, logger):
        return Runtime(self, logger)


class Parser:
    def __init__(self, trt, network):
        self._trt = trt
        self._network = network
        self.num_errors = 0

    def parse(self, model, path=None):
        self._network.content, self._network.path = bytes(model), path
        self.num_errors = int(bool(self._trt.parse_error))
        return not self.num_errors

    def get_error(self, index):
        return SimpleNamespace(desc=lambda: self._trt.parse_error, node=lambda: 7)


class Builder:
    def __init__(self, trt, logger):
        self._trt = trt
        self._logger = logger

    def create_network(self, flags=0):
        shape = (4, 48, 64, 3) if self._trt.fixed else (-1, -1, -1, 3)
        frames = SimpleNamespace(name="images", shape=shape)
        return SimpleNamespace(flags=flags, num_inputs=1, get_input=lambda _: frames)

    def create_builder_config(self):
        return Config()

    def create_optimization_profile(self):
        profile = SimpleNamespace(shapes=None)
        profile.set_shape = lambda name, *shapes: setattr(profile, "shapes", shapes)
        return profile

    def build_serialized_network(self, network, config):
        if self._trt.build_error:
            self._logger.log(Severity.ERROR, self._trt.build_error)
            return None
        if config.cache is not None:
            config.cache.content += b"+timings"
        entry = {
            "flags": network.flags, "path": network.path, "bytes": len(network.content), "set": config.flags,
            "shapes": config.shapes, "workspace": config.workspace, "known": config.known,
        }  # fmt: skip
        self._trt.built.append(entry | {"content": network.content})
        return Plan(json.dumps(entry | {"fixed": self._trt.fixed}).encode())


class Config:
    def __init__(self):
        self.flags, self.shapes, self.workspace, self.cache, self.known = [], None, None, None, None

    def set_flag(self, flag):
        self.flags.append(flag)

    def set_memory_pool_limit(self, pool, pool_size):
        assert pool == "workspace"
        self.workspace = pool_size

    def add_optimization_profile(self, profile):
        self.shapes = profile.shapes

    def create_timing_cache(self, serialized_timing_cache):
        content = bytes(serialized_timing_cache)
        self.known = content.decode()
        return SimpleNamespace(content=content, serialize=lambda: self.cache.content)

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        if cache.content.startswith(b"foreign"):
            return False
        self.cache = cache
        return True

    def get_timing_cache(self):
        return self.cache


class Runtime:
    def __init__(self, trt, logger):
        self._trt = trt
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        try:
            return Engine(self._trt, self._logger, json.loads(serialized_engine))
        except ValueError:
            self._logger.log(Severity.ERROR, "magic tag does not match")
            return None


class Engine:
    names = ("images", "class_ids", "confidence")
    num_io_tensors = 3

    def __init__(self, trt, logger, content):
        self.trt = trt
        self.logger = logger
        self.content = content

    def get_tensor_name(self, index):
        return self.names[index]

    def get_tensor_mode(self, name):
        return Mode.INPUT if name == "images" else Mode.OUTPUT

    def get_tensor_dtype(self, name):
        return Kind.UINT8

    def get_tensor_shape(self, name):
        return (4, 48, 64, 3) if self.content["fixed"] else (-1, -1, -1, 3)

    def create_execution_context(self):
        return Context(self)


class Context:
    def __init__(self, engine):
        self._engine = engine
        self._shape = None
        self._addresses = {}

    def set_input_shape(self, name, shape):
        self._shape = shape
        return True

    def get_tensor_shape(self, name):
        return self._shape if name == "images" else self._shape[:3]

    def set_tensor_address(self, name, memory):
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        assert stream_handle == 77
        trt = self._engine.trt
        trt.cuda.calls.append("execute")
        if trt.run_error:
            self._engine.logger.log(Severity.ERROR, trt.run_error)
            return False
        trt.cuda.work(self._compute)
        return True

    def _compute(self):
        frames = self._view("images", self._shape)
        self._view("class_ids", self._shape[:3])[...] = frames.mean(axis=3) // 20
        self._view("confidence", self._shape[:3])[...] = frames[..., 0]

    def _view(self, name, shape):
        pointer = ctypes.cast(self._addresses[name], ctypes.POINTER(ctypes.c_uint8))
        return np.ctypeslib.as_array(pointer, shape)
