"""The node in a process of its own, and a bench around it that publishes images and collects masks."""

import os
import signal
import subprocess
import threading
import time
import uuid
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from internimage_perception.msg import LabelInfo, StageTimings
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


def executable(name: str) -> Path:
    """Return an installed program of the package, as `ros2 run` finds it."""
    for prefix in os.environ["AMENT_PREFIX_PATH"].split(os.pathsep):
        if (found := Path(prefix, "lib", "internimage_perception", name)).exists():
            return found
    pytest.fail(f"{name} is not installed under AMENT_PREFIX_PATH: run make setup")


class NodeProcess:
    """`perception_node` as a user starts it, with a parameter file, in a namespace of its own."""

    def __init__(
        self,
        folder: Path,
        namespace: str,
        program: str,
        parameters: dict[str, object],
        python: Path | None,
    ) -> None:
        self.log_path = folder / "node.log"
        file = folder / "parameters.yaml"
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
        command = [
            *([str(python)] if python else []), str(executable(program)), "--ros-args",
            "--params-file", str(file), "-r", f"__ns:={namespace}",
        ]  # fmt: skip
        self._log = self.log_path.open("w")
        self.process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT, cwd=folder)

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def stop(self) -> int:
        """End it as Ctrl-C does; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._log.close()


class Bench:
    """Publishes images to the node and collects what it answers, spinning in a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.namespace = f"/t{uuid.uuid4().hex[:8]}"
        self.masks: dict[str, list[Image]] = {}
        self.timings: list[StageTimings] = []
        self.labels: list[LabelInfo] = []
        self.diagnostics: list[DiagnosticArray] = []
        self.changed = threading.Condition()
        self.node = rclpy.create_node("bench", namespace=self.namespace)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._publishers: dict[tuple[str, type], object] = {}
        self._processes: list[NodeProcess] = []
        self._topics: list[str] = []
        self.node.create_subscription(
            StageTimings, "perception/segmentation/timings", self._collect(self.timings), RELIABLE
        )
        self.node.create_subscription(
            LabelInfo, "perception/segmentation/label_info", self._collect(self.labels), LATCHED
        )
        self.node.create_subscription(
            DiagnosticArray, "/diagnostics", self._collect(self.diagnostics), RELIABLE
        )
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def start(
        self, program: str = "perception_node", python: Path | None = None, **parameters: object
    ) -> NodeProcess:
        process = NodeProcess(self.folder, self.namespace, program, parameters, python)
        self._processes.append(process)
        return process

    def listen(self, camera: str, kind: str = "mask", node: str = "perception") -> list[Image]:
        found = self.masks.setdefault(f"{camera}/{kind}", [])
        topic = f"{node}/segmentation/{camera}/{kind}"
        self._topics.append(topic)
        self.node.create_subscription(Image, topic, self._collect(found), RELIABLE)
        return found

    def publisher(self, topic: str, kind: type = Image, quality: QoSProfile = RELIABLE):
        key = (topic, kind)
        if key not in self._publishers:
            self._publishers[key] = self.node.create_publisher(kind, f"{self.namespace}{topic}", quality)
        return self._publishers[key]

    def wait(self, condition: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
        end = time.monotonic() + timeout
        with self.changed:
            while not condition():
                if not self.changed.wait(min(0.2, max(0.01, end - time.monotonic()))) and (
                    time.monotonic() > end
                ):
                    logs = "\n".join(process.log for process in self._processes)
                    pytest.fail(f"waited {timeout} s for {what}; the node said:\n{logs}")

    def connected(self, *publishers: object) -> None:
        """Wait until the node listens to all publishers and we to all of its masks."""
        self.wait(
            lambda: all(item.get_subscription_count() for item in publishers), "the node's subscriptions"
        )
        self.wait(
            lambda: all(self.node.count_publishers(f"{self.namespace}/{topic}") for topic in self._topics),
            "the node's publishers",
        )
        # Discovery is mutual; the other side may be a moment behind.
        time.sleep(0.5)

    def close(self) -> list[int]:
        codes = [process.stop() for process in self._processes]
        self._executor.shutdown()
        self._thread.join(10)
        self.node.destroy_node()
        return codes

    def _collect(self, into: list) -> Callable[[object], None]:
        def take(message: object) -> None:
            with self.changed:
                into.append(message)
                self.changed.notify_all()

        return take


def image_message(
    pixels: np.ndarray, stamp_ns: int, encoding: str = "rgb8", frame_id: str = "optical"
) -> Image:
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    message.header.frame_id = frame_id
    message.step = pixels[0].size * pixels.itemsize
    message.data = array("B", pixels.tobytes())
    return message


def compressed_message(data: bytes, stamp_ns: int) -> CompressedImage:
    message = CompressedImage(format="jpeg", data=array("B", data))
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    return message


def mask_of(message: Image) -> np.ndarray:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)
