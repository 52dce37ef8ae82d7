"""Views of a lens without its distortion: cylinders and rows of pinholes, with the way back."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry.camera import CENTRE_RADIUS, Bools, CameraModel, Floats
from internimage_perception.geometry.camera_registry import register_camera_model
from internimage_perception.geometry.pinhole import PinholeCamera
from internimage_perception.geometry.poses import rpy_to_matrix

Maps = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]

_BEHIND = math.nextafter(math.pi, 0.0)
# Height over distance of what still has a direction around a cylinder.
_STEEPEST = 1e9
_ROWS = 64


@register_camera_model("cylinder")
@dataclass(frozen=True, kw_only=True)
class CylindricalCamera(CameraModel):
    """An upright cylinder around the camera: u = fx atan2(x, z) + cx, v = fy y / hypot(x, z) + cy.

    Upright edges of the world stay straight and upright at any field of view, which no single pinhole
    offers beyond 180 degrees.

    Attributes:
        theta_max: half field of view off the optical axis, at most 180 degrees.
    """

    model: ClassVar[str] = "cylindrical"

    def _theta_limit(self) -> float:
        return math.pi

    def _project(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Bools]:
        level = np.hypot(x, z)
        azimuth = np.arctan2(x, z)
        # Straight up and down, and straight behind, one direction has many pixels.
        valid: Bools = np.abs(azimuth) <= _BEHIND
        aside = np.abs(y)
        valid &= _STEEPEST * level > aside
        aside += level
        valid &= aside >= CENTRE_RADIUS
        valid &= aside < np.inf
        if self.theta_max < math.pi:
            valid &= np.arctan2(np.hypot(x, y), z) <= self.theta_max + 1e-12
        y /= level
        return azimuth, y, valid

    def _unproject(self, m_x: Floats, m_y: Floats) -> tuple[Floats, Floats, Floats, Bools]:
        length = np.sqrt(1.0 + m_y * m_y)
        x, z = np.sin(m_x) / length, np.cos(m_x) / length
        y = m_y / length
        return x, y, z, self._has_ray(m_x, m_y)

    def _has_ray(self, m_x: Floats, m_y: Floats) -> Bools:
        mask: Bools = (np.abs(m_x) <= _BEHIND) & (np.abs(m_y) < _STEEPEST)
        if self.theta_max < math.pi:
            mask &= np.cos(m_x) >= (math.cos(self.theta_max) - 1e-12) * np.sqrt(1.0 + m_y * m_y)
        return mask


@dataclass(frozen=True, eq=False)
class Tile:
    """One camera of a `TiledView`: its place in the view's image, and how it is turned.

    Attributes:
        camera: pinhole or other.
        x: column of the view where the tile begins.
        source_from_tile: rotation of the tile's optical frame in the source's, 3x3.
    """

    camera: CameraModel
    x: int
    source_from_tile: Floats


@dataclass(frozen=True, eq=False)
class TiledView:
    """Cameras at one place whose images stand side by side in one.

    Attributes:
        tiles: from left to right; all of one height.
        width: of the whole image.
        height: of the whole image.
    """

    tiles: tuple[Tile, ...]
    width: int
    height: int

    def maps_from(self, source: CameraModel) -> Maps:
        """Return the tables for cv2.remap that make this view out of the source's image.

        Column and row of the source for every pixel of the view, float32 (height, width); -1 where the
        source shows nothing.
        """
        columns, rows = np.full((2, self.height, self.width), -1.0, np.float32)
        for tile in self.tiles:
            part = slice(tile.x, tile.x + tile.camera.width)
            columns[:, part], rows[:, part] = remap_tables(tile.camera, source, tile.source_from_tile)
        return columns, rows

    def maps_to(self, source: CameraModel) -> Maps:
        """Return the tables for cv2.remap that make the source's image, or masks for it, out of this view.

        Where tiles overlap, each pixel comes from the tile whose axis is nearest. Column and row of the view
        for every pixel of the source, float32; -1 where no tile shows it.
        """
        columns, rows = np.full((2, source.height, source.width), -1.0, np.float32)
        for band, pixels in _bands(source):
            rays, valid = source.unproject(pixels)
            best = np.full(valid.shape, -2.0)
            for tile in self.tiles:
                turned = rays @ tile.source_from_tile
                found, seen = tile.camera.project(turned)
                seen &= valid & tile.camera.in_image(found) & (turned[..., 2] > best)
                np.copyto(columns[band], found[..., 0] + tile.x, where=seen, casting="same_kind")
                np.copyto(rows[band], found[..., 1], where=seen, casting="same_kind")
                np.copyto(best, turned[..., 2], where=seen)
        return columns, rows


def cylindrical_view(width: int, height: int, *, horizontal_deg: float, pitch_deg: float = 0.0) -> TiledView:
    """Return a view onto a cylinder with square pixels at the horizon.

    Args:
        width: pixels around.
        height: pixels up and down.
        horizontal_deg: field of view around, degrees, at most 360.
        pitch_deg: by how much the cylinder is turned upwards from the source's axis: the downward tilt of
            the camera, where its axis shall be upright.

    Raises:
        CalibrationError: a field of view out of range.
    """
    if not 0.0 < horizontal_deg <= 360.0:
        message = f"horizontal_deg is {horizontal_deg}; it must be above 0 and at most 360"
        raise CalibrationError(message)
    f = width / math.radians(horizontal_deg)
    camera = CylindricalCamera(
        width=width, height=height, fx=f, fy=f, cx=(width - 1) / 2, cy=(height - 1) / 2
    )
    return TiledView((Tile(camera, 0, _turned(0.0, pitch_deg)),), width, height)


def tiled_pinhole_view(
    count: int, width: int, height: int, *, horizontal_deg: float, pitch_deg: float = 0.0
) -> TiledView:
    """Return pinholes side by side that share a field of view of `horizontal_deg` evenly.

    Args:
        count: pinholes, 1 or more.
        width: pixels of each.
        height: pixels of each.
        horizontal_deg: field of view of all together, degrees; less than 150 for each.
        pitch_deg: as in `cylindrical_view`.

    Raises:
        CalibrationError: a count or field of view out of range.
    """
    each = horizontal_deg / max(count, 1)
    if count < 1 or not 0.0 < each < 150.0:
        message = (
            f"{count} pinholes cannot share {horizontal_deg} degrees; "
            "each must have more than 0 and less than 150 degrees"
        )
        raise CalibrationError(message)
    f = width / 2.0 / math.tan(math.radians(each) / 2.0)
    camera = PinholeCamera(width=width, height=height, fx=f, fy=f, cx=(width - 1) / 2, cy=(height - 1) / 2)
    turns = [(index - (count - 1) / 2.0) * each for index in range(count)]
    tiles = tuple(Tile(camera, index * width, _turned(turn, pitch_deg)) for index, turn in enumerate(turns))
    return TiledView(tiles, count * width, height)


def remap_tables(view: CameraModel, source: CameraModel, source_from_view: Floats | None = None) -> Maps:
    """Return the tables for cv2.remap that make one camera's image out of another's at the same place.

    Args:
        view: camera whose image is wanted.
        source: camera whose image is there.
        source_from_view: rotation of the view's optical frame in the source's, 3x3; None: none.

    Returns:
        Column and row of the source for every pixel of the view, float32 (height, width); -1 where the view
        has no ray or the source sees none of it.
    """
    columns, rows = np.empty((2, view.height, view.width), np.float32)
    for band, wanted in _bands(view):
        rays, valid = view.unproject(wanted)
        if source_from_view is not None:
            rays = rays @ source_from_view.T
        pixels, seen = source.project(rays)
        seen &= valid
        columns[band] = np.where(seen, pixels[..., 0], -1.0)
        rows[band] = np.where(seen, pixels[..., 1], -1.0)
    return columns, rows


def _bands(camera: CameraModel) -> Iterator[tuple[slice, Floats]]:
    """Yield rows of a camera's image, and their pixels (rows, width, 2), a band at a time.

    Bands keep the rays in the cache; those of 2 Mpx would be written out and read back six times.
    """
    for first in range(0, camera.height, _ROWS):
        band = slice(first, first + _ROWS)
        yield band, camera.pixel_grid(band)


def _turned(yaw_deg: float, pitch_deg: float) -> Floats:
    """Return the rotation, in the source's optical frame, of a view turned right, then up."""
    # Optical axes: turning right is about y (down), turning up about x (right).
    right = rpy_to_matrix(0.0, math.radians(yaw_deg), 0.0)
    up = rpy_to_matrix(math.radians(pitch_deg), 0.0, 0.0)
    return up @ right
