"""A bag with truth beside it, for tests of the evaluation."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from support.bags import PERIOD, T0, expected_mask, scene, write_bag
from support.json_schema import violations

from internimage_perception.cli.main import main

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schema" / "evaluation.schema.json"
CAMERAS = ("front", "left")
FRAMES = 4


def stamp(camera: str, index: int) -> int:
    """Return the stamp of a camera's image."""
    return T0 + index * PERIOD + CAMERAS.index(camera) * 1_000_000


def pixels(camera: str, index: int) -> np.ndarray:
    """Return a camera's image."""
    return scene(100 * index + CAMERAS.index(camera))


def write_truth(
    folder: Path, change: Callable[[np.ndarray, str, int], np.ndarray] = lambda ids, *_: ids
) -> Path:
    """Write the brightness bundle's own answers as truth, changed as told."""
    for camera in CAMERAS:
        target = folder / "classes" / camera
        target.mkdir(parents=True, exist_ok=True)
        for index in range(FRAMES):
            ids = change(expected_mask(pixels(camera, index)).copy(), camera, index)
            cv2.imwrite(str(target / f"{stamp(camera, index)}.png"), ids)
    return folder


class Bench:
    """A bag with truth beside it, and the command on it."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        self.folder, self.bundle = folder, bundle
        self.bag = write_bag(folder / "bag", frames=FRAMES)
        self.truth = write_truth(folder / "truth")
        self.out = folder / "out"

    def words(self, *more: str) -> list[str]:
        """Return the command line."""
        words = ["evaluate", str(self.bag), "--model", str(self.bundle), "--out", str(self.out)]
        return [*words, "--backend", "onnxruntime", *more]

    def run(self, *more: str) -> dict:
        """Run the command, which must succeed, and return its report."""
        assert main(self.words(*more)) == 0
        return self.report()

    def report(self) -> dict:
        """Return the report, which must fit the schema."""
        report = json.loads((self.out / "evaluation.json").read_text())
        assert violations(report, json.loads(SCHEMA.read_text())) == []
        return report

    def gate(self, text: str) -> str:
        """Write a gate file."""
        path = self.folder / "gate.yaml"
        path.write_text(text)
        return str(path)
