"""Which backend `auto` takes, and what it says of it; names with a device take that device."""

import logging
from types import SimpleNamespace

import onnxruntime
import pytest

from internimage_perception.errors import BackendError
from internimage_perception.inference.backends import BACKENDS, automatic, create_backend
from internimage_perception.inference.backends.automatic import CANDIDATES, pick_backend
from internimage_perception.inference.backends.onnxruntime import PROVIDERS, OnnxRuntimeBackend
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.engines.cache import CACHE_ENVIRONMENT
from internimage_perception.native_files import OPS_ENVIRONMENT


@pytest.fixture
def bundle(brightness_bundle):
    return Bundle.load(brightness_bundle)


def creator(*working):
    asked = []

    def create(name, bundle, *, threads=None):
        assert threads == 3
        asked.append(name)
        if name not in working:
            raise BackendError(f"no {name} for {bundle.name}")
        return SimpleNamespace(name=name, reference_path=False)

    return create, asked


@pytest.mark.parametrize("best", range(len(CANDIDATES)))
def test_the_first_that_works_is_taken(bundle, monkeypatch, caplog, best):
    monkeypatch.setattr(automatic, "_has_driver", lambda: True)
    create, asked = creator(*CANDIDATES[best:])
    with caplog.at_level(logging.INFO):
        assert pick_backend(bundle, create, threads=3).name == CANDIDATES[best]
    assert asked == list(CANDIDATES[: best + 1])
    (line,) = caplog.records
    assert line.levelno == (logging.WARNING if best else logging.INFO)
    reasons = "".join(f"; not {name}: no {name} for brightness" for name in CANDIDATES[:best])
    assert line.getMessage() == f"backend auto took {CANDIDATES[best]}{reasons}"


def test_without_a_driver_no_library_is_asked_for_the_gpu(bundle, monkeypatch, caplog):
    monkeypatch.setattr(automatic, "_DRIVER", "libnosuchdriver.so")
    create, asked = creator(*CANDIDATES)
    with caplog.at_level(logging.INFO):
        assert pick_backend(bundle, create, threads=3).name == "onnxruntime"
    assert asked == ["onnxruntime"]
    assert (
        "not tensorrt: no NVIDIA driver here (libnosuchdriver.so is not found); not torch-cuda" in caplog.text
    )
    assert caplog.records[0].levelno == logging.INFO


def test_a_driver_is_a_library_that_loads(monkeypatch):
    monkeypatch.setattr(automatic, "_DRIVER", "libc.so.6")
    assert automatic._has_driver()


def test_all_reasons_are_said_when_none_works(bundle):
    create, _ = creator()
    with pytest.raises(BackendError, match=r"onnxruntime: no onnxruntime for brightness; torch-cpu: no"):
        pick_backend(bundle, create, threads=3)


def test_the_slow_way_is_said(bundle, monkeypatch, caplog):
    monkeypatch.setenv(OPS_ENVIRONMENT, "reference")
    assert create_backend("auto", bundle, threads=1).name == "onnxruntime-cpu"
    assert "SLOW" not in caplog.text
    assert create_backend("auto", Bundle.load("nano"), threads=1).name == "onnxruntime-cpu"
    assert "SLOW: DCNv3 of nano runs as a function of standard operators on onnxruntime-cpu" in caplog.text


def test_names_with_a_device(bundle):
    assert create_backend("onnxruntime-cpu", bundle).name == "onnxruntime-cpu"
    assert create_backend("torch-cpu", Bundle.load("nano")).name == "torch-cpu"
    assert set(PROVIDERS) == {name for name in BACKENDS if name.startswith("onnxruntime-")}


class Session:
    """Takes what providers this computer does not have."""

    asked: tuple = ()
    takes = "CPUExecutionProvider"

    def __init__(self, _path, _options, providers):
        type(self).asked = tuple(providers)

    def get_providers(self):
        return [self.takes]

    def get_outputs(self):
        return [SimpleNamespace(name=name) for name in ("class_ids", "confidence")]

    def get_inputs(self):
        return [SimpleNamespace(name="images", shape=["n", "h", "w", 3])]


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """An ONNX Runtime for the GPU."""
    monkeypatch.setenv(CACHE_ENVIRONMENT, str(tmp_path))
    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("onnxruntime", ["CUDAExecutionProvider", "CPUExecutionProvider"]),
        ("onnxruntime-cuda", ["CUDAExecutionProvider", "CPUExecutionProvider"]),
        (
            "onnxruntime-tensorrt",
            ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
        ),
    ],
)
@pytest.mark.usefixtures("gpu")
def test_execution_providers(bundle, monkeypatch, name, asked):
    monkeypatch.setattr(Session, "takes", asked[0])
    backend = create_backend(name, bundle)
    assert [provider for provider, _ in Session.asked] == asked
    assert backend.name == "onnxruntime-" + asked[0].removesuffix("ExecutionProvider").lower()
    assert backend.prefers_batch


def test_tensorrt_in_onnxruntime_keeps_its_engines(bundle, monkeypatch, gpu):
    monkeypatch.setattr(Session, "takes", "TensorrtExecutionProvider")
    OnnxRuntimeBackend(bundle, providers=PROVIDERS["onnxruntime-tensorrt"])
    options = Session.asked[0][1]
    folder = gpu / "engines" / f"onnxruntime-{onnxruntime.__version__}" / bundle.identity()
    assert folder.is_dir()
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "True"
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == str(folder)
    assert options["trt_fp16_enable"] == options["trt_int8_enable"] == "False"
    assert Session.asked[1][1] == {}


@pytest.mark.usefixtures("gpu")
def test_a_provider_that_does_not_load_is_no_cpu(bundle):
    """ONNX Runtime goes on with the CPU; who asked for the GPU is told."""
    with pytest.raises(BackendError, match=r"CUDAExecutionProvider of onnxruntime .* does not work here"):
        create_backend("onnxruntime-cuda", bundle)
    assert create_backend("onnxruntime", bundle).name == "onnxruntime-cpu"
