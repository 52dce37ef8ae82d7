"""Measure how fast the synthetic street renders on one core: seconds of processor time, not of the clock.

    python bench/bench_street.py [--streets 3]

Others on the machine hardly change processor time; more of them still cost caches and clock rate.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import cv2
import numpy as np
from results import save

from internimage_perception.data.street.render import render
from internimage_perception.data.street.rig_view import fit_ego, lens_of
from internimage_perception.data.street.samples import random_samples
from internimage_perception.data.street.street import Moment, Street
from internimage_perception.data.street.vehicles import EgoShape
from internimage_perception.geometry import Rig
from internimage_perception.resources import share_path

_VIEWS = 12


def timed(action: Callable[[], object]) -> float:
    """Return the processor seconds that an action takes."""
    start = time.process_time()
    action()
    return time.process_time() - start


def _build(street: Street, time_s: float, ego: EgoShape) -> Moment:
    moment = street.at(time_s, ego=ego)
    _ = moment.caster, moment.normals
    return moment


def _training_samples(seed: int) -> None:
    for _ in random_samples(seed, _VIEWS):
        pass


def measure(streets: int) -> dict[str, object]:
    """Return medians over streets: pictures of 640x480, moments to build, and training samples."""
    cv2.setNumThreads(1)
    rig = Rig.load(share_path("config/rigs/four_fisheye.yaml"))
    ego = fit_ego(rig)
    pictures, moments, triangles = [], [], []
    for seed in range(streets):
        street = Street.generate(seed)
        street.at(0.0, ego=ego)
        for index in range(1, 4):
            moments.append(timed(partial(_build, street, 0.1 * index, ego)))
            moment = _build(street, 0.1 * index, ego)
            triangles.append(len(moment.corners))
            for camera in rig.cameras.values():
                picture = partial(render, moment, *lens_of(camera))
                picture(samples=1)
                pictures.append(timed(partial(picture, rng=np.random.default_rng(0))))
    samples = [timed(partial(_training_samples, seed)) / _VIEWS for seed in range(streets)]
    picture_s, moment_s = float(np.median(pictures)), float(np.median(moments))
    return {
        "triangles": int(np.median(triangles)),
        "picture_640x480_4_rays_s": round(picture_s, 4),
        "moment_s": round(moment_s, 4),
        "frames_per_second_per_core": round(1.0 / (picture_s + moment_s / len(rig.cameras)), 2),
        "training_sample_320x256_s": round(float(np.median(samples)), 4),
    }


def main() -> None:
    """Measure and write the results down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streets", type=int, default=3)
    options = parser.parse_args()
    save("street", measure(options.streets))


if __name__ == "__main__":
    main()
