"""One engine running: where bytes go, what is allocated, what is recorded. On fakes of TensorRT and CUDA."""

import logging

import numpy as np
import pytest
from support.engines import fake_toolkit

from internimage_perception.errors import BackendError
from internimage_perception.inference.engines.session import EngineSession

CALL = ["copy up", "execute", "copy down", "copy down", "cudaStreamSynchronize"]


def make(*, fixed=False, **options):
    toolkit = fake_toolkit(fixed=fixed)
    engine = toolkit.deserialize(b'{"fixed": %s}' % (b"true" if fixed else b"false"))
    session = EngineSession(engine, toolkit.cuda, toolkit.messages, **options)
    toolkit.trt.cuda.calls.clear()
    return session, toolkit.trt


def frames(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def check(answers, images):
    expected = images.mean(axis=3) // 20
    np.testing.assert_array_equal(answers["class_ids"], expected)
    np.testing.assert_array_equal(answers["confidence"], images[..., 0])
    assert all(answer.dtype == np.uint8 for answer in answers.values())


def test_bytes_arrive_and_come_back():
    session, trt = make()
    images = frames(2, 24, 32)
    check(session.run(images, 2), images)
    assert trt.cuda.calls == [*["cudaMalloc", "cudaHostAlloc"] * 3, *CALL]


def test_memory_is_allocated_once_and_only_grows():
    session, trt = make()
    for shape in ((2, 24, 32), (2, 24, 32), (1, 24, 32), (2, 12, 64), (4, 24, 32), (2, 24, 32)):
        images = frames(*shape)
        check(session.run(images, shape[0]), images)
    pixels = [2 * 24 * 32, 4 * 24 * 32]
    assert trt.cuda.device_sizes == [pixels[0] * 3, pixels[0], pixels[0], pixels[1] * 3, pixels[1], pixels[1]]
    assert len(trt.cuda.memory) == 6


def test_answers_are_copies():
    session, _ = make()
    first = frames(1, 8, 8)
    answers = session.run(first, 1)
    session.run(frames(1, 8, 8, seed=1), 1)
    check(answers, first)


def test_views_of_messages_are_taken():
    session, _ = make()
    padded = frames(1, 8, 20)
    padded.flags.writeable = False
    for view in (padded[:, :, :16], padded[:, ::-1, ::-1]):
        check(session.run(view, 1), view)


def test_a_batch_may_be_larger_than_its_frames():
    session, trt = make(fixed=True)
    images = frames(3, 48, 64)
    check(session.run(images, 4), images)
    assert trt.cuda.device_sizes[0] == 4 * 48 * 64 * 3


def test_fixed_shapes_become_one_command_from_the_second_call_on():
    session, trt = make(fixed=True)
    for seed in range(4):
        images = frames(4, 48, 64, seed=seed)
        check(session.run(images, 4), images)
    calls = trt.cuda.calls[6:]
    capture = ["cudaStreamBeginCapture", *CALL[:-1], "cudaStreamEndCapture", "cudaGraphInstantiate"]
    assert calls[: len(CALL)] == CALL
    rest = [*capture, "cudaGraphDestroy", *["cudaGraphLaunch", "cudaStreamSynchronize"] * 3]
    assert calls[len(CALL) :] == rest
    session.close()
    assert "cudaGraphExecDestroy" in trt.cuda.calls


@pytest.mark.parametrize(("fixed", "options"), [(True, {"cuda_graph": False}), (False, {})])
def test_no_graph_where_it_is_off_or_shapes_vary(fixed, options):
    session, trt = make(fixed=fixed, **options)
    for _ in range(3):
        session.run(frames(4, 48, 64), 4)
    assert trt.cuda.calls[6:] == CALL * 3


@pytest.mark.parametrize(
    "failing", ["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate"]
)
def test_a_graph_that_fails_is_done_without(failing, caplog):
    session, trt = make(fixed=True)
    trt.cuda.failing[failing] = (900, "cudaErrorStreamCaptureUnsupported")
    with caplog.at_level(logging.WARNING):
        for seed in range(3):
            images = frames(4, 48, 64, seed=seed)
            check(session.run(images, 4), images)
    assert "without a CUDA graph" in caplog.text
    assert "cudaErrorStreamCaptureUnsupported" in caplog.text
    assert trt.cuda.calls.count(failing) == 1
    assert "cudaGraphLaunch" not in trt.cuda.calls


def test_work_that_cannot_be_recorded_ends_the_recording(caplog):
    session, trt = make(fixed=True)
    session.run(frames(4, 48, 64), 4)
    trt.run_error = "operation not permitted when stream is capturing"
    original = session._context.execute_async_v3

    def once(stream):
        answer = original(stream)
        trt.run_error = ""
        return answer

    session._context.execute_async_v3 = once
    images = frames(4, 48, 64, seed=1)
    check(session.run(images, 4), images)
    assert trt.cuda.recording is None
    assert "not permitted when stream is capturing" in caplog.text
    assert "cudaGetLastError" in trt.cuda.calls


def test_a_failing_engine_says_why():
    session, trt = make()
    trt.run_error = "illegal memory access"
    with pytest.raises(BackendError, match="the engine failed: illegal memory access"):
        session.run(frames(1, 8, 8), 1)


def test_too_little_memory_is_said_and_survived():
    session, trt = make()
    trt.cuda.failing["cudaHostAlloc"] = (2, "cudaErrorMemoryAllocation")
    with pytest.raises(BackendError, match=r"cudaHostAlloc failed.*free memory, or take a smaller batch"):
        session.run(frames(1, 8, 8), 1)
    assert trt.cuda.calls[-1] == "cudaFree"
    trt.cuda.failing.clear()
    images = frames(1, 8, 8)
    check(session.run(images, 1), images)


def test_closing_gives_everything_back():
    session, trt = make(fixed=True)
    for _ in range(2):
        session.run(frames(4, 48, 64), 4)
    session.close()
    session.close()
    assert trt.cuda.calls.count("cudaStreamDestroy") == 1
    assert trt.cuda.calls.count("cudaFree") == trt.cuda.calls.count("cudaFreeHost") == 3
