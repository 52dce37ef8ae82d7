"""The worker of a task: newest first, at its own pace, whatever a set brings."""

import os
import threading
import time

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from internimage_perception.inference.frames import FrameSet
from internimage_perception.nodes.pump import ReadySet
from internimage_perception.nodes.throttle import Throttle, kind_of
from internimage_perception.nodes.worker import TaskWorker


def ready(index: int, ready_ns: int = 0) -> ReadySet:
    return ReadySet(FrameSet(index, index, {}), 0, ready_ns)


class Gate:
    """A task that waits to be let on."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.entered = threading.Semaphore(0)
        self.open = threading.Semaphore(0)

    def __call__(self, item: ReadySet) -> None:
        self.begun.append(item.frame_set.index)
        self.entered.release()
        assert self.open.acquire(timeout=10)


def test_the_oldest_waiting_set_gives_way() -> None:
    gate = Gate()
    worker = TaskWorker("test", gate, pytest.fail, depth=2)
    worker.put(ready(0))
    assert gate.entered.acquire(timeout=10)
    for index in range(1, 6):
        worker.put(ready(index))
    for _ in range(3):
        gate.open.release()
    for _ in range(2):
        assert gate.entered.acquire(timeout=10)
    worker.close()
    assert gate.begun == [0, 4, 5]
    assert worker.overrun == 3 and worker.processed == 3


def test_exceptions_end_nothing() -> None:
    errors: list[str] = []
    done = threading.Event()

    def process(item: ReadySet) -> None:
        if item.frame_set.index == 0:
            raise ValueError("bad set")
        done.set()

    worker = TaskWorker("test", process, lambda error: errors.append(str(error)), depth=5)
    worker.put(ready(0))
    worker.put(ready(1))
    assert done.wait(10)
    worker.close()
    assert errors == ["bad set"]
    assert (worker.failed, worker.last_failure, worker.processed) == (1, "ValueError: bad set", 1)


def test_the_rate_is_kept_on_average() -> None:
    taken: list[int] = []
    worker = TaskWorker(
        "test", lambda item: taken.append(item.frame_set.index), pytest.fail, depth=100, max_rate_hz=5.0
    )
    # 30 Hz for two seconds, with jitter.
    for index in range(60):
        worker.put(ready(index, 10**9 + index * 33_333_333 + (index % 3) * 2_000_000))
    end = time.monotonic() + 10
    while worker.processed < 10 and time.monotonic() < end:
        time.sleep(0.01)
    worker.close()
    assert len(taken) == 10


def test_the_nice_value_is_the_threads_own() -> None:
    found: list[int] = []
    done = threading.Event()

    def process(_: ReadySet) -> None:
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        done.set()

    before = os.getpriority(os.PRIO_PROCESS, 0)
    worker = TaskWorker("test", process, pytest.fail, nice=before + 3)
    worker.put(ready(0))
    assert done.wait(10)
    worker.close()
    assert found == [before + 3]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_throttle_says_once_and_counts_the_rest() -> None:
    now = [0.0]
    throttle = Throttle(5.0, lambda: now[0])
    assert throttle("a", "hello") == "hello"
    assert throttle("a", "hello") is None
    assert throttle("b", "other") == "other"
    now[0] = 4.9
    assert throttle("a", "hello") is None
    now[0] = 5.1
    assert throttle("a", "hello") == "hello (2 more like this)"


def test_reasons_of_one_kind_share_a_key_and_keys_stay_few() -> None:
    short = [f"rgb8 image of 640x480 with step 1920 needs 921600 bytes, got {count}" for count in (1, 99)]
    assert kind_of(short[0]) == kind_of(short[1]) != kind_of("image encoding 'x' is not supported")
    assert kind_of("image encoding 'x' is not supported") == kind_of("image encoding 'yy' is not supported")
    throttle = Throttle(5.0, lambda: 0.0)
    for index in range(10_000):
        throttle(f"key {index}", "said")
    assert len(throttle._last) <= 256
