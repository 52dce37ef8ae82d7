"""Small datasets and settings to train on; in a file that fresh processes can import."""

import copy
import csv
from pathlib import Path

import cv2
import numpy as np
import torch

from internimage_perception.training.config import TrainingConfig

ARCHITECTURE = {
    "channels": 8, "depths": [1, 1, 1, 1], "groups": [1, 2, 4, 8], "mlp_ratio": 2.0, "head_channels": 8,
    "aux_channels": 8, "num_classes": 13, "drop_path_rate": 0.2,
}  # fmt: skip
CLASSES = 13


def write_pictures(folder, count, *, width=96, height=64, seed=0, labelled=True):
    """Write pictures of blocks whose colours tell their labels, noise on top; returns the dataset."""
    rng = np.random.default_rng(seed)
    colours = np.random.default_rng(99).integers(0, 255, (CLASSES, 3))
    for number in range(count):
        grid = rng.integers(0, CLASSES, (-(-height // 16), -(-width // 16)), np.uint8)
        labels = np.repeat(np.repeat(grid, 16, axis=0), 16, axis=1)[:height, :width].copy()
        image = np.clip(colours[labels] + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)
        # Ignored pixels, another share in every picture.
        labels[: 4 * (number % 5)] = 255
        for kind, pixels in (("images", image), ("labels", labels)):
            if kind == "images" or labelled:
                path = folder / kind / f"{number:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), pixels)
    found = {"kind": "folders", "images": str(folder / "images")}
    return {**found, "labels": str(folder / "labels")} if labelled else found


def settings(train, val=None, **changes):
    """Return a configuration of a few small steps; changes are keys such as `loss__dice`."""
    content = {
        "model": copy.deepcopy(ARCHITECTURE),
        "seed": 3,
        "steps": 6,
        "batch": 2,
        "data": {
            "sources": [{"dataset": train}],
            "pipeline": [{"op": "flip"}, {"op": "crop", "size": [64, 48]}],
            "workers": 0,
        },
        "optimizer": {"learning_rate": 2e-3},
        "schedule": {"warm_up": 2, "warm_up_from": 0.1},
        "log_every": 2,
        "checkpoint_every": 2,
    }
    if val is not None:
        content["validation"] = {"sources": {"val": val}, "every": 3}
    for key, value in changes.items():
        *path, last = key.split("__")
        place = content
        for name in path:
            place = place.setdefault(name, {})
        place[last] = value
    return TrainingConfig.model_validate(content)


def read_table(path):
    """Return the rows of a CSV file, numbers as they are written."""
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def final_state(out):
    """Return everything that the newest checkpoint of a run's folder holds."""
    newest = max((Path(out) / "checkpoints").glob("step_*.pt"))
    return torch.load(newest, weights_only=True)


def tensors_of(content, place=""):
    """Yield places and values of everything in nested mappings and lists."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from tensors_of(value, f"{place}.{key}")
    elif isinstance(content, list | tuple):
        for index, value in enumerate(content):
            yield from tensors_of(value, f"{place}.{index}")
    else:
        yield place, content


def differences(one, other):
    """Return the places at which two states are not bit for bit the same."""
    mine, theirs = dict(tensors_of(one)), dict(tensors_of(other))
    assert mine.keys() == theirs.keys()
    return [
        place
        for place, value in mine.items()
        if not (
            torch.equal(value, theirs[place]) if isinstance(value, torch.Tensor) else value == theirs[place]
        )
    ]
