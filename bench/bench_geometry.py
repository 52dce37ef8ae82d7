"""Speed of the camera models and of the tables for cv2.remap, on one core.

The process is pinned to one core and the libraries to one thread. Times are processor time, the least of
several runs: others on the computer hardly change it, but cost caches and clock rate. Where OpenCV has a
counterpart, it does the same work on the same core. Its fisheye mirrors beyond 90 degrees, so comparisons end
before.

    python bench/bench_geometry.py [--points 2073600] [--repeats 5] [--core 0]
"""

import argparse
import math
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import cv2
import numpy as np
import numpy.typing as npt
from results import durations, save

from internimage_perception.geometry import (
    CameraModel,
    CylindricalCamera,
    DoubleSphereCamera,
    EucmCamera,
    KannalaBrandtCamera,
    MeiCamera,
    PinholeCamera,
    WoodScapeCamera,
)
from internimage_perception.geometry.views import cylindrical_view, remap_tables, tiled_pinhole_view

Floats = npt.NDArray[np.float64]
Call = Callable[[], object]

GOALS = {"equidistant_project_million_per_s": 20, "tables_1920x1080_ms": 150}
_REACH = math.radians(97.5)
_FULL_HD: dict[str, Any] = {"width": 1920, "height": 1080, "fx": 500.0, "fy": 501.0, "cx": 961.2, "cy": 538.7}
FISHEYE = KannalaBrandtCamera(**_FULL_HD, d=(0.045, -0.012, 0.0035, -0.0006), theta_max=_REACH)
PLUMB_BOB = PinholeCamera(**_FULL_HD, d=(-0.05, 0.01, 1e-3, -5e-4, 0.002))
CAMERAS: Mapping[str, CameraModel] = {
    "equidistant": FISHEYE,
    "woodscape": WoodScapeCamera(**_FULL_HD, d=(-0.09, 0.14, -0.02), theta_max=_REACH),
    "mei with all terms": MeiCamera(**_FULL_HD, xi=2.2, d=(0.017, 1.6, 4e-4, 2e-4)),
    "mei without (ucm)": MeiCamera(**_FULL_HD, xi=1.0),
    "eucm": EucmCamera(**_FULL_HD, alpha=0.6, beta=1.1),
    "double_sphere": DoubleSphereCamera(**_FULL_HD, xi=-0.2, alpha=0.59),
    "pinhole, plumb_bob": PLUMB_BOB,
    "pinhole, rational_polynomial": PinholeCamera(**_FULL_HD, d=(8.1, 3.4, 1e-3, -5e-4, 0.14, 8.4, 6.1, 1.1)),
    "pinhole without distortion": PinholeCamera(**_FULL_HD),
    "cylindrical": CylindricalCamera(**_FULL_HD, theta_max=_REACH),
}
# Four lenses of one vehicle, like those of WoodScape: no two the same.
SURROUND = tuple(
    WoodScapeCamera(
        width=1280, height=966, fx=focal, fy=focal, cx=640.0 + shift, cy=480.0 - shift,
        d=(-0.09, 0.14, bend), theta_max=_REACH,
    )
    for focal, shift, bend in (
        (340.0, 3.9, -0.020), (337.0, 1.2, -0.022), (339.0, -2.7, -0.021), (341.0, 0.4, -0.019)
    )
)  # fmt: skip


def least_s(call: Call, repeats: int) -> float:
    """Return the least processor time of a call in seconds, after one to warm up."""
    return float(durations(call, repeats, time.thread_time).min())


def points_within(theta_max: float, count: int) -> Floats:
    """Return points (count, 3) at random angles up to `theta_max`, 0.5 to 30 m away."""
    rng = np.random.default_rng(0)
    theta, turn = theta_max * np.sqrt(rng.random(count)), 2.0 * np.pi * rng.random(count)
    rays = np.stack([np.sin(theta) * np.cos(turn), np.sin(theta) * np.sin(turn), np.cos(theta)], axis=-1)
    points: Floats = rays * rng.uniform(0.5, 30.0, (count, 1))
    return points


def models(count: int, repeats: int) -> dict[str, object]:
    """Return million points per second of every model, at random angles up to 97.5 degrees (pinholes 62)."""
    rows: dict[str, object] = {}
    for name, camera in CAMERAS.items():
        # What a pinhole's image shows; towards 90 degrees its pixels leave every image.
        limit = math.radians(62.0) if isinstance(camera, PinholeCamera) else _REACH
        points = points_within(0.99 * min(camera.theta_max, limit), count)
        pixels, valid = camera.project(points)
        if not valid.all():
            raise SystemExit(f"{name}: a point is not valid")
        rows[name] = {
            "project": round(count / least_s(partial(camera.project, points), repeats) / 1e6, 1),
            "unproject": round(count / least_s(partial(camera.unproject, pixels), repeats) / 1e6, 1),
        }
    return rows


def compared(ours: Call, theirs: Call, repeats: int) -> dict[str, float]:
    """Return both times and how many times faster ours is."""
    own, other = least_s(ours, repeats), least_s(theirs, repeats)
    return {
        "ms": round(1e3 * own, 1),
        "opencv_ms": round(1e3 * other, 1),
        "times_faster": round(other / own, 2),
    }


def against_opencv(count: int, repeats: int) -> dict[str, object]:
    """Compare points, pixels and tables of `FISHEYE` and `PLUMB_BOB` with OpenCV's functions."""
    zero = np.zeros(3)
    rows: dict[str, object] = {}
    for name, camera, module in (("fisheye", FISHEYE, cv2.fisheye), ("plumb_bob", PLUMB_BOB, cv2)):
        k = np.array([[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]])
        d = np.array(camera.d)
        points = points_within(math.radians(60.0), count)
        flat = points.reshape(-1, 1, 3)
        pixels, _ = camera.project(points)
        theirs = partial(module.projectPoints, flat, zero, zero, k, d)
        if not np.allclose(theirs()[0].reshape(-1, 2), pixels, rtol=0.0, atol=1e-6):
            raise SystemExit(f"{name}: OpenCV projects to other pixels")
        rows[f"{name}: project {count} points"] = compared(partial(camera.project, points), theirs, repeats)
        rows[f"{name}: unproject {count} pixels"] = compared(
            partial(camera.unproject, pixels),
            partial(module.undistortPoints, pixels.reshape(-1, 1, 2), k, d),
            repeats,
        )
        view = PinholeCamera(**_FULL_HD)
        tables = partial(
            module.initUndistortRectifyMap, k, d, np.eye(3), k, (view.width, view.height), cv2.CV_32FC1
        )
        ours = remap_tables(view, camera)
        if not np.allclose(tables(), ours, rtol=0.0, atol=1e-2):
            raise SystemExit(f"{name}: OpenCV's tables differ")
        rows[f"{name}: tables of a pinhole view, {view.width}x{view.height}"] = compared(
            partial(remap_tables, view, camera), tables, repeats
        )
    return rows


def tables(repeats: int) -> dict[str, object]:
    """Return milliseconds for the tables of views, and back; four cameras: all of them together."""
    rows: dict[str, object] = {}
    for size, cameras in (("1920x1080", (FISHEYE,)), ("four of 1280x966", SURROUND)):
        width, height = cameras[0].width, cameras[0].height
        views = {
            "cylinder": cylindrical_view(width, height, horizontal_deg=190.0, pitch_deg=10.0),
            "three pinholes": tiled_pinhole_view(3, width // 3, height, horizontal_deg=190.0, pitch_deg=10.0),
        }
        for name, view in views.items():
            there = sum(least_s(partial(view.maps_from, camera), repeats) for camera in cameras)
            back = sum(least_s(partial(view.maps_to, camera), repeats) for camera in cameras)
            rows[f"{name}, {size}"] = {
                "tables_ms": round(1e3 * there, 1),
                "tables_back_ms": round(1e3 * back, 1),
            }
    return rows


def main() -> None:
    """Measure and store the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--points", type=int, default=1920 * 1080)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)), help="to run on")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    cv2.setNumThreads(1)
    content = {
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "goals": GOALS,
        "million_points_per_s": models(options.points, options.repeats),
        "views": tables(options.repeats),
        "opencv_same_work": against_opencv(options.points, options.repeats),
    }
    save("geometry", content)


if __name__ == "__main__":
    main()
