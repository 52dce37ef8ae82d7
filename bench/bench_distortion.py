"""Speed of the distortion augmentation, part by part, beside one cv2.remap of the same picture.

Everything runs on one core; times are processor time, the least of several runs: others on the computer
hardly change it, but cost caches and clock rate.

    python bench/bench_distortion.py [--repeats 7] [--core 0]
"""

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import cv2
import numpy as np
from results import durations, save

from internimage_perception.data.distortion import PRESETS, DistortionAugmentation
from internimage_perception.data.distortion.draw import draw
from internimage_perception.data.distortion.objects import warped_objects
from internimage_perception.data.distortion.optics import with_optics
from internimage_perception.data.distortion.resample import warped_image
from internimage_perception.data.distortion.warp_map import warp_map
from internimage_perception.data.distortion.warps import CameraWarp
from internimage_perception.data.sample import ObjectLabel, Sample
from internimage_perception.geometry import KannalaBrandtCamera

SIZES = ((640, 480), (1024, 512), (1920, 1080))
GOALS = {"map_1024x512_ms": 20, "sample_1024x512_ms": 60}


def least_ms(call: Callable[[], object], repeats: int) -> float:
    """Return the least processor time of a call in milliseconds, after one to warm up."""
    return round(1e3 * float(durations(call, repeats, time.thread_time).min()), 2)


def sample_of(width: int, height: int, *, fisheye: bool) -> Sample:
    """Return a picture of noise with labels, twenty boxes and twenty outlines."""
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), np.uint8), (0, 0), 2.0)
    labels = rng.integers(0, 13, (height // 8, width // 8), np.uint8)
    labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    objects = []
    for number in range(40):
        low = rng.uniform((0.0, 0.0), (0.8 * width, 0.8 * height))
        high = low + rng.uniform(0.02, 0.2, 2) * (width, height)
        corners = np.array([low, (high[0], low[1]), high, (low[0], high[1])])
        objects.append(ObjectLabel(11, np.concatenate([low, high]), (corners,) if number % 2 else ()))
    lens = None
    if fisheye:
        f = width / 3.4
        lens = KannalaBrandtCamera(
            width=width, height=height, fx=f, fy=f, cx=width / 2, cy=height / 2,
            d=(0.02, -0.005, 0.0, 0.0), theta_max=1.7,
        )  # fmt: skip
    return Sample("noise", np.asarray(image, np.uint8), np.asarray(labels, np.uint8), tuple(objects), lens)


def parts(sample: Sample, seed: int, repeats: int) -> dict[str, object]:
    """Return the time of every part, and of the whole."""
    config = PRESETS["fisheye"]
    drawn = draw(config, sample, np.random.default_rng(seed))
    placed = warp_map(drawn.warp)
    labels = np.asarray(sample.labels, np.uint8)
    hidden = placed.outside_lens
    augmentation = DistortionAugmentation(config)
    black = (0, 0, 0)
    rows: dict[str, object] = {
        "cv2.remap alone": least_ms(
            lambda: cv2.remap(sample.image, placed.columns, placed.rows, cv2.INTER_LINEAR), repeats
        ),
        "map": least_ms(lambda: warp_map(drawn.warp), repeats),
        "image, linear": least_ms(lambda: warped_image(sample.image, placed, "linear", black), repeats),
        "image, area": least_ms(lambda: warped_image(sample.image, placed, "area", black), repeats),
        "labels": least_ms(lambda: placed.nearest(labels, 255), repeats),
        "vignette and blur": least_ms(
            lambda: with_optics(
                sample.image, placed.eccentricity, placed.inside, vignette=0.4, blur_px=drawn.blur_px
            ),
            repeats,
        ),
        "40 objects": least_ms(lambda: warped_objects(sample.objects or (), placed, hidden, 0.25), repeats),
        "whole sample": least_ms(lambda: augmentation(sample, np.random.default_rng(seed)), repeats),
        "share of the target that the source fills": round(float(placed.inside.mean()), 3),
    }
    if isinstance(drawn.warp, CameraWarp):
        grid = drawn.warp.target.pixel_grid().reshape(-1, 2)
        rows["every pixel's place without interpolation"] = least_ms(
            lambda: drawn.warp.locate(grid), min(repeats, 3)
        )
    return rows


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description="Measure the distortion augmentation.")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--core", type=int, default=0)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    cv2.setNumThreads(1)
    rows: dict[str, object] = {}
    for width, height in SIZES:
        for fisheye in (False, True):
            kind = "fisheye" if fisheye else "pinhole"
            sample = sample_of(width, height, fisheye=fisheye)
            rows[f"{kind} {width}x{height}, ms"] = parts(sample, 3, options.repeats)
    save("distortion", {"goals": GOALS, "parts": rows})


if __name__ == "__main__":
    main()
