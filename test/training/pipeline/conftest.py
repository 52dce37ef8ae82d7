"""Small samples and datasets for the tests of the pipeline."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from internimage_perception.data.sample import ObjectLabel, Regions, Sample
from internimage_perception.geometry import PinholeCamera

CLASSES = 13


def make_blocks(rng, height, width, side=8):
    """Return labels of square blocks, and an image whose every pixel says its label (times 19)."""
    labels = rng.integers(0, CLASSES, (-(-height // side), -(-width // side)), np.uint8)
    labels = np.repeat(np.repeat(labels, side, axis=0), side, axis=1)[:height, :width].copy()
    return np.stack([labels * 19] * 3, axis=-1), labels


@pytest.fixture
def blocks():
    """Return what makes an image and labels of blocks: (rng, height, width, side)."""
    return make_blocks


@pytest.fixture
def sample():
    """A sample of 96x64 with all that a sample can have."""
    rng = np.random.default_rng(0)
    image, labels = make_blocks(rng, 64, 96)
    mask = np.zeros((64, 96), np.bool_)
    mask[20:40, 30:60] = True
    outline = np.array([(29.5, 19.5), (59.5, 19.5), (59.5, 39.5), (29.5, 39.5)])
    objects = (
        ObjectLabel(3, np.array([29.5, 19.5, 59.5, 39.5]), (outline,), mask, instance_id=7),
        ObjectLabel(4, np.array([0.0, 0.0, 5.0, 8.0])),
    )
    regions = Regions.none(64, 96)
    regions.outside_lens[:6] = True
    regions.ego_body[-9:] = True
    camera = PinholeCamera(
        width=96, height=64, fx=50.0, fy=52.0, cx=45.0, cy=30.0, d=(-0.05, 0.002, 0.003, -0.004, 0.0)
    )
    return Sample("street/a_7", image, labels, objects, camera, regions)


@pytest.fixture
def picture_folders(tmp_path: Path):
    """Return what writes a dataset of numbered pictures with labels: (count, width, height) to a mapping."""

    def write(count, *, width=48, height=32, name="set", seed=0, sizes=None):
        rng = np.random.default_rng(seed)
        folder = tmp_path / name
        for kind in ("images", "labels"):
            (folder / kind).mkdir(parents=True)
        for number in range(count):
            columns, rows = sizes[number] if sizes else (width, height)
            image, labels = make_blocks(rng, rows, columns)
            # The red channel says which picture it is.
            image[..., 0] = number
            cv2.imwrite(str(folder / "images" / f"{number:03d}.png"), image[..., ::-1])
            cv2.imwrite(str(folder / "labels" / f"{number:03d}.png"), labels)
        return {"kind": "folders", "images": str(folder / "images"), "labels": str(folder / "labels")}

    return write


@pytest.fixture
def frames(tmp_path: Path):
    """A folder of three background frames of one colour each, whose circle of 30 px shows the scene."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        colour = np.zeros((64, 96, 3), np.uint8)
        colour[...] = 40 * (number + 1)
        cv2.imwrite(str(folder / f"frame_{number}.png"), colour)
        bits = np.ones((64, 96), np.uint8)
        cv2.circle(bits, (48, 32), 30, 0, -1)
        bits[56:][bits[56:] == 0] = 2
        cv2.imwrite(str(folder / f"frame_{number}_regions.png"), bits)
    return folder
