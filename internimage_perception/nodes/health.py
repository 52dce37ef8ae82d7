"""What the node says of itself: /diagnostics, and hints when images do not come."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode

from internimage_perception.inference.lens import LensMasks
from internimage_perception.inference.ring import CameraStats
from internimage_perception.nodes.camera_input import CameraInput
from internimage_perception.nodes.recent import PERIOD_S, Recent
from internimage_perception.nodes.throttle import Throttle
from internimage_perception.nodes.worker import TaskWorker

_OK, _WARN, _ERROR, _STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)
_ODD_AGE_NS = 1_000_000_000
"""Images older than this when they arrive speak of a wrong clock or a slow link."""


class Health:
    """Watches cameras and workers, publishes one DiagnosticArray a second.

    Counts add up; rates and levels are those of the last `PERIOD_S` seconds.

    Args:
        node: the owner.
        inputs: the cameras.
        lenses: the lenses known by now.
        stale_after_s: a camera silent for longer is reported, seconds.
        throttle: keeps hints rare.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        node: LifecycleNode,
        inputs: Sequence[CameraInput],
        lenses: LensMasks,
        stale_after_s: float,
        throttle: Throttle,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._inputs = inputs
        self._stale_ns = round(stale_after_s * 1e9)
        self._throttle = throttle
        self._started_ns = node.get_clock().now().nanoseconds
        self._lenses = lenses
        self._clock = clock
        self._began_s = clock()
        self._counts: dict[str, Recent] = {}
        self._errors: dict[str, tuple[int, str]] = {}
        # Frames are found bad where they arrive and where they are worked on.
        self._counting = threading.Lock()
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def count_error(self, camera: str, reason: str) -> None:
        """Note that a frame of `camera` could not be used, and why."""
        with self._counting:
            self._errors[camera] = (self._errors.get(camera, (0, ""))[0] + 1, reason)

    def report(
        self,
        publishers: Mapping[str, int],
        stats: Mapping[str, CameraStats],
        workers: Mapping[str, TaskWorker],
    ) -> None:
        """Publish the state of all cameras and tasks; `publishers` counts them per camera."""
        now = self._node.get_clock().now()
        message = DiagnosticArray()
        message.header.stamp = now.to_msg()
        for item in self._inputs:
            message.status.append(
                self._camera(item, publishers[item.source.name], stats[item.source.name], now.nanoseconds)
            )
        for name, worker in workers.items():
            message.status.append(self._worker(name, worker))
        self._publisher.publish(message)

    def close(self) -> None:
        """Withdraw the topic."""
        self._node.destroy_publisher(self._publisher)

    def _camera(
        self, item: CameraInput, publishers: int, stats: CameraStats, now_ns: int
    ) -> DiagnosticStatus:
        name, topic = item.source.name, item.topic
        self._recent(f"received {name}").sample(item.received)
        unusable, reason = self._errors.get(name, (0, ""))
        bad = self._recent(f"unusable {name}").sample(unusable)
        silent_ns = now_ns - (item.last_receive_ns or self._started_ns)
        level, texts = _OK, []
        if silent_ns > self._stale_ns:
            level, texts = _STALE, [self._silence(item, silent_ns, publishers)]
        elif item.received:
            texts = self._oddities(item)
            level = _WARN if texts else _OK
        if bad:
            level = max(level, _ERROR)
            texts.insert(0, f"{bad} image(s) of the last {PERIOD_S:.0f} s could not be used: {reason}")
        values = {
            "topic": topic,
            "publishers": publishers,
            "rate_hz": self._recent(f"received {name}").rate_hz,
            "stamp_age_ms": round(item.last_age_ns * 1e-6, 1),
            "unusable": unusable,
            **{field.name: getattr(stats, field.name) for field in fields(stats)},
        }
        fine = "images arrive" if item.received else "waits for the first image"
        return self._status(f"camera {name}", level, "; ".join(texts) or fine, values)

    def _silence(self, item: CameraInput, silent_ns: int, publishers: int) -> str:
        """Return, and log now and then, that a camera is silent."""
        text = f"no image on {item.topic} for {silent_ns * 1e-9:.0f} s, {publishers} publisher(s)"
        if publishers and item.received == 0:
            # Measured: without the profile Fast DDS silently drops most large best-effort images.
            text += (
                "; if images are large and best effort, load config/fastdds.xml "
                "(FASTRTPS_DEFAULT_PROFILES_FILE) in the camera driver too"
            )
        name = item.source.name
        if (hint := self._throttle(f"silent {name}", f"camera {name}: {text}")) is not None:
            self._node.get_logger().warning(hint)
        return text

    def _oddities(self, item: CameraInput) -> list[str]:
        """Return what deserves a warning while images arrive."""
        texts: list[str] = []
        if item.source.name not in self._lenses.models:
            # Where the rig file has the lens, no CameraInfo is needed.
            heard = "has no lens that can be used" if item.info_seen else "did not come"
            texts.append(f"images arrive, but no lens is known: CameraInfo on {item.info_topic} {heard}")
        if abs(item.last_age_ns) > _ODD_AGE_NS:
            side = "before" if item.last_age_ns > 0 else "after"
            age = f"{abs(item.last_age_ns) * 1e-9:.1f} s"
            texts.append(f"images are stamped {age} {side} they arrive: check its clock")
        return texts

    def _worker(self, name: str, worker: TaskWorker) -> DiagnosticStatus:
        self._recent(f"processed {name}").sample(worker.processed)
        overrun = self._recent(f"overrun {name}").sample(worker.overrun)
        failed = self._recent(f"failed {name}").sample(worker.failed)
        level, texts = _OK, []
        if failed:
            level = _ERROR
            texts.append(f"{failed} set(s) of the last {PERIOD_S:.0f} s failed: {worker.last_failure}")
        if overrun:
            level = max(level, _WARN)
            texts.append(f"too slow: {overrun} set(s) of the last {PERIOD_S:.0f} s gave way")
        values = {
            "rate_hz": self._recent(f"processed {name}").rate_hz,
            "processed": worker.processed,
            "overrun": worker.overrun,
            "failed": worker.failed,
        }
        return self._status(f"task {name}", level, "; ".join(texts) or "keeps up", values)

    def _recent(self, count: str) -> Recent:
        return self._counts.setdefault(count, Recent(self._began_s, self._clock))

    def _status(self, what: str, level: bytes, text: str, values: Mapping[str, object]) -> DiagnosticStatus:
        status = DiagnosticStatus(level=level, name=f"{self._node.get_name()}: {what}", message=text)
        status.hardware_id = self._node.get_fully_qualified_name()
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        return status
