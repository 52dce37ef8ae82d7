"""A toolkit of fakes, and keys, for tests of engines."""

from support.fake_cuda import FakeCuda
from support.fake_tensorrt import FakeTensorRT

from internimage_perception.inference.engines.cuda import Cuda
from internimage_perception.inference.engines.key import EngineKey
from internimage_perception.inference.engines.tensorrt_module import (
    MessageFilter,
    make_logger,
    parse_version,
)
from internimage_perception.inference.engines.toolkit import Toolkit


def fake_toolkit(version="10.3.0", *, library=None, fixed=False, gpu=b"Orin", capability=(8, 7)):
    """Return a toolkit on fakes; `.trt` and `.trt.cuda` show what was called."""
    cuda = FakeCuda(gpu, capability)
    trt = FakeTensorRT(cuda, version, fixed=fixed)
    messages = MessageFilter()
    runtime = Cuda(cuda)
    return Toolkit(
        trt, parse_version(version), make_logger(trt, messages), messages, runtime, runtime.device(0), library
    )


def key(**changes):
    """Return a key, with some parts changed."""
    parts = {
        "graph": "a" * 64, "form": "plugin", "plugin": "b" * 64, "tensorrt": "10.3.0", "gpu": "Orin",
        "compute_capability": "8.7", "precision": "fp16", "batch": "1,4,4", "height": "960,960,960",
        "width": "1280,1280,1280",
    }  # fmt: skip
    return EngineKey(**{**parts, **changes})
