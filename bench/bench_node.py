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
from pathlib import Path

import numpy as np
import rclpy
import yaml
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from results import null_bundle, percentiles, save
from sensor_msgs.msg import Image

from internimage_perception.msg import StageTimings


def measure(
    size: tuple[int, int], output: str, reliable: bool, count: int, rate: float, cameras: int
) -> dict[str, object]:
    """Return latency percentiles in milliseconds for one configuration."""
    width, height = size
    quality = QoSProfile(
        depth=5, reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    )
    names = [f"cam{k}" for k in range(cameras)]
    with tempfile.TemporaryDirectory() as folder:
        bundle = null_bundle(Path(folder) / "bundle", output)
        parameters = {
            "bundle": str(bundle), "backend": "null", "image_topics": [f"{n}=/bench/{n}/image_raw" for n in names],
        }  # fmt: skip
        file = Path(folder) / "parameters.yaml"
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
        program = next(
            path
            for prefix in os.environ["AMENT_PREFIX_PATH"].split(os.pathsep)
            if (path := Path(prefix, "lib", "internimage_perception", "perception_node")).exists()
        )
        node = rclpy.create_node("bench")
        sent: dict[tuple[str, int], int] = {}
        latencies: list[float] = []
        inside: list[float] = []

        def take(camera: str, message: Image) -> None:
            key = (camera, message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)
            if key in sent:
                latencies.append((time.perf_counter_ns() - sent[key]) * 1e-6)

        publishers = {
            name: node.create_publisher(Image, f"/bench/{name}/image_raw", quality) for name in names
        }
        for name in names:
            node.create_subscription(
                Image, f"/perception/segmentation/{name}/mask", lambda m, n=name: take(n, m), quality
            )
        node.create_subscription(
            StageTimings,
            "/perception/segmentation/timings",
            lambda m: inside.append(m.latency_ns * 1e-6),
            quality,
        )
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        thread = threading.Thread(target=executor.spin, daemon=True)
        thread.start()
        process = subprocess.Popen(
            [str(program), "--ros-args", "--params-file", str(file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not all(item.get_subscription_count() for item in publishers.values()):
                time.sleep(0.05)
            time.sleep(2.0)
            data = array(
                "B", np.random.default_rng(0).integers(0, 256, width * height * 3, np.uint8).tobytes()
            )
            message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
            message.data = data
            warm_up = 10
            before = _cpu(process.pid)
            for index in range(count + warm_up):
                if index == warm_up:
                    latencies.clear()
                    inside.clear()
                    before = _cpu(process.pid)
                stamp = time.time_ns()
                message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
                for name in names:
                    sent[name, stamp] = time.perf_counter_ns()
                    publishers[name].publish(message)
                time.sleep(1.0 / rate)
            time.sleep(0.5)
            cpu = _cpu(process.pid) - before
            memory = (
                int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                * resource.getpagesize()
                / 2**20
            )
        finally:
            process.terminate()
            process.wait(20)
            executor.shutdown()
            thread.join(5)
            node.destroy_node()
    return {
        "image": f"{width}x{height}", "output": output, "reliable": reliable, "cameras": cameras, "rate_hz": rate,
        "sent": count * cameras, "received": len(latencies), "publish_to_mask_ms": percentiles(latencies),
        "arrival_to_published_ms": percentiles(inside), "node_cpu_ms_per_image": round(1e3 * cpu / (count * cameras), 2),
        "node_memory_mib": round(memory, 1),
    }  # fmt: skip


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
    rows = [
        measure((1920, 1080), "model", True, options.count, options.rate, 1),
        measure((1920, 1080), "input", True, options.count, options.rate, 1),
        measure((1920, 1080), "model", False, options.count, options.rate, 1),
        measure((1280, 960), "model", True, options.count, options.rate, 4),
    ]
    rclpy.try_shutdown()
    save("node", {"rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
