"""Time from publishing an image to receiving its mask, with a network that costs nothing.

Two processes: this one publishes and listens, the node runs as installed. What is measured is everything
around the network: transport both ways, decoding, queueing, publishing.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rclpy
import yaml
from internimage_perception.msg import StageTimings
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from results import null_bundle, percentiles, save
from sensor_msgs.msg import Image

_WARM_UP = 10


@dataclass(frozen=True)
class Case:
    """One configuration: image size, mask size, reliability, cameras."""

    width: int
    height: int
    output: str
    reliable: bool
    cameras: int = 1


class Bench:
    """Publishes images to a running node and times the masks that come back."""

    def __init__(self, case: Case) -> None:
        reliability = ReliabilityPolicy.RELIABLE if case.reliable else ReliabilityPolicy.BEST_EFFORT
        quality = QoSProfile(depth=5, reliability=reliability)
        self.names = [f"cam{k}" for k in range(case.cameras)]
        self.latencies: list[float] = []
        self.inside: list[float] = []
        self._sent: dict[tuple[str, int], int] = {}
        self._node = rclpy.create_node("bench")
        self._publishers = {
            name: self._node.create_publisher(Image, f"/bench/{name}/image_raw", quality)
            for name in self.names
        }
        prefix = "/perception/segmentation"
        for name in self.names:
            self._node.create_subscription(
                Image, f"{prefix}/{name}/mask", lambda message, name=name: self._take(name, message), quality
            )
        self._node.create_subscription(
            StageTimings, f"{prefix}/timings", lambda m: self.inside.append(m.latency_ns * 1e-6), quality
        )
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        pixels = np.random.default_rng(0).integers(0, 256, case.width * case.height * 3, np.uint8)
        self._message = Image(height=case.height, width=case.width, encoding="rgb8", step=3 * case.width)
        self._message.data = array("B", pixels.tobytes())

    def wait_for_node(self) -> None:
        """Wait until the node listens to every camera."""
        while not all(item.get_subscription_count() for item in self._publishers.values()):
            time.sleep(0.05)
        time.sleep(2.0)

    def publish(self) -> None:
        """Publish one image of every camera."""
        stamp = time.time_ns()
        self._message.header.stamp.sec, self._message.header.stamp.nanosec = divmod(stamp, 10**9)
        for name in self.names:
            self._sent[name, stamp] = time.perf_counter_ns()
            self._publishers[name].publish(self._message)

    def close(self) -> None:
        """End."""
        self._executor.shutdown()
        self._thread.join(5)
        self._node.destroy_node()

    def _take(self, camera: str, message: Image) -> None:
        key = (camera, message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)
        if key in self._sent:
            self.latencies.append((time.perf_counter_ns() - self._sent[key]) * 1e-6)


def measure(case: Case, count: int, rate: float) -> dict[str, object]:
    """Return latency percentiles in milliseconds for one configuration."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(case)
        process = start_node(Path(folder), case.output, bench.names)
        try:
            bench.wait_for_node()
            before = 0.0
            for index in range(count + _WARM_UP):
                if index == _WARM_UP:
                    bench.latencies.clear()
                    bench.inside.clear()
                    before = _cpu(process.pid)
                bench.publish()
                time.sleep(1.0 / rate)
            time.sleep(0.5)
            cpu = _cpu(process.pid) - before
            memory = resident(process.pid)
        finally:
            process.terminate()
            process.wait(20)
            bench.close()
    return {
        "image": f"{case.width}x{case.height}", "output": case.output, "reliable": case.reliable,
        "cameras": case.cameras, "rate_hz": rate, "sent": count * case.cameras,
        "received": len(bench.latencies),
        "publish_to_mask_ms": percentiles(bench.latencies),
        "arrival_to_published_ms": percentiles(bench.inside),
        "node_cpu_ms_per_image": round(1e3 * cpu / (count * case.cameras), 2),
        "node_memory_mib": round(memory, 1),
    }  # fmt: skip


def start_node(folder: Path, output: str, names: list[str]) -> subprocess.Popen[bytes]:
    """Start the installed node with the null backend on cameras `/bench/NAME/image_raw`."""
    parameters = {
        "bundle": str(null_bundle(folder / "bundle", output)),
        "backend": "null",
        "image_topics": [f"{name}=/bench/{name}/image_raw" for name in names],
    }
    file = folder / "parameters.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    program = next(
        path
        for prefix in os.environ["AMENT_PREFIX_PATH"].split(os.pathsep)
        if (path := Path(prefix, "lib", "internimage_perception", "perception_node")).exists()
    )
    command = [str(program), "--ros-args", "--params-file", str(file)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def resident(pid: int) -> float:
    """Return a process's resident memory in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Measure the configurations and write them down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--rate", type=float, default=10.0)
    options = parser.parse_args()
    rclpy.init()
    cases = [
        Case(1920, 1080, "model", reliable=True),
        Case(1920, 1080, "input", reliable=True),
        Case(1920, 1080, "model", reliable=False),
        Case(1280, 960, "model", reliable=True, cameras=4),
    ]
    rows = [measure(case, options.count, options.rate) for case in cases]
    rclpy.try_shutdown()
    save("node", {"rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
