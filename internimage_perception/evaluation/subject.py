"""`Subject`: a bundle or export under test, named so that reports tell it from every other one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import ConfigError
from internimage_perception.inference.bundle import CLASSIFICATION, Bundle
from internimage_perception.inference.export_spec import FP32, ExportSpec, Range
from internimage_perception.inference.resampling import resize_and_crop

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Subject:
    """A bundle under test.

    Attributes:
        bundle: the model.
        folder: its folder, or the shipped bundle's name, as the user gave it.
    """

    bundle: Bundle
    folder: str

    @classmethod
    def load(cls, given: str | Path) -> "Subject":
        """Read a folder or a shipped bundle. Raises BundleError."""
        path = Path(given)
        # "." and ".." are no names that a report can be read by.
        return cls(Bundle.load(given), str(path if path.name not in {"", ".."} else path.resolve()))

    @property
    def precision(self) -> str:
        """What it computes in: "fp32", "fp16" or "int8"."""
        return FP32 if self.bundle.export is None else self.bundle.export.precision

    @property
    def per_call(self) -> int:
        """How many frames a call is best given: what an export usually takes, else 1."""
        return 1 if self.bundle.export is None else self.bundle.export.batch[1]

    @property
    def label(self) -> str:
        """The folder, and of an export its precision and the frames it takes."""
        spec = self.bundle.export
        return self.folder if spec is None else f"{self.folder} ({spec.precision}, {_frames(spec)})"

    def prepared(self, image: Image) -> Image:
        """Return a camera's frame, uint8 (H, W, 3), as the model's task hands it to a backend.

        A classifier's is resized and cropped as `classify` does it; a segmentor takes the frame as it is.
        """
        size = self.bundle.input
        classifier = self.bundle.task == CLASSIFICATION
        return resize_and_crop(image, size.height, size.width) if classifier else image

    def to_dict(self) -> dict[str, object]:
        """Return what it is, as plain values; `export` holds (least, usual, most) of each size."""
        spec = self.bundle.export
        sizes = {} if spec is None else {"batch": spec.batch, "height": spec.height, "width": spec.width}
        return {
            "bundle": self.folder,
            "path": str(self.bundle.root.resolve()),
            "name": self.bundle.name,
            "identity": self.bundle.identity(),
            "task": self.bundle.task,
            "precision": self.precision,
            "export": {name: list(size) for name, size in sizes.items()} or None,
        }


def load_subjects(given: Sequence[str | Path]) -> list[Subject]:
    """Read bundles. Raises BundleError, and ConfigError for one that is named twice."""
    subjects = [Subject.load(item) for item in given]
    names = [subject.folder for subject in subjects]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{twice} is named twice; its rows could not be told apart")
    return subjects


def _frames(spec: ExportSpec) -> str:
    """Return one phrase, such as "4 frames of 640x480"."""
    (height, _, tallest), (width, _, widest) = spec.height, spec.width
    least, most = f"{width}x{height}", f"{widest}x{tallest}"
    return f"{_count(spec.batch)} of {most if least == most else f'{least} to {most}'}"


def _count(batch: Range) -> str:
    least, _, most = batch
    number = str(most) if least == most else f"{least} to {most}"
    return f"{number} frame" if most == 1 else f"{number} frames"
