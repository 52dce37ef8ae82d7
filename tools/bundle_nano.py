"""Makes the shipped bundle of a training run, and stores the run's log and curve beside its configuration.

    internimage-perception train nano --out RUN initial_weights=FIRST.safetensors
    tools/bundle_nano.py RUN --out config/bundles/nano

The last score on held-out pictures goes into the bundle's provenance, with the weights the run began from.
"""

import argparse
import csv
import shutil
import sys
from pathlib import Path

import numpy as np

from internimage_perception.bags.plots import line_plot
from internimage_perception.cli.classes import read_classes
from internimage_perception.deploy import create_bundle
from internimage_perception.files import write_text
from internimage_perception.inference.bundle import InputSpec, OutputSpec, sha256_of
from internimage_perception.models import load_checkpoint
from internimage_perception.resources import share_path
from internimage_perception.training.config_file import load_training

CONFIG = Path("config/training/segmentation/nano.yaml")
LOG = Path("config/training/nano.csv")
SCORE = "held_out/miou"


def scores(run: Path) -> dict[int, float]:
    """Return the score on held-out pictures by step."""
    with (run / "validation.csv").open(newline="", encoding="utf-8") as file:
        return {int(row["step"]): float(row[SCORE]) for row in csv.DictReader(file)}


def curve(log: Path, scored: dict[int, float], out: Path) -> None:
    """Draw loss and held-out mIoU over the lines of the log as an SVG."""
    with log.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    series = {
        "training loss": [float(row["loss"]) for row in rows],
        "held-out mIoU": np.interp(steps, list(scored), list(scored.values())).tolist(),
    }
    plot = line_plot("nano", series, f"{steps[-1]} steps; lines of the log", "")
    frame = '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="11" '
    write_text(out, plot.replace("<svg ", frame))


def main() -> int:
    """Make the bundle."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of the training run")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    options = parser.parse_args()
    config = load_training(options.run / "config.yaml")
    if config.initial_weights is None:
        parser.error(f"{options.run} began from random weights; the shipped model's history says otherwise")
    scored = scores(options.run)
    if max(scored) != config.steps:
        parser.error(f"{options.run} is not finished: scored at step {max(scored)} of {config.steps}")
    bundle = create_bundle(
        options.out,
        architecture=str(config.model),
        state_dict=load_checkpoint(options.run / "weights.safetensors"),
        classes=read_classes(share_path("config/classes.yaml")),
        # Most cameras deliver bgr8: no conversion on the way.
        input_spec=InputSpec(height=480, width=640, channel_order="bgr"),
        output_spec=OutputSpec("model"),
        name="nano",
        provenance={
            "weights": "trained on the package's procedural street, training split",
            "training": f"{config.steps} steps of {config.batch} pictures, after 9200 by an earlier script",
            "config": str(CONFIG),
            "config_sha256": sha256_of(CONFIG),
            "began_from_sha256": sha256_of(config.initial_weights),
            "seed": config.seed,
            "held_out_miou13": round(scored[config.steps], 4),
            "license": "Apache-2.0, like the package",
        },
        overwrite=True,
    )
    shutil.copyfile(options.run / "log.csv", LOG)
    curve(LOG, scored, LOG.with_suffix(".svg"))
    size = sum(path.stat().st_size for path in bundle.root.iterdir())
    print(f"{bundle.root}: {size / 1e6:.2f} MB, held-out mIoU {scored[config.steps]:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
