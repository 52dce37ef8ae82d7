"""Rings of viewing angle: how far off the optical axis each pixel of a camera looks."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from internimage_perception.geometry import CameraModel

RING_EDGES_DEG = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0)
"""Lower edges, degrees off the axis; a ring holds its lower edge, and the last one has no upper edge."""

RINGS = (
    *(f"{low:g}-{high:g}" for low, high in pairwise(RING_EDGES_DEG)),
    f"{RING_EDGES_DEG[-1]:g}+",
)
"""Names of the rings, inside out."""

NO_RING = 255
"""Of pixels that no ray reaches."""


def viewing_angles(camera: CameraModel) -> npt.NDArray[np.float64]:
    """Return the angle off the optical axis at each pixel's centre, radians (h, w); NaN without a ray."""
    rays, valid = camera.unproject(camera.pixel_grid())
    theta = np.arctan2(np.hypot(rays[..., 0], rays[..., 1]), rays[..., 2])
    return np.where(valid, theta, np.nan)


def ring_map(camera: CameraModel, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return the index into `RINGS` of each pixel's centre, uint8 (height, width); 255 without a ray.

    Args:
        camera: the lens; its image is taken as scaled to `width` x `height`.
        width: columns.
        height: rows.
    """
    degrees = np.degrees(viewing_angles(camera.resized(width, height)))
    index = np.digitize(degrees, RING_EDGES_DEG[1:]).astype(np.uint8)
    index[np.isnan(degrees)] = NO_RING
    return index
