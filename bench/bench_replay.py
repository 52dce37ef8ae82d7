"""CPU time of the replay around the network: reading, decoding, grouping, overlay, writing.

Two raw 1280x960 cameras and, for comparison, two JPEG ones; null backend; CPU of the whole process,
start-up left out by comparing runs of two lengths.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from results import null_bundle, save

from internimage_perception.bags.replay import Replay, ReplayOptions
from internimage_perception.bags.types import make_header, make_message
from internimage_perception.bags.writer import SegmentedBagWriter

SIZE = (960, 1280)


def picture(seed: int) -> np.ndarray:
    """Return a picture that compresses about like a photograph."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (SIZE[0] // 16, SIZE[1] // 16, 3), np.uint8)
    smooth = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(smooth + random.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)


def write(path: Path, frames: int, kind: str) -> Path:
    """Write a bag of two cameras."""
    pixels = [picture(seed) for seed in range(4)]
    files = [np.asarray(cv2.imencode(".jpg", image)[1]).reshape(-1) for image in pixels]
    msgtype = "sensor_msgs/msg/Image" if kind == "raw" else "sensor_msgs/msg/CompressedImage"
    with SegmentedBagWriter(path, storage="sqlite3") as writer:
        for camera in ("front", "rear"):
            writer.add_topic(f"/{camera}/image", msgtype)
        for index in range(frames):
            for k, camera in enumerate(("front", "rear")):
                stamp = 1_700_000_000_000_000_000 + index * 100_000_000 + k * 1_000_000
                number = (index + k) % len(pixels)
                header = make_header(stamp, camera)
                if kind == "raw":
                    message = make_message(
                        msgtype, header=header, height=SIZE[0], width=SIZE[1], encoding="bgr8",
                        is_bigendian=0, step=3 * SIZE[1], data=pixels[number].reshape(-1),
                    )  # fmt: skip
                else:
                    message = make_message(msgtype, header=header, format="jpeg", data=files[number])
                writer.write(f"/{camera}/image", message, stamp + 5_000_000)
    return path


def cpu() -> float:
    """Return the CPU seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(folder: Path, kind: str, output: str, overlay: int, counts: tuple[int, int]) -> dict[str, object]:
    """Return CPU milliseconds per image of one configuration."""
    bundle = null_bundle(folder / f"bundle_{output}", output)
    spent = []
    memory = []
    for count in counts:
        bag = folder / f"{kind}_{count}"
        if not bag.exists():
            write(bag, count, kind)
        before, start = cpu(), time.perf_counter()
        out = folder / f"out_{kind}_{output}_{overlay}_{count}"
        report = Replay(
            ReplayOptions(bags=[bag], bundle=bundle, out=out, backend="null", overlay_width=overlay)
        ).run()
        spent.append((cpu() - before, time.perf_counter() - start))
        memory.append(_resident_mib())
        if report["frames_out"] != 2 * count:
            raise SystemExit(f"lost frames: {report['cameras']}")
    images = 2 * (counts[1] - counts[0])
    return {
        "input": kind, "output": output, "overlay_width": overlay,
        "cpu_ms_per_image": round(1e3 * (spent[1][0] - spent[0][0]) / images, 2),
        "wall_ms_per_image": round(1e3 * (spent[1][1] - spent[0][1]) / images, 2),
        "resident_mib_after": [round(value, 1) for value in memory],
    }  # fmt: skip


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def main() -> int:
    """Measure the configurations and write them down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, nargs=2, default=(20, 120))
    options = parser.parse_args()
    counts = (options.sets[0], options.sets[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [
            measure(folder, "raw", "model", 640, counts),
            measure(folder, "raw", "input", 640, counts),
            measure(folder, "raw", "model", 0, counts),
            measure(folder, "jpeg", "model", 640, counts),
        ]
    save("replay", {"image": "1280x960", "cameras": 2, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
