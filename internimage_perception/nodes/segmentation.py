"""The segmentation task inside the node: its worker, publishers, timings and set log."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header

from internimage_perception.errors import ConfigError
from internimage_perception.inference.frames import FrameSet
from internimage_perception.inference.parameters import PerceptionParameters
from internimage_perception.inference.results import SegmentationResult
from internimage_perception.inference.tasks import SegmentationTask
from internimage_perception.msg import StageTimings
from internimage_perception.nodes.publishing import SegmentationPublishers, time_message
from internimage_perception.nodes.pump import ReadySet
from internimage_perception.nodes.worker import TaskWorker


class SegmentationHost:
    """Runs a SegmentationTask in its worker and publishes what comes out.

    Args:
        node: the owner.
        task: the task, ready to run.
        publishers: its topics.
        parameters: queue, rate, priority, set log.
        on_bad_frame: takes (camera, reason) of frames that could not be used.
        on_error: takes exceptions of the task itself.
        append_log: the set log goes on after an earlier activation of this process.
    """

    def __init__(
        self,
        node: LifecycleNode,
        task: SegmentationTask,
        publishers: SegmentationPublishers,
        parameters: PerceptionParameters,
        on_bad_frame: Callable[[str, str], None],
        on_error: Callable[[Exception], None],
        *,
        append_log: bool = False,
    ) -> None:
        self._node = node
        self._task = task
        self._publishers = publishers
        self._on_bad_frame = on_bad_frame
        self._log = _open_log(parameters.set_log, append=append_log)
        self.worker = TaskWorker(
            "segmentation",
            self._process,
            on_error,
            depth=parameters.queue_depth,
            max_rate_hz=parameters.segmentation_max_rate_hz,
            nice=parameters.segmentation_nice,
        )

    def close(self) -> None:
        """Finish the set at hand and stop."""
        self.worker.close()
        if self._log is not None:
            self._log.close()

    def _process(self, ready: ReadySet) -> None:
        start = time.monotonic_ns()
        decoded = self._task.decode(ready.frame_set)
        result = self._task.infer(decoded)
        publishing = time.monotonic_ns()
        for mask in result.masks.values():
            self._publishers.publish(mask, decoded.images[mask.camera])
        done = time.monotonic_ns()
        for camera, reason in result.errors.items():
            self._on_bad_frame(camera, reason)
        stages = {
            "wait": ready.wait_ns,
            "queue": start - ready.ready_ns,
            **result.stages_ns,
            "publish": done - publishing,
        }
        latency_ns = ready.wait_ns + done - ready.ready_ns
        self._publishers.publish_timings(_timings(ready.frame_set, result, stages, latency_ns))
        if self._log is not None:
            self._log.write(json.dumps(set_record(ready.frame_set)) + "\n")
            self._log.flush()


def set_record(frame_set: FrameSet) -> dict[str, object]:
    """Return which images a set is made of, as the set log states it; replay reads it back."""
    return {
        "index": frame_set.index,
        "stamp_ns": frame_set.stamp_ns,
        "frames": {name: frame.stamp_ns for name, frame in frame_set.frames.items()},
        "missing": list(frame_set.missing),
    }


def _timings(
    frame_set: FrameSet, result: SegmentationResult, stages: dict[str, int], latency_ns: int
) -> StageTimings:
    return StageTimings(
        header=Header(stamp=time_message(frame_set.stamp_ns), frame_id="base_link"),
        task=SegmentationTask.name,
        set_index=frame_set.index % 2**32,
        cameras=list(result.masks),
        errors=[f"{camera}: {reason}" for camera, reason in result.errors.items()],
        missing=list(frame_set.missing),
        stages=list(stages),
        durations_ns=list(stages.values()),
        latency_ns=latency_ns,
    )


def _open_log(path: str, *, append: bool) -> TextIO | None:
    if not path:
        return None
    try:
        return Path(path).open("a" if append else "w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write set_log {path}: {error.strerror}") from error
