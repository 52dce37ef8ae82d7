"""Boxes and outlines of the instances in a picture, read off its instance image."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VisibleObject:
    """The visible pixels of one instance.

    Attributes:
        instance_id: as in the instance image.
        class_id: of its pixels.
        box: x_min, y_min, x_max, y_max, pixels: the outer edges of the outermost pixels, so that a single
            pixel (u, v) has the box u - 0.5, v - 0.5, u + 0.5, v + 0.5.
        pixels: how many there are.
        outlines: polygons through the centres of border pixels, one per separate part, each (n, 2).
    """

    instance_id: int
    class_id: int
    box: tuple[float, float, float, float]
    pixels: int
    outlines: tuple[npt.NDArray[np.int32], ...]


def visible_objects(
    class_ids: npt.NDArray[np.uint8], instance_ids: npt.NDArray[np.int32]
) -> list[VisibleObject]:
    """Return every instance in a picture, by instance id; both arguments are (height, width)."""
    rows, columns = np.nonzero(instance_ids)
    found, first, member = np.unique(instance_ids[rows, columns], return_index=True, return_inverse=True)
    order = np.argsort(member.ravel(), kind="stable")
    ends = np.searchsorted(member.ravel()[order], np.arange(len(found) + 1))
    objects = []
    for number, instance in enumerate(found.tolist()):
        own = order[ends[number] : ends[number + 1]]
        v, u = rows[own], columns[own]
        top, left, bottom, right = int(v.min()), int(u.min()), int(v.max()), int(u.max())
        # One pixel of margin keeps OpenCV from treating the window's border as outside.
        mask = np.zeros((bottom - top + 3, right - left + 3), np.uint8)
        mask[v - top + 1, u - left + 1] = 1
        contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
        outlines = tuple(
            np.asarray(c, np.int32).reshape(-1, 2) + np.array((left - 1, top - 1), np.int32) for c in contours
        )
        objects.append(
            VisibleObject(
                instance_id=instance,
                class_id=int(class_ids[rows[first[number]], columns[first[number]]]),
                box=(left - 0.5, top - 0.5, right + 0.5, bottom + 0.5),
                pixels=len(own),
                outlines=outlines,
            )
        )
    return objects
