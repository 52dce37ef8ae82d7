"""Pictures for `predict`, and what it makes of them."""

import csv
from pathlib import Path

import cv2
import numpy as np
import yaml

from internimage_perception.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
NANO = ROOT / "config" / "bundles" / "nano"


def predict(out, *words, model=NANO):
    """Run the command; returns its exit code."""
    return main(["predict", *map(str, words), "--model", str(model), "--out", str(out)])


def contents(folder):
    """Every file below a folder: relative path to bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def rows(out):
    """The list of predictions that a run wrote."""
    with (out / "predictions.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def save(path, pixels):
    """Write a picture, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def street_folder(folder, recipe):
    """A folder of a JPEG and, in a subfolder, a PNG of another size."""
    save(folder / "a.jpg", recipe.picture(120, 200, 1))
    save(folder / "sub" / "b.c.png", recipe.picture(96, 128, 2))
    (folder / "notes.txt").write_text("no picture")
    return folder


def flat_folder(folder):
    """Pictures of one colour each, for the bundle whose masks are known; and a list of them."""
    for number in range(6):
        pixels = np.full((30 + number, 40, 3), (10 * number, 20 * number, 30 * number), np.uint8)
        save(folder / f"{number}.png", pixels)
    lines = [f"F_{number},./{number}.png" for number in range(6)]
    (folder / "list.csv").write_text("\n".join(["id,img_path", *lines]))
    return folder


def lens_file(folder, **changes):
    """A rig of one fisheye whose circle does not fill its pictures."""
    camera = {
        "model": "equidistant", "width": 200, "height": 120, "fx": 40.0, "fy": 40.0, "cx": 99.5, "cy": 59.5,
        "d": [0.0, 0.0, 0.0, 0.0], "theta_max_deg": 70.0,
    }  # fmt: skip
    rig = {"cameras": {"front": {"image_topic": "/front", "camera": camera | changes}}}
    (folder / "rig.yaml").write_text(yaml.safe_dump(rig))
    return folder / "rig.yaml"
