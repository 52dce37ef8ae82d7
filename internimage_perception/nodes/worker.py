"""A task's own thread: the newest sets in, results out, at its own pace."""

import os
import threading
from collections import deque
from collections.abc import Callable

from internimage_perception.nodes.pump import ReadySet


class TaskWorker:
    """Runs `process` on ready sets in a thread of its own; when it cannot keep up, the oldest give way.

    Attributes:
        processed: sets that came through.
        overrun: sets that gave way.
        failed: sets on which `process` raised.
        last_failure: what it raised last, type and message; empty before.

    Args:
        name: the thread's name.
        process: handles one set; its exceptions go to `on_error` and end nothing.
        on_error: takes what `process` raised.
        depth: sets that may wait.
        max_rate_hz: above 0, at most this many sets a second; those between are left out.
        nice: nice value of the thread, 0 to 19.
    """

    def __init__(
        self,
        name: str,
        process: Callable[[ReadySet], None],
        on_error: Callable[[Exception], None],
        *,
        depth: int = 1,
        max_rate_hz: float = 0.0,
        nice: int = 0,
    ) -> None:
        self.processed = 0
        self.overrun = 0
        self.failed = 0
        self.last_failure = ""
        self._process = process
        self._on_error = on_error
        self._depth = depth
        self._period_ns = round(1e9 / max_rate_hz) if max_rate_hz > 0 else 0
        self._nice = nice
        self._next_ns = 0
        self._waiting: deque[ReadySet] = deque()
        self._changed = threading.Condition()
        self._running = True
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, ready: ReadySet) -> None:
        """Hand a set in; never blocks."""
        with self._changed:
            if self._period_ns:
                if ready.ready_ns < self._next_ns:
                    return
                # Counted from the last slot, so that an arrival a little late does not slow the rate down;
                # after a pause from now on, so that no burst makes up for it.
                paused = ready.ready_ns - self._next_ns > self._period_ns
                self._next_ns = (ready.ready_ns if paused else self._next_ns) + self._period_ns
            if len(self._waiting) >= self._depth:
                self._waiting.popleft()
                self.overrun += 1
            self._waiting.append(ready)
            self._changed.notify()

    def close(self, timeout_s: float = 10.0) -> None:
        """Finish the set at hand, drop the waiting ones, and stop."""
        with self._changed:
            self._running = False
            self._waiting.clear()
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        if self._nice:
            # On Linux a thread has a nice value of its own.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)
        while True:
            with self._changed:
                while self._running and not self._waiting:
                    self._changed.wait()
                if not self._running:
                    return
                ready = self._waiting.popleft()
            try:
                self._process(ready)
            except Exception as error:  # noqa: BLE001 - the thread must outlive whatever one set brings
                # The reason first: who sees the count asks for it.
                self.last_failure = f"{type(error).__name__}: {error}"
                self.failed += 1
                self._on_error(error)
            else:
                self.processed += 1
