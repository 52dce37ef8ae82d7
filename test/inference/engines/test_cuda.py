"""CUDA's return codes made exceptions that say what to do."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from support.fake_cuda import FakeCuda

from internimage_perception.errors import BackendError
from internimage_perception.inference.engines.cuda import Cuda, Device, load_cuda


def test_a_device_says_what_it_is():
    assert Cuda(FakeCuda()).device(0) == Device(0, "Orin", "8.7")
    assert Cuda(FakeCuda(b"NVIDIA H200", (9, 0))).device(1) == Device(1, "NVIDIA H200", "9.0")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("cudaErrorMemoryAllocation", "smaller batch"),
        ("cudaErrorInsufficientDriver", "cuda-python<13"),
        ("cudaErrorNoDevice", "has no NVIDIA GPU"),
        ("cudaErrorInvalidDevice", "fewer GPUs"),
        ("cudaErrorIllegalAddress", r"\(cudaErrorIllegalAddress\)$"),
    ],
)
def test_errors_name_the_call_and_what_to_do(name, advice):
    fake = FakeCuda()
    fake.failing["cudaSetDevice"] = (5, name)
    with pytest.raises(BackendError, match=f"cudaSetDevice failed: as the test wants it.*{advice}"):
        Cuda(fake).device(3)


def test_page_locked_memory_is_an_array():
    cuda = Cuda(FakeCuda())
    address, view = cuda.allocate_host(12)
    view[:] = np.arange(12)
    assert view.ctypes.data == address
    device = cuda.allocate(12)
    other, back = cuda.allocate_host(12)
    cuda.upload(device, address, 12, 0)
    cuda.download(other, device, 12, 0)
    np.testing.assert_array_equal(back, np.arange(12))


def modules(monkeypatch, **found):
    for name in ("cuda", "cuda.bindings", "cuda.bindings.runtime", "cuda.cudart"):
        monkeypatch.setitem(sys.modules, name, found.get(name.replace(".", "_")))


def test_both_places_of_the_module_are_known(monkeypatch):
    new, old, package = FakeCuda(b"new"), FakeCuda(b"old"), SimpleNamespace(__path__=[])
    modules(monkeypatch, cuda=package, cuda_bindings=package, cuda_bindings_runtime=new, cuda_cudart=old)
    assert load_cuda().device(0).name == "new"
    modules(monkeypatch, cuda=package, cuda_cudart=old)
    assert load_cuda().device(0).name == "old"
    modules(monkeypatch)
    with pytest.raises(BackendError, match=r"cuda-python cannot be imported.*pip install"):
        load_cuda()


def test_older_names_of_instantiation_work():
    class Old(FakeCuda):
        def __getattribute__(self, name):
            if name == "cudaGraphInstantiateWithFlags":
                raise AttributeError(name)
            if name == "cudaGraphInstantiate":
                return FakeCuda.cudaGraphInstantiateWithFlags.__get__(self)
            return super().__getattribute__(name)

    fake = Old()
    cuda = Cuda(fake)
    cuda.begin_capture(77)
    fake.work(lambda: fake.calls.append("work"))
    cuda.launch(cuda.end_capture(77), 77)
    assert fake.calls[-3:] == ["cudaGraphDestroy", "work", "cudaGraphLaunch"]
