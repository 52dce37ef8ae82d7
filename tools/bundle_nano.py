"""Makes the shipped bundle of a training run, and stores its log and curve beside the configuration.

    tools/bundle_nano.py config/training/nano.yaml --work FOLDER --out config/bundles/nano

FOLDER is that of `tools/train_nano.py`. The averaged weights of its checkpoint are scored on all held-out
pictures; the score goes into the bundle's provenance.
"""

import argparse
import csv
import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from nano_pictures import Config, Pictures
from train_nano import validate

from internimage_perception.bags.plots import line_plot
from internimage_perception.cli.classes import read_classes
from internimage_perception.deploy import create_bundle
from internimage_perception.files import atomic_path
from internimage_perception.inference.bundle import InputSpec, OutputSpec
from internimage_perception.models import create_model
from internimage_perception.resources import share_path


def curve(log: Path, out: Path) -> None:
    """Draw loss and held-out mIoU over the lines of the log as an SVG."""
    rows = list(csv.reader(log.open(newline="")))
    steps = [int(row[0]) for row in rows]
    at = [step for step, row in zip(steps, rows, strict=True) if row[2]]
    scores = [float(row[2]) for row in rows if row[2]]
    series = {
        "training loss": [float(row[1]) for row in rows],
        "held-out mIoU": np.interp(steps, at, scores, left=0.0).tolist(),
    }
    plot = line_plot("nano", series, f"{steps[-1]} steps; lines of the log", "")
    with atomic_path(out) as path:
        path.write_text(
            plot.replace(
                "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="11" '
            )
        )


def main() -> int:
    """Make the bundle."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    options = parser.parse_args()
    config = Config.load(options.config)
    checkpoint = torch.load(options.work / "checkpoint.pt", weights_only=True)
    model = create_model(config.architecture)
    model.load_state_dict(checkpoint["average"])
    miou = validate(model, Pictures(options.work / "test"), config.validation).miou()
    bundle = create_bundle(
        options.out,
        architecture=config.architecture,
        state_dict=model.state_dict(),
        classes=read_classes(share_path("config/classes.yaml")),
        # Most cameras deliver bgr8: no conversion on the way.
        input_spec=InputSpec(height=config.height, width=config.width, channel_order="bgr"),
        output_spec=OutputSpec("model"),
        name="nano",
        provenance={
            "weights": "trained from random weights on the package's procedural street, training split",
            "training": f"tools/train_nano.py, {checkpoint['step']} steps",
            "config": f"config/training/{options.config.name}",
            "config_sha256": hashlib.sha256(options.config.read_bytes()).hexdigest(),
            "seed": config.seed,
            "held_out_miou13": round(miou, 4),
            "license": "Apache-2.0, like the package",
        },
        overwrite=True,
    )
    log = options.config.with_suffix(".csv")
    shutil.copyfile(options.work / "log.csv", log)
    curve(log, options.config.with_suffix(".svg"))
    size = sum(path.stat().st_size for path in bundle.root.iterdir())
    print(f"{bundle.root}: {size / 1e6:.2f} MB, held-out mIoU {miou:.4f} after {checkpoint['step']} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main())
