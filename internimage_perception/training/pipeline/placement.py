"""`Placement`: where the pixels of a sample shall come to lie; many steps, one interpolation."""

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from internimage_perception.data.sample import IGNORED, Bools, Bytes, Floats, Regions, Sample
from internimage_perception.errors import ConfigError
from internimage_perception.training.pipeline.checks import LARGEST_SIDE
from internimage_perception.training.pipeline.moved import moved_camera, moved_objects
from internimage_perception.training.pipeline.resampling import Grid, moved_image

Rng = np.random.Generator
Colour = tuple[int, int, int]
Indices = npt.NDArray[np.intp]

MEAN_COLOUR: Colour = (124, 116, 104)
"""ImageNet's mean: about 0 once normalised, as the padding of mmsegmentation."""


@dataclass(frozen=True)
class Placement:
    """A sample, and an affine map of its pixels that is not yet carried out.

    Pixel centres are whole numbers. Beyond the picture, pixels get a colour, `IGNORED` and, in `Regions`, no
    source; but what an earlier crop cut off and a later step brings back is the picture's own.

    Attributes:
        source: the sample.
        matrix: pixels of the source to pixels of the target, (2, 3).
        width: columns of the target.
        height: rows of the target.
        fill: colour beyond the picture, (r, g, b).
    """

    source: Sample
    matrix: Floats
    width: int
    height: int
    fill: Colour = MEAN_COLOUR

    @classmethod
    def of(cls, sample: Sample) -> "Placement":
        """Return the placement that leaves all as it is."""
        height, width = sample.image.shape[:2]
        return cls(sample, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), width, height)

    def scaled(self, width: int, height: int) -> "Placement":
        """Return it at another size. Raises ConfigError for sides above 32000 pixels."""
        if max(width, height) > LARGEST_SIDE or min(width, height) < 1:
            raise ConfigError(f"{self.source.name} would have {width}x{height} pixels")
        scale = np.array([width / self.width, height / self.height])
        matrix = self.matrix * scale[:, np.newaxis]
        matrix[:, 2] += (scale - 1.0) / 2.0
        return dataclasses.replace(self, matrix=matrix, width=width, height=height)

    def window(self, x: int, y: int, width: int, height: int, fill: Colour) -> "Placement":
        """Return a part whose first pixel is (x, y); it may reach beyond."""
        matrix = self.matrix.copy()
        matrix[:, 2] -= (x, y)
        return dataclasses.replace(self, matrix=matrix, width=width, height=height, fill=fill)

    def mirrored(self) -> "Placement":
        """Return it with left and right exchanged."""
        matrix = self.matrix.copy()
        matrix[0] *= -1.0
        matrix[0, 2] += self.width - 1.0
        return dataclasses.replace(self, matrix=matrix)

    def turned(self, radians: float, fill: Colour) -> "Placement":
        """Return it turned about its middle, to the right for positive angles; its size stays."""
        cosine, sine = np.cos(radians), np.sin(radians)
        turn = np.array([[cosine, -sine], [sine, cosine]])
        middle = np.array([self.width - 1.0, self.height - 1.0]) / 2.0
        matrix = turn @ self.matrix
        matrix[:, 2] += middle - turn @ middle
        return dataclasses.replace(self, matrix=matrix, fill=fill)

    @cached_property
    def grid(self) -> Grid:
        """Which pixels of the source the target's are."""
        return Grid(self.matrix, self.source.image.shape[:2], (self.height, self.width))

    def labels_in(self, x: int, y: int, width: int, height: int, step: int) -> Bytes:
        """Return every `step`-th label of a part, (rows, columns); `IGNORED` beyond the picture.

        The source must have labels.
        """
        assert self.source.labels is not None  # noqa: S101 - callers look
        matrix = self.matrix.copy()
        matrix[:, 2] -= (x + (step - 1) / 2, y + (step - 1) / 2)
        size = -(-height // step), -(-width // step)
        return Grid(matrix / step, self.source.image.shape[:2], size).nearest(self.source.labels, IGNORED)

    def carried(self, column: float, row: float) -> tuple[float, float]:
        """Return where a pixel of the source comes to lie, column and row."""
        found = self.matrix @ (column, row, 1.0)
        return float(found[0]), float(found[1])

    def sample(self) -> Sample:
        """Carry the map out: image interpolated without aliasing, labels the nearest pixel's."""
        source, grid = self.source, self.grid
        if grid.identity:
            return source
        inside = grid.inside
        image = moved_image(source.image, grid)
        if inside is not None:
            image[~inside] = self.fill
        return dataclasses.replace(
            source,
            image=image,
            labels=None if source.labels is None else grid.nearest(source.labels, IGNORED),
            objects=None if source.objects is None else moved_objects(source.objects, grid),
            camera=None if source.camera is None else moved_camera(source.camera, grid),
            regions=_moved_regions(source.regions, grid, inside),
        )


class PlaceOperation(ABC):
    """An operation that only moves pixels; a pipeline joins those that follow each other."""

    @abstractmethod
    def place(self, placement: Placement, rng: Rng) -> Placement:
        """Return where the pixels come to lie after this step too."""

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Return the moved sample."""
        return self.place(Placement.of(sample), rng).sample()


def _moved_regions(regions: Regions | None, grid: Grid, inside: Bools | None) -> Regions | None:
    if regions is None:
        if inside is None:
            return None
        return Regions.none(*grid.size)._replace(no_source=~inside)
    moved = Regions(*(grid.nearest(mask.view(np.uint8), 0).view(np.bool_) for mask in regions))
    return moved if inside is None else moved._replace(no_source=moved.no_source | ~inside)
