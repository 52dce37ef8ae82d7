"""Objects and cameras of pictures whose pixels an affine map moves."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from internimage_perception.data.distortion.objects import carried_outline
from internimage_perception.data.distortion.warps import Warp
from internimage_perception.data.sample import Bools, Floats, ObjectLabel
from internimage_perception.geometry import (
    CameraModel,
    DoubleSphereCamera,
    EucmCamera,
    KannalaBrandtCamera,
    MeiCamera,
    PinholeCamera,
    WoodScapeCamera,
)
from internimage_perception.training.pipeline.resampling import Grid

# Lenses that are the same all around their axis, and those with tangential distortion p1, p2 in `d`.
_ROUND = (DoubleSphereCamera, EucmCamera, KannalaBrandtCamera, WoodScapeCamera)
_TANGENTIAL = (MeiCamera, PinholeCamera)
_CLOSE = 1e-9
_LEAST_SIDE = 1e-3


@dataclass(frozen=True, kw_only=True)
class AffineWarp(Warp):
    """An affine map as a warp.

    Attributes:
        grid: the map.
    """

    grid: Grid

    @classmethod
    def of(cls, grid: Grid) -> "AffineWarp":
        """Return the warp of a grid."""
        (rows, columns), (height, width) = grid.source, grid.size
        return cls(source_width=columns, source_height=rows, width=width, height=height, grid=grid)

    def locate(self, pixels: Floats) -> tuple[Floats, Bools]:
        """See `Warp`."""
        return _applied(self.grid.inverse, pixels)

    def carry(self, points: Floats) -> tuple[Floats, Bools]:
        """See `Warp`."""
        return _applied(self.grid.matrix, points)

    def lens_mask(self) -> Bools:
        """See `Warp`; there is no lens that ends."""
        return np.ones((self.height, self.width), np.bool_)

    def eccentricity(self, pixels: Floats) -> Floats:
        """Return zeros: there is no axis."""
        return np.zeros(len(pixels))


def moved_objects(objects: Iterable[ObjectLabel], grid: Grid) -> tuple[ObjectLabel, ...]:
    """Return the objects as they are on the grid, cut at its border; those with nothing left are left out.

    A box is that of the moved mask, else of the outlines, else of the old box's corners.
    """
    warp = AffineWarp.of(grid)
    moved = (_moved(item, warp) for item in objects)
    return tuple(item for item in moved if item is not None)


def _moved(item: ObjectLabel, warp: AffineWarp) -> ObjectLabel | None:
    parts = (carried_outline(outline, warp) for outline in item.polygons)
    outlines = tuple(part for part in parts if part is not None)
    if item.mask is not None:
        mask = warp.grid.nearest(np.ascontiguousarray(item.mask).view(np.uint8), 0).view(np.bool_)
        columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        if not rows.size:
            return None
        box = np.array([columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5])
        return dataclasses.replace(item, box=box, polygons=outlines, mask=mask)
    if item.polygons:
        points = np.concatenate([np.empty((0, 2)), *outlines])
    else:
        points, _ = warp.carry(item.box[[[0, 1], [2, 1], [0, 3], [2, 3]]])
    points = np.clip(points, -0.5, (warp.width - 0.5, warp.height - 0.5))
    if not len(points) or np.ptp(points, axis=0).min() < _LEAST_SIDE:
        return None
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    return dataclasses.replace(item, box=box, polygons=outlines)


def moved_camera(camera: CameraModel, grid: Grid) -> CameraModel | None:
    """Return the camera of the moved picture; None where no camera of its model takes that.

    Of a mirrored picture it is the camera of the mirrored scene; a turned one's is turned about its axis.
    """
    if (camera.height, camera.width) != grid.source:
        return None
    # With a picture = K m: matrix K = K' Q, where K' is diagonal and Q turns or mirrors.
    linear = grid.matrix[:, :2] * (camera.fx, camera.fy)
    lengths = np.hypot(linear[:, 0], linear[:, 1])
    turn = linear / lengths[:, np.newaxis]
    if abs(float(turn[0] @ turn[1])) > _CLOSE:
        return None
    cx, cy = grid.matrix @ (camera.cx, camera.cy, 1.0)
    height, width = grid.size
    fx, fy = lengths.tolist()
    moved = dataclasses.replace(camera, width=width, height=height, fx=fx, fy=fy, cx=float(cx), cy=float(cy))
    signs = np.sign(np.diag(turn))
    straight = np.abs(turn - np.diag(signs)).max() < _CLOSE
    if (straight and signs.min() > 0) or isinstance(camera, _ROUND):
        return moved
    if isinstance(moved, _TANGENTIAL):
        k1, k2, p1, p2, *others = moved.d
        if straight:
            return dataclasses.replace(moved, d=(k1, k2, p1 * signs[1], p2 * signs[0], *others))
        return None if p1 or p2 else moved
    return None


def _applied(matrix: Floats, points: Floats) -> tuple[Floats, Bools]:
    moved: Floats = points @ matrix[:, :2].T + matrix[:, 2]
    return moved, np.asarray(np.isfinite(moved).all(axis=1), np.bool_)
