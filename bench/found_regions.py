"""How well the rim of the lens and the own car's body are found in frames that have no masks.

    bench/found_regions.py [--streets 8] [--frames 10]

Drives the rig of four fisheyes along generated streets, on each with other light and other paint on the own
car, and compares what `find_regions` finds in each camera's frames with the truth. Writes
`results/found_regions.json`.
"""

import argparse
import sys
from collections.abc import Iterable

import numpy as np
from results import save

from internimage_perception.data.distortion.auto_regions import find_regions
from internimage_perception.data.sample import Bools
from internimage_perception.data.street.render import render
from internimage_perception.data.street.rig_view import fit_ego, lens_of, with_ego_masks
from internimage_perception.data.street.street import Street
from internimage_perception.geometry import Rig, RigCamera
from internimage_perception.resources import share_path

RIG = "config/rigs/four_fisheye.yaml"
FIRST_SEED = 700
APART_S = 2.5
"""Between frames: what moves must have moved."""
CLEAN = 0.9
"""Least share of what was found that is body indeed; below it, road was taken for body."""

Scores = dict[str, float]


def share(part: Bools, whole: Bools) -> float:
    """Return which share of `whole` lies in `part`, as it is stored; 1 of nothing."""
    return round(float(part[whole].mean()), 3) if whole.any() else 1.0


def scores(found: tuple[Bools, Bools], camera: RigCamera) -> Scores:
    """Compare outside of the lens and own body with the truth."""
    outside, body = found
    lens, _ = lens_of(camera)
    true_outside = ~lens.valid_mask()
    true_body = np.asarray(camera.ego_mask, bool) & ~true_outside
    return {
        "rim_iou": share(outside & true_outside, outside | true_outside),
        "body_found": share(body, true_body),
        "of_found_body": share(true_body, body),
    }


def measure(streets: int, count: int) -> dict[str, object]:
    """Return the scores of every street and camera, and medians over streets."""
    rig = with_ego_masks(Rig.load(share_path(RIG)))
    ego = fit_ego(rig)
    rows: dict[str, dict[int, Scores]] = {name: {} for name in rig.cameras}
    for seed in range(FIRST_SEED, FIRST_SEED + streets):
        street = Street.generate(seed, split="test")
        moments = [street.at(APART_S * index, ego=ego) for index in range(count)]
        for name, camera in rig.cameras.items():
            rng = np.random.default_rng(seed)
            frames = [render(moment, *lens_of(camera), samples=1, rng=rng).image for moment in moments]
            regions = find_regions(frames)
            rows[name][seed] = scores((regions.outside_lens, regions.ego_body), camera)
            print(name, seed, rows[name][seed], flush=True)
    every = [row for found in rows.values() for row in found.values()]
    return {
        "rig": RIG, "frames": count, "cameras": len(every),
        "rim_iou": {"least": min(row["rim_iou"] for row in every), "median": median(every, "rim_iou")},
        "body_found_median": {name: median(found.values(), "body_found") for name, found in rows.items()},
        "of_found_body": {
            "least": min(row["of_found_body"] for row in every), "median": median(every, "of_found_body"),
        },
        "cameras_with_road_in_the_body": sum(row["of_found_body"] < CLEAN for row in every),
        "cameras_without_body": sum(row["body_found"] == 0.0 for row in every),
        "each": rows,
    }  # fmt: skip


def median(rows: Iterable[Scores], key: str) -> float:
    """Return the median of one score."""
    return round(float(np.median([row[key] for row in rows])), 3)


def main() -> int:
    """Measure and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streets", type=int, default=8)
    parser.add_argument("--frames", type=int, default=10, help="of each camera and street")
    options = parser.parse_args()
    save("found_regions", measure(options.streets, options.frames))
    return 0


if __name__ == "__main__":
    sys.exit(main())
