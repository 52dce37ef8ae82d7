"""`BackgroundBank`: frames of the target's camera, for the pixels that no warped picture fills."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from internimage_perception.data.sample import Bools, Bytes, Regions

_KEPT = 64


@dataclass(frozen=True, eq=False)
class Background:
    """A frame of the target's camera.

    Attributes:
        name: of the frame.
        image: uint8 RGB (height, width, 3).
        regions: where its lens sends no light and where the own vehicle is, bool (height, width) each.
    """

    name: str
    image: Bytes
    regions: Regions

    def fitted(self, width: int, height: int) -> "Background":
        """Return the frame at another size; regions take the nearest pixel."""
        if self.image.shape[:2] == (height, width):
            return self
        smaller = width * height < self.image.shape[0] * self.image.shape[1]
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(self.image, (width, height), interpolation=how), np.uint8)
        rows, columns = _middles(self.image.shape[0], height), _middles(self.image.shape[1], width)
        regions = Regions(*(np.ascontiguousarray(mask[rows][:, columns]) for mask in self.regions))
        return Background(self.name, image, regions)


class BackgroundBank:
    """Frames to choose a background from.

    Args:
        frames: one or more.

    Raises:
        ValueError: none, or masks of another size than their frame.
    """

    def __init__(self, frames: Sequence[Background]) -> None:
        if not frames:
            raise ValueError("a bank of backgrounds needs at least one frame")
        for frame in frames:
            if any(mask.shape != frame.image.shape[:2] for mask in frame.regions):
                message = f"background {frame.name}: its masks are not of the frame's size"
                raise ValueError(message)
        self.frames = tuple(frames)
        self._fitted: dict[tuple[int, int, int], Background] = {}

    def __len__(self) -> int:
        return len(self.frames)

    def choose(self, name: str, how: str, rng: np.random.Generator) -> int:
        """Return the index of a frame for the sample `name`.

        Args:
            name: of the sample.
            how: "random", or "suffix": the number at the end of the name modulo how many frames there are
                (a name without number: random).
            rng: asked for one number in any case, so that what is drawn later does not depend on `how`.
        """
        drawn = int(rng.integers(len(self.frames)))
        number = re.search(r"(\d+)\D*$", name) if how == "suffix" else None
        return int(number[1]) % len(self.frames) if number is not None else drawn

    def fitted(self, index: int, width: int, height: int) -> Background:
        """Return a frame at a size; the last ones are kept."""
        key = (index, width, height)
        if key not in self._fitted:
            if len(self._fitted) >= _KEPT:
                self._fitted.pop(next(iter(self._fitted)))
            self._fitted[key] = self.frames[index].fitted(width, height)
        return self._fitted[key]


def visible_regions(visible: Bools, ego_body: Bools | None = None) -> Regions:
    """Return the regions of a frame of which only `visible` shows the scene: the rest is outside the lens.

    Args:
        visible: bool (height, width).
        ego_body: pixels of the own vehicle; None: not told apart.
    """
    ego = np.zeros_like(visible) if ego_body is None else ego_body
    return Regions(~visible & ~ego, ego, np.zeros_like(visible))


def _middles(length: int, size: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return which of `length` pixels lie under the middles of `size` pixels."""
    return ((np.arange(size) + 0.5) * length / size).astype(np.intp)
