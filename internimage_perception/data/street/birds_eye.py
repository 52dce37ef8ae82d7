"""The ground from above: class ids on a grid in `base_link`, and which cells the rig's cameras see."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from internimage_perception.data.street.classes import IGNORED
from internimage_perception.data.street.rig_view import lens_of
from internimage_perception.data.street.shading import occluded
from internimage_perception.data.street.street import Moment, embree_scene
from internimage_perception.geometry import Rig
from internimage_perception.geometry.poses import invert, transform

_ABOVE_M = 60.0


@dataclass(frozen=True)
class GridSpec:
    """A square grid around the own car: cell [i, j] is centred on x = (j + 0.5) cell - extent, y by i.

    Attributes:
        extent: half of the side, metres.
        cell: side of a cell, metres.
    """

    extent: float = 50.0
    cell: float = 0.5

    @property
    def count(self) -> int:
        """Cells along each side."""
        return round(2 * self.extent / self.cell)


@dataclass(frozen=True, eq=False)
class BirdsEye:
    """A grid's contents, (count, count), rows along y.

    Attributes:
        class_ids: uint8, of what stands in the middle of the cell; what hangs over it (crowns, lamps, signs)
            is left out. 255 where there is nothing.
        instance_ids: int32.
        visible: bool, see `birds_eye`.
    """

    class_ids: npt.NDArray[np.uint8]
    instance_ids: npt.NDArray[np.int32]
    visible: npt.NDArray[np.bool_]


def birds_eye(moment: Moment, rig: Rig, seen: Collection[int], spec: GridSpec | None = None) -> BirdsEye:
    """Return the grid of a moment.

    A cell is visible if a camera has its highest point on the image with nothing before it, or if it belongs
    to one of the instances `seen`, those with a pixel in any image: of a car's roof no camera on a car sees
    much.
    """
    spec = spec or GridSpec()
    axis = (np.arange(spec.count) + 0.5) * spec.cell - spec.extent
    x, y = np.meshgrid(axis, axis)
    starts = np.stack([x, y, np.full_like(x, _ABOVE_M)], axis=-1).reshape(-1, 3).astype(np.float32)
    scene = moment.scene
    kept = np.flatnonzero(~scene.overhead[scene.part])
    down = np.broadcast_to(np.array((0.0, 0.0, -1.0), np.float32), starts.shape)
    found = embree_scene(moment.corners[kept]).run(
        starts, np.ascontiguousarray(down), query="INTERSECT", output=True
    )
    hit = np.asarray(found["primID"]) >= 0
    part = scene.part[kept[np.where(hit, found["primID"], 0)]]
    class_ids = np.where(hit, scene.class_ids[part], np.uint8(IGNORED)).astype(np.uint8)
    instances = np.where(hit, scene.instance_ids[part], np.int32(0)).astype(np.int32)
    points = starts.copy()
    points[:, 2] -= np.where(hit, found["tfar"], np.float32(_ABOVE_M))
    visible = hit & np.isin(instances, list(seen)) & (instances > 0)
    for camera in rig.cameras.values():
        lens, base_from_camera = lens_of(camera)
        pixels, valid = lens.project(transform(invert(base_from_camera), points))
        ask = np.flatnonzero(hit & ~visible & valid & lens.in_image(pixels))
        origin = base_from_camera[:3, 3].astype(np.float32)
        rays = points[ask] - origin
        distance = np.linalg.norm(rays, axis=1).astype(np.float32)
        rays /= np.maximum(distance, np.float32(1e-6))[:, None]
        # A margin before the point: neither itself nor its own triangle counts as an obstacle.
        reach = distance - np.float32(0.02) - np.float32(0.003) * distance
        blocked = occluded(moment, np.broadcast_to(origin, rays.shape), rays, reach)
        visible[ask[~blocked]] = True
    shape = (spec.count, spec.count)
    return BirdsEye(class_ids.reshape(shape), instances.reshape(shape), visible.reshape(shape))
