"""Feeds the collector from callbacks, and wakes it when a deadline passes without a frame."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from internimage_perception.inference.collector import RigCollector
from internimage_perception.inference.frames import Frame, FrameSet
from internimage_perception.inference.ring import CameraStats

_LONGEST_SLEEP_S = 0.1
"""The ROS clock may jump (simulated time) while the pump sleeps by the wall's."""


@dataclass(frozen=True, slots=True, eq=False)
class ReadySet:
    """A FrameSet on its way, with the times its latency is counted from.

    Attributes:
        frame_set: the set.
        wait_ns: how long its last frame waited for others, nanoseconds.
        ready_ns: when the set was ready, monotonic nanoseconds.
    """

    frame_set: FrameSet
    wait_ns: int
    ready_ns: int


class SetPump:
    """Owns the collector: frames in by any thread, ready sets out through `on_set`.

    Args:
        collector: the collector; nobody else may touch it.
        clock: ROS time in nanoseconds.
        on_set: takes each ready set, in order; must not block.
    """

    def __init__(
        self, collector: RigCollector, clock: Callable[[], int], on_set: Callable[[ReadySet], None]
    ) -> None:
        self.collector = collector
        self._clock = clock
        self._on_set = on_set
        self._changed = threading.Condition()
        self._running = True
        self._thread = threading.Thread(target=self._watch_deadlines, name="set-pump", daemon=True)
        self._thread.start()

    @property
    def stats(self) -> Mapping[str, CameraStats]:
        """Counts per camera."""
        return self.collector.stats

    def add(self, frame: Frame) -> None:
        """Take a frame in and pass on the sets that it completes."""
        with self._changed:
            now_ns = self._clock()
            had_due = self.collector.next_due_ns() is not None
            self._pass_on(self.collector.add(frame, now_ns), now_ns)
            # Waking the watcher costs; it only matters when it slept without a deadline.
            if not had_due and self.collector.next_due_ns() is not None:
                self._changed.notify()

    def close(self) -> None:
        """Pass on what waits and stop."""
        with self._changed:
            self._running = False
            self._pass_on(self.collector.flush(), self._clock())
            self._changed.notify()
        self._thread.join()

    def _pass_on(self, sets: list[FrameSet], now_ns: int) -> None:
        for found in sets:
            last = max(frame.receive_ns for frame in found.frames.values())
            self._on_set(ReadySet(found, max(0, now_ns - last), time.monotonic_ns()))

    def _watch_deadlines(self) -> None:
        with self._changed:
            while self._running:
                due = self.collector.next_due_ns()
                if due is None:
                    self._changed.wait()
                else:
                    self._changed.wait(min(_LONGEST_SLEEP_S, max(0.001, (due - self._clock()) * 1e-9)))
                if self._running:
                    now_ns = self._clock()
                    self._pass_on(self.collector.poll(now_ns), now_ns)
