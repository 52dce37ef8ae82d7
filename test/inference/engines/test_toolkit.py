"""Loading TensorRT and CUDA together."""

import sys
from types import SimpleNamespace

import pytest
from support.fake_cuda import FakeCuda
from support.fake_tensorrt import FakeTensorRT

from internimage_perception.errors import BackendError
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.engines.profile import profile_of
from internimage_perception.inference.engines.toolkit import Toolkit
from internimage_perception.native_files import ENVIRONMENT


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Return the fakes, installed, and an empty folder of libraries."""
    cuda = FakeCuda()
    trt = FakeTensorRT(cuda)
    package = SimpleNamespace(__path__=[])
    modules = {"tensorrt": trt, "cuda": package, "cuda.bindings": package, "cuda.bindings.runtime": cuda}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    return trt


def test_everything_is_found(installed, tmp_path):
    (tmp_path / "libdcnv3_tensorrt10.so").write_bytes(b"")
    toolkit = Toolkit.open(1)
    assert toolkit.version.text == "10.3.0"
    assert (toolkit.device.index, toolkit.device.name) == (1, "Orin")
    assert toolkit.library == tmp_path / "libdcnv3_tensorrt10.so"
    assert Toolkit.open(0).logger is toolkit.logger
    assert installed.built == []


def test_without_a_gpu_tensorrt_is_not_touched(installed):
    """It may crash there."""
    installed.cuda.failing["cudaSetDevice"] = (100, "cudaErrorNoDevice")
    installed.Builder = installed.Runtime = installed.get_plugin_registry = None
    with pytest.raises(BackendError, match="has no NVIDIA GPU"):
        Toolkit.open()


def test_the_key_holds_what_was_found(installed, monkeypatch, tmp_path):
    del installed
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    toolkit = Toolkit.open()
    bundle = Bundle.load("nano")
    key = toolkit.key(bundle, toolkit.choose(bundle), profile_of(bundle))
    assert (key.form, key.precision, key.gpu, key.tensorrt) == ("function", "fp32", "Orin", "10.3.0")
    assert key.profile == profile_of(bundle)
