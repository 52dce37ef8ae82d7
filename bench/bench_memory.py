"""Memory of replay and node over 2,000 images: it must be flat.

Resident memory is sampled while images pass; the growth from the first quarter's peak to the last quarter's
peak is what counts.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from pathlib import Path

import numpy as np
from bench_node import resident, start_node
from results import null_bundle, save

from internimage_perception.bags.types import make_header, make_message
from internimage_perception.bags.writer import SegmentedBagWriter

SIZE = (480, 640)


class Sampler:
    """Samples a process's memory twenty times a second."""

    def __init__(self, pid: int) -> None:
        self.values: list[float] = []
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> dict[str, float]:
        """Return the peaks of the first and the last quarter, and the growth between them."""
        self._stop.set()
        self._thread.join()
        quarter = max(1, len(self.values) // 4)
        first, last = max(self.values[:quarter]), max(self.values[-quarter:])
        return {
            "first_quarter_mib": round(first, 1),
            "last_quarter_mib": round(last, 1),
            "growth_mib": round(last - first, 1),
        }

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            try:
                self.values.append(resident(self._pid))
            except (OSError, IndexError):
                return


def replay(folder: Path, images: int) -> dict[str, float]:
    """Return the memory of a replay of `images` raw images."""
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    with SegmentedBagWriter(folder / "bag", storage="sqlite3") as writer:
        writer.add_topic("/front/image", "sensor_msgs/msg/Image")
        for index in range(images):
            stamp = 1_700_000_000_000_000_000 + index * 50_000_000
            message = make_message(
                "sensor_msgs/msg/Image", header=make_header(stamp, "front"), height=SIZE[0], width=SIZE[1],
                encoding="rgb8", is_bigendian=0, step=3 * SIZE[1], data=pixels.reshape(-1),
            )  # fmt: skip
            writer.write("/front/image", message, stamp)
    command = [
        sys.executable, "-c",
        "import sys; from internimage_perception.cli.main import main; sys.exit(main(sys.argv[1:]))",
        "replay", str(folder / "bag"), "--model", str(null_bundle(folder / "bundle", "model")),
        "--backend", "null", "--out", str(folder / "out"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    # Start-up is no growth: wait until results are being written.
    while not (folder / "out" / "bag" / "metadata.yaml").exists():
        time.sleep(0.05)
    sampler = Sampler(process.pid)
    if process.wait():
        raise SystemExit("the replay failed")
    return sampler.close()


def node(folder: Path, images: int) -> dict[str, float]:
    """Return the memory of the node while `images` images pass."""
    import rclpy  # noqa: PLC0415 - the replay is measured without it
    from sensor_msgs.msg import Image  # noqa: PLC0415

    rclpy.init()
    publisher = rclpy.create_node("bench").create_publisher(Image, "/bench/front/image_raw", 5)
    process = start_node(folder, "model", ["front"])
    while not publisher.get_subscription_count():
        time.sleep(0.05)
    time.sleep(1.0)
    message = Image(height=SIZE[0], width=SIZE[1], encoding="rgb8", step=3 * SIZE[1])
    message.data = array("B", bytes(3 * SIZE[0] * SIZE[1]))
    sampler = Sampler(process.pid)
    for _ in range(images):
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(time.time_ns(), 10**9)
        publisher.publish(message)
        time.sleep(0.02)
    found = sampler.close()
    process.terminate()
    process.wait(20)
    rclpy.try_shutdown()
    return found


def main() -> int:
    """Measure both and write them down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    options = parser.parse_args()
    rows: dict[str, object] = {"images": options.images, "size": "640x480"}
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "r").mkdir()
        rows["replay"] = replay(Path(name) / "r", options.images)
        if "AMENT_PREFIX_PATH" in os.environ:
            (Path(name) / "n").mkdir()
            rows["node"] = node(Path(name) / "n", options.images)
    save("memory", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
