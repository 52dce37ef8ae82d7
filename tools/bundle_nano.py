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

import torch
from nano_pictures import Config, Pictures
from train_nano import validate

from internimage_perception.cli.classes import read_classes
from internimage_perception.deploy import create_bundle
from internimage_perception.files import atomic_path
from internimage_perception.inference.bundle import InputSpec, OutputSpec
from internimage_perception.models import create_model
from internimage_perception.resources import share_path


def curve(log: Path, out: Path) -> None:
    """Draw loss and held-out mIoU over the steps as an SVG."""
    rows = [(int(row[0]), float(row[1]), row[2]) for row in csv.reader(log.open(newline=""))]
    width, height, left, bottom = 640, 300, 40, 30
    last = max(row[0] for row in rows)
    top = max(row[1] for row in rows)

    def place(step: int, share: float) -> str:
        x = left + (width - left - 10) * step / last
        return f"{x:.1f},{height - bottom - (height - bottom - 10) * share:.1f}"

    loss = " ".join(place(step, value / top) for step, value, _ in rows)
    scored = [(step, float(score)) for step, _, score in rows if score]
    miou = " ".join(place(step, score) for step, score in scored)
    base = height - bottom
    labels = "".join(
        f'<text x="{place(step, score).split(",")[0]}" y="{float(place(step, score).split(",")[1]) - 6:.1f}" '
        f'text-anchor="end" fill="#0a6">{score:.2f}</text>'
        for step, score in scored
    )
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11"><rect width="{width}" height="{height}" fill="white"/>'
        f'<path d="M{left},10 V{base} H{width - 10}" fill="none" stroke="#888"/>'
        f'<text x="{left - 4}" y="16" text-anchor="end">{top:.1f}</text>'
        f'<text x="{left - 4}" y="{base}" text-anchor="end">0</text>'
        f'<text x="{width - 10}" y="{height - 12}" text-anchor="end">{last} steps</text>'
        f'<text x="{left}" y="{height - 12}" fill="#36c">training loss</text>'
        f'<text x="{left + 90}" y="{height - 12}" fill="#0a6">held-out mIoU, 0 to 1</text>'
        f'<polyline points="{loss}" fill="none" stroke="#36c"/>'
        f'<polyline points="{miou}" fill="none" stroke="#0a6" stroke-width="2"/>{labels}</svg>\n'
    )
    with atomic_path(out) as path:
        path.write_text(text)


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
    miou, _ = validate(model, Pictures(options.work / "test"), config.validation)
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
