"""Backend `tensorrt` from bundle to mask, on fakes of TensorRT and CUDA that answer like the graph."""

import threading

import numpy as np
import pytest
from support.engines import fake_toolkit

from internimage_perception.errors import BackendError
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.backends.onnxruntime import OnnxRuntimeBackend
from internimage_perception.inference.backends.tensorrt import (
    BUILD_ENVIRONMENT,
    GRAPH_ENVIRONMENT,
    TensorRTBackend,
)
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.engines.cache import CACHE_ENVIRONMENT
from internimage_perception.inference.engines.profile import Profile
from internimage_perception.inference.engines.toolkit import Toolkit

FIXED = Profile((4, 4, 4), (48, 48, 48), (64, 64, 64))


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_ENVIRONMENT, str(tmp_path / "cache"))


@pytest.fixture
def bundle(brightness_bundle):
    return Bundle.load(brightness_bundle)


def images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 4, 5, 9])
def test_answers_are_those_of_the_graph(bundle, count):
    """More frames than the engine takes at once become several calls."""
    toolkit = fake_toolkit()
    backend = TensorRTBackend(bundle, toolkit=toolkit)
    frames = images(count, 24, 32)
    expected = OnnxRuntimeBackend(bundle).run(frames)
    answers = backend.run(frames)
    assert set(answers) == {"class_ids", "confidence"}
    for name, answer in answers.items():
        assert answer.dtype == expected[name].dtype
        np.testing.assert_array_equal(answer, expected[name])
    assert toolkit.trt.cuda.calls.count("execute") == -(-count // 4)


@pytest.mark.parametrize("count", [1, 3, 4, 6])
def test_fixed_batches_are_filled_up(bundle, count):
    """A camera that is missing does not change the engine's shape."""
    backend = TensorRTBackend(bundle, profile=FIXED, toolkit=fake_toolkit(fixed=True))
    for seed in range(3):
        frames = images(count, 48, 64, seed=seed)
        answers = backend.run(frames)
        np.testing.assert_array_equal(answers["confidence"], frames[..., 0])
        assert len(answers["class_ids"]) == count


def test_it_says_what_it_is(bundle):
    backend = TensorRTBackend(bundle, toolkit=fake_toolkit())
    assert backend.name == "tensorrt-fp32"
    assert backend.prefers_batch
    assert backend.reference_path is False
    slow = TensorRTBackend(Bundle.load("nano"), toolkit=fake_toolkit())
    assert slow.reference_path is True


@pytest.mark.parametrize(
    "frames",
    [np.zeros((72, 104, 3), np.uint8), np.zeros((1, 72, 104, 3)), np.zeros((0, 72, 104, 3), np.uint8)],
    ids=["one frame", "float", "none"],
)
def test_wrong_images_are_named(bundle, frames):
    with pytest.raises(BackendError, match=r"must be uint8 \(N, H, W, 3\)"):
        TensorRTBackend(bundle, toolkit=fake_toolkit()).run(frames)


def test_frames_of_another_size_are_refused_with_what_to_do(bundle):
    backend = TensorRTBackend(bundle, profile=FIXED, toolkit=fake_toolkit(fixed=True))
    with pytest.raises(BackendError, match=r"64x50 .* which takes 64x48; build one by .*--height 48:48:50"):
        backend.run(images(4, 50, 64))


def test_failures_name_backend_and_images(bundle):
    toolkit = fake_toolkit()
    backend = TensorRTBackend(bundle, toolkit=toolkit)
    toolkit.trt.run_error = "illegal memory access"
    with pytest.raises(
        BackendError, match=r"tensorrt-fp32 failed on images \(1, 16, 16, 3\): .*illegal memory"
    ):
        backend.run(images(1, 32, 16)[:, ::2])


def test_every_instance_has_a_stream_of_its_own_and_gives_it_back(bundle):
    toolkit = fake_toolkit()
    calls = toolkit.trt.cuda.calls
    first, second = (TensorRTBackend(bundle, toolkit=toolkit) for _ in range(2))
    assert calls.count("cudaStreamCreateWithFlags") == 2
    first.run(images(1, 16, 16))
    first.close()
    first.close()
    assert calls.count("cudaStreamDestroy") == 1
    assert not toolkit.trt.cuda.memory
    with pytest.raises(BackendError, match="was closed"):
        first.run(images(1, 16, 16))
    del second
    assert calls.count("cudaStreamDestroy") == 2


def test_threads_may_share_it(bundle):
    backend = TensorRTBackend(bundle, toolkit=fake_toolkit())
    right = []

    def work(seed):
        frames = images(2, 16 + seed, 16, seed=seed)
        for _ in range(20):
            right.append(np.array_equal(backend.run(frames)["confidence"], frames[..., 0]))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 80


def test_switches_of_the_environment(bundle, monkeypatch):
    monkeypatch.setenv(BUILD_ENVIRONMENT, "0")
    with pytest.raises(BackendError, match="there is no engine of brightness"):
        TensorRTBackend(bundle, toolkit=fake_toolkit())
    TensorRTBackend(bundle, profile=FIXED, build=True, toolkit=fake_toolkit(fixed=True))
    monkeypatch.setenv(GRAPH_ENVIRONMENT, "0")
    toolkit = fake_toolkit(fixed=True)
    backend = TensorRTBackend(bundle, toolkit=toolkit)
    for _ in range(3):
        backend.run(images(4, 48, 64))
    assert "cudaStreamBeginCapture" not in toolkit.trt.cuda.calls
    assert toolkit.trt.built == []


def test_a_graph_of_another_task_is_refused(bundle, monkeypatch):
    monkeypatch.setattr("support.fake_tensorrt.Engine.names", ("images", "boxes", "scores"))
    toolkit = fake_toolkit()
    with pytest.raises(
        BackendError, match=r"is no deployed segmentation graph: it lacks class_ids, confidence"
    ):
        TensorRTBackend(bundle, toolkit=toolkit)
    assert "cudaStreamDestroy" in toolkit.trt.cuda.calls


def test_a_cache_that_cannot_be_written_is_a_reason(bundle, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match="engines cannot be kept"):
        TensorRTBackend(bundle, cache=tmp_path / "file" / "below", toolkit=fake_toolkit())


def test_by_name(bundle, monkeypatch):
    monkeypatch.setattr(Toolkit, "open", lambda _device: fake_toolkit())
    assert create_backend("tensorrt", bundle).name == "tensorrt-fp32"
