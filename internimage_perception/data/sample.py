"""`Sample`: a picture with all that is known about it, as datasets give it and augmentations return it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from internimage_perception.geometry import CameraModel

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

IGNORED = 255
"""Class id of pixels that no loss and no metric counts."""


@dataclass(frozen=True, slots=True)
class ObjectLabel:
    """One object in a picture.

    Attributes:
        class_id: of the dataset's classes.
        box: x0, y0, x1, y1 in pixels, the outer edges of the pixels it covers (pixel centres are whole
            numbers, so a box around the single pixel (3, 5) is 2.5, 4.5, 3.5, 5.5).
        polygons: outlines (K, 2) in pixels, several where something hides the object's middle.
        mask: bool (height, width) of the pixels it covers; None where the dataset has none.
        crowd: a group that no detection is asked for, as COCO's `iscrowd`.
        instance_id: the dataset's own number, 0 for none.
    """

    class_id: int
    box: Floats
    polygons: tuple[Floats, ...] = ()
    mask: Bools | None = None
    crowd: bool = False
    instance_id: int = 0


class Regions(NamedTuple):
    """Why pixels have no true label, bool (height, width) each; all False in a plain picture.

    Attributes:
        outside_lens: the lens sends no light there.
        ego_body: the own vehicle covers the scene.
        no_source: the lens sees something there, but the picture that was warped does not show it.
    """

    outside_lens: Bools
    ego_body: Bools
    no_source: Bools

    @classmethod
    def none(cls, height: int, width: int) -> "Regions":
        """Return regions without any pixel."""
        return cls(*(np.zeros((height, width), bool) for _ in cls._fields))

    @property
    def anywhere(self) -> Bools:
        """Pixels of any of them."""
        return self.outside_lens | self.ego_body | self.no_source


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled or unlabelled picture.

    Attributes:
        name: unique within its dataset; a relative path without suffix where it comes from files.
        image: uint8 RGB (height, width, 3).
        labels: class ids, uint8 (height, width), `IGNORED` where none holds; None: not labelled.
        objects: labelled objects; None: not labelled (an empty tuple: there are none).
        camera: the lens the picture was taken through; None: unknown.
        regions: why pixels have no label; None: every pixel shows the scene.
    """

    name: str
    image: Bytes
    labels: Bytes | None = None
    objects: tuple[ObjectLabel, ...] | None = None
    camera: CameraModel | None = None
    regions: Regions | None = None
