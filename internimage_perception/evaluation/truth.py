"""Truth on disk: one PNG of class ids per image, at `TRUTH/classes/<camera>/<stamp_ns>.png`."""

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.errors import ConfigError, ImageError
from internimage_perception.evaluation.confusion import unknown_id

CLASSES_FOLDER = "classes"
TRUTH_FOLDER = "truth"


class TruthFolder:
    """The labelled images of one or several folders.

    Attributes:
        roots: the folders; where two label the same image, the first one's label counts.
        stray: PNG files whose name is no stamp.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(roots)
        self.stray: list[Path] = []
        self._files: dict[str, dict[int, Path]] = {}
        for root in reversed(self.roots):
            try:
                for folder in sorted(path for path in (root / CLASSES_FOLDER).iterdir() if path.is_dir()):
                    self._list(folder)
            except OSError as error:
                raise ConfigError(f"truth {root} cannot be read: {error.strerror or error}") from error

    @classmethod
    def find(cls, bags: Sequence[Path], given: Path | None = None) -> "TruthFolder":
        """Return the truth in folder `given`, or else in `truth` inside or beside each bag.

        Raises ConfigError naming the folders that were looked at when there is none.
        """
        if given is not None:
            looked = [given]
        else:
            # Normalised first: the parent of `bags/..` is not `bags`.
            whole = [Path(os.path.abspath(bag)) for bag in bags]  # noqa: PTH100 - keeps links, unlike resolve
            looked = [place for bag in whole for place in (bag / TRUTH_FOLDER, bag.parent / TRUTH_FOLDER)]
        roots = [path for path in dict.fromkeys(looked) if (path / CLASSES_FOLDER).is_dir()]
        if not roots:
            places = ", ".join(str(path / CLASSES_FOLDER) for path in dict.fromkeys(looked))
            hint = "it must hold classes/CAMERA/STAMP_NS.png" if given else "say where it is with --truth"
            raise ConfigError(f"no truth: there is no folder {places}; {hint}")
        return cls(roots)

    def _list(self, folder: Path) -> None:
        stamps = self._files.setdefault(folder.name, {})
        for path in sorted(folder.glob("[!.]*.png")):
            if path.stem.isascii() and path.stem.isdigit():
                stamps[int(path.stem)] = path
            else:
                self.stray.append(path)

    @property
    def cameras(self) -> list[str]:
        """Names of the cameras with labelled images."""
        return sorted(name for name, stamps in self._files.items() if stamps)

    def stamps(self, camera: str) -> list[int]:
        """Return the stamps of a camera's labelled images, nanoseconds, in order."""
        return sorted(self._files.get(camera, {}))

    def path(self, camera: str, stamp_ns: int) -> Path | None:
        """Return the file that labels an image, or None."""
        return self._files.get(camera, {}).get(stamp_ns)


def read_truth(path: Path, num_classes: int, image_hw: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return the class ids of a truth file, uint8 (h, w), 255 where nothing is labelled.

    The size may differ from the image's, its shape may not: truth covers the whole image.

    Args:
        path: an 8-bit PNG with one channel.
        num_classes: ids go from 0 to num_classes - 1.
        image_hw: (rows, columns) of the image it labels.

    Raises:
        ImageError: the file cannot be read, is no such PNG, has another shape, or holds an unknown id.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except (OSError, cv2.error) as error:
        raise ImageError(f"truth {path} cannot be read: {error}") from error
    if pixels is None:
        raise ImageError(f"truth {path} is no picture, or is damaged")
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        raise ImageError(
            f"truth {path} has {channels} channel(s) of {pixels.dtype}; class ids need one channel of 8 bits "
            "(no colours, no palette)"
        )
    ids = np.asarray(pixels, np.uint8)
    if not same_shape((ids.shape[0], ids.shape[1]), image_hw):
        raise ImageError(
            f"truth {path} is {ids.shape[1]}x{ids.shape[0]}, but its image {image_hw[1]}x{image_hw[0]}; "
            "it must be of the same shape, at any scale"
        )
    if (unknown := unknown_id(ids, num_classes)) is not None:
        row, column = np.argwhere(ids == unknown)[0]
        raise ImageError(
            f"truth {path} holds id {unknown} at row {row}, column {column}; the model's classes are 0 to "
            f"{num_classes - 1}, and 255 is unlabelled"
        )
    return ids


def same_shape(one_hw: tuple[int, int], other_hw: tuple[int, int]) -> bool:
    """Return whether a size is the other one scaled evenly, its sides rounded to whole pixels."""
    (h, w), (rows, columns) = one_hw, other_hw
    # A scale s must exist with |w - s columns| <= 1/2 and |h - s rows| <= 1/2.
    lowest = max((2 * w - 1) * rows, (2 * h - 1) * columns)
    highest = min((2 * w + 1) * rows, (2 * h + 1) * columns)
    return lowest <= highest
