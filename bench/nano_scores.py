"""Scores of a model on held-out streets, through the usual rig and through rigs it was not trained for.

    bench/nano_scores.py [--model nano] [--streets 3] [--frames 6] [--work FOLDER]

Records each street with `scene`, scores it with `evaluate`, and adds up the pixels of a rig's streets. Writes
`results/nano_scores.json`. FOLDER keeps the recordings, for a second run with another model.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from results import command, save

from internimage_perception.evaluation.confusion import ConfusionMatrix
from internimage_perception.inference.bundle import Bundle

ROOT = Path(__file__).resolve().parents[1]
RIGS = ("config/rigs/four_fisheye.yaml", "test/rigs/wide_lenses.yaml", "test/rigs/tall_vehicle.yaml")
FIRST_SEED = 700


def score(rig: Path, model: str, seeds: range, frames: int, work: Path) -> ConfusionMatrix:
    """Return all pixels of a rig's streets."""
    total = ConfusionMatrix(13)
    for seed in seeds:
        street = work / f"{rig.stem}_{seed}"
        # Far apart in time, so that few images show much.
        command(
            "scene", "--rig", rig, "--frames", frames, "--rate", 0.4, "--seed", seed, "--split", "test",
            "--workers", 2, "--out", street,
        )  # fmt: skip
        with tempfile.TemporaryDirectory(dir=work) as scores:
            command(
                "evaluate", street / "bag", "--model", model, "--rig", street / "rig.yaml", "--out", scores
            )
            found = json.loads((Path(scores) / "evaluation.json").read_text())
        total += ConfusionMatrix(13, np.array(found["confusion"]))
    return total


def main() -> int:
    """Score and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="nano", help="bundle, or name of a shipped one")
    parser.add_argument("--streets", type=int, default=3, help="streets per rig")
    parser.add_argument("--frames", type=int, default=6, help="images per camera and street")
    parser.add_argument("--work", type=Path, help="keep recordings here")
    options = parser.parse_args()
    bundle = Bundle.load(options.model)
    names = [spec.name for spec in bundle.classes]
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        seeds = range(FIRST_SEED, FIRST_SEED + options.streets)
        for rig in RIGS:
            matrix = score(ROOT / rig, options.model, seeds, options.frames, work)
            iou = matrix.iou()
            found[rig] = {
                "miou13": round(matrix.miou(range(13)), 4),
                "miou12": round(matrix.miou(range(12)), 4),
                "per_class": {name: round(float(iou[i]), 4) for i, name in enumerate(names)},
            }
            print(rig, found[rig], flush=True)
    save(
        "nano_scores",
        {
            "model": bundle.name, "bundle": bundle.identity(), "streets": options.streets,
            "images_per_street": 4 * options.frames, "rigs": found,
        },
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
