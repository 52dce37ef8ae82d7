"""What the node says of itself: /diagnostics, and hints when images do not come."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode

from internimage_perception.inference.ring import CameraStats
from internimage_perception.nodes.camera_input import CameraInput
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

    Args:
        node: the owner.
        inputs: the cameras.
        stale_after_s: a camera silent for longer is reported, seconds.
        throttle: keeps hints rare.
    """

    def __init__(
        self, node: LifecycleNode, inputs: Sequence[CameraInput], stale_after_s: float, throttle: Throttle
    ) -> None:
        self._node = node
        self._inputs = inputs
        self._stale_ns = round(stale_after_s * 1e9)
        self._throttle = throttle
        self._started_ns = node.get_clock().now().nanoseconds
        self._before: dict[str, int] = {}
        self._errors: dict[str, int] = {}
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def count_error(self, camera: str) -> None:
        """Note that a frame of `camera` could not be used."""
        self._errors[camera] = self._errors.get(camera, 0) + 1

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
        rate = item.received - self._before.get(name, 0)
        self._before[name] = item.received
        silent_ns = now_ns - (item.last_receive_ns or self._started_ns)
        level, text = _OK, "images arrive"
        if silent_ns > self._stale_ns:
            level = _STALE
            text = f"no image on {topic} for {silent_ns * 1e-9:.0f} s, {publishers} publisher(s)"
            if publishers and item.received == 0:
                # Measured: without the profile Fast DDS silently drops most large best-effort images.
                text += (
                    "; if images are large and best effort, load config/fastdds.xml "
                    "(FASTRTPS_DEFAULT_PROFILES_FILE) in the camera driver too"
                )
            if (hint := self._throttle(f"silent {name}", f"camera {name}: {text}")) is not None:
                self._node.get_logger().warning(hint)
        elif self._errors.get(name):
            level, text = _ERROR, f"{self._errors[name]} image(s) could not be used since the last report"
        elif item.info_topic and not item.info_seen:
            level, text = _WARN, f"images arrive, but no CameraInfo on {item.info_topic}"
        elif abs(item.last_age_ns) > _ODD_AGE_NS:
            side = "before" if item.last_age_ns > 0 else "after"
            text = (
                f"images are stamped {abs(item.last_age_ns) * 1e-9:.1f} s {side} they arrive: check its clock"
            )
            level = _WARN
        unusable = self._errors.pop(name, 0)
        values = {
            "topic": topic,
            "publishers": publishers,
            "rate_hz": rate,
            "stamp_age_ms": round(item.last_age_ns * 1e-6, 1),
            "unusable": unusable,
            **{field.name: getattr(stats, field.name) for field in fields(stats)},
        }
        return self._status(f"camera {name}", level, text, values)

    def _worker(self, name: str, worker: TaskWorker) -> DiagnosticStatus:
        rate = worker.processed - self._before.get(f"task {name}", 0)
        overrun = worker.overrun - self._before.get(f"overrun {name}", 0)
        self._before[f"task {name}"], self._before[f"overrun {name}"] = worker.processed, worker.overrun
        level, text = (_WARN, f"too slow: {overrun} set(s) gave way") if overrun else (_OK, "keeps up")
        values = {"rate_hz": rate, "processed": worker.processed, "overrun": worker.overrun}
        return self._status(f"task {name}", level, text, values)

    def _status(self, what: str, level: bytes, text: str, values: Mapping[str, object]) -> DiagnosticStatus:
        status = DiagnosticStatus(level=level, name=f"{self._node.get_name()}: {what}", message=text)
        status.hardware_id = self._node.get_fully_qualified_name()
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        return status
