"""A generated street seen through any calibrated cameras: one ray per pixel, also beyond 90 degrees.

Its pictures show the way of a frame and check geometry; they are no training data.
"""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.scene_boxes import (
    GROUND_Y_M,
    PERIOD_M,
    SUN,
    TEXELS_PER_M,
    Box,
    ground_texture,
    shadows,
    street_boxes,
    sunlight,
)
from internimage_perception.errors import CalibrationError
from internimage_perception.geometry import CameraModel, Rig, RigCamera
from internimage_perception.resources import share_path

Bytes = npt.NDArray[np.uint8]
Singles = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

EGO_BODY = (
    Box((-0.94, -0.90, 0.28), (3.73, 0.90, 0.82), (58, 68, 84)),
    Box((3.60, -0.86, 0.26), (3.82, 0.86, 0.52), (46, 54, 68)),
    Box((-1.04, -0.86, 0.26), (-0.80, 0.86, 0.58), (46, 54, 68)),
    Box((-0.60, -0.74, 0.82), (2.30, 0.74, 1.46), (30, 36, 44)),
)
"""The own car, body, bumpers and cabin, in `base_link`: origin on the ground below the rear axle."""

_HORIZON, _ZENITH = np.array([206.0, 216.0, 226.0]), np.array([84.0, 138.0, 208.0])
_AMBIENT = 0.55
_HAZE_M = 110.0
# Boxes are looked for in windows of the image, which every eighth ray in each direction tells.
_COARSE = 8


def demo_rig(width: int = 640, height: int = 480) -> Rig:
    """Return the rig of `config/rigs/four_fisheye.yaml`, its images scaled to another size."""
    rig = Rig.load(share_path("config/rigs/four_fisheye.yaml"))
    cameras = {
        name: dataclasses.replace(item, camera=item.camera.resized(width, height))
        for name, item in rig.cameras.items()
        if item.camera is not None
    }
    return Rig(cameras, rig.base_frame)


class StreetScene:
    """The street, and a car with cameras driving along it.

    Args:
        rig: cameras with lens and pose; the base frame's origin moves along the street.
        seed: of the street and its textures.
        samples: rays per pixel and axis; 2 smooths edges at three to four times the work of 1.
        boxes: what stands there instead of the street's own things, repeated every `PERIOD_M`.

    Raises:
        CalibrationError: a camera without lens or pose, or not above the ground.
    """

    def __init__(self, rig: Rig, seed: int = 0, samples: int = 1, boxes: Sequence[Box] | None = None) -> None:
        self._boxes = street_boxes(seed) if boxes is None else list(boxes)
        ground = ground_texture(self._boxes, seed)
        self._views = {name: _View(camera, ground, samples) for name, camera in rig.cameras.items()}
        cameras = {name: view.camera for name, view in self._views.items()}
        self.rig = Rig(cameras, rig.base_frame)
        """The rig, its ego masks as the car's body appears in the pictures."""

    def render(self, camera: str, travelled_m: float) -> Bytes:
        """Return what `camera` sees when the car has come this far, uint8 RGB (height, width, 3).

        Black where the lens sees nothing.
        """
        return self._views[camera].render([_near(box, travelled_m) for box in self._boxes], travelled_m)


def _near(box: Box, travelled_m: float) -> Box:
    """Return the repetition of `box` nearest to the car, in the car's frame."""
    middle = (box.low[0] + box.high[0]) / 2
    shift = round((travelled_m - middle) / PERIOD_M) * PERIOD_M - travelled_m
    (x0, y0, z0), (x1, y1, z1) = box.low, box.high
    return Box((x0 + shift, y0, z0), (x1 + shift, y1, z1), box.color, box.pattern)


class _View:
    """One camera: its rays in the base frame, and all of its picture that does not change."""

    def __init__(self, camera: RigCamera, ground: Bytes, samples: int) -> None:
        if camera.camera is None or camera.base_from_camera is None:
            raise CalibrationError(f"camera {camera.name!r}: a scene needs its lens and its base_from_camera")
        if camera.base_from_camera[2, 3] <= 0.0:
            raise CalibrationError(f"camera {camera.name!r}: base_from_camera puts it below the ground")
        self._size = (camera.camera.width, camera.camera.height)
        self._blind = ~camera.camera.valid_mask()
        self._ground = ground
        fine = camera.camera.resized(self._size[0] * samples, self._size[1] * samples)
        self._origin = camera.base_from_camera[:3, 3].astype(np.float32)
        self._rays = _rays(fine, camera.base_from_camera[:3, :3])
        self._inverse = 1.0 / self._rays
        self._coarse = np.ascontiguousarray(self._rays[:, ::_COARSE, ::_COARSE])
        # Every ray is nearer than this to a coarse one, radians, also where the lens compresses its rim.
        self._margin = 3.0 * _COARSE / min(fine.fx, fine.fy)
        self._paint_background(min(fine.fx, fine.fy))
        self._body = np.zeros_like(self._background)
        depth = np.full(self._depth.shape, np.inf, np.float32)
        for box in EGO_BODY:
            self._draw(box, self._body, depth)
        self._is_body = np.isfinite(depth)
        share = cv2.resize(self._is_body.astype(np.float32), self._size, interpolation=cv2.INTER_AREA)
        self.camera = dataclasses.replace(camera, ego_mask=(np.asarray(share) >= 0.5) & ~self._blind)

    def _paint_background(self, focal: float) -> None:
        """Prepare sky, far ground (the average along the street), and where to read the near ground."""
        down = self._rays[2] < -1e-4
        self._depth = np.where(down, -self._origin[2] * self._inverse[2], np.float32(np.inf))
        reach = np.where(down, self._depth, np.float32(0.0))
        rise = np.maximum(self._rays[2], 0.0)[..., np.newaxis] ** 0.6
        glow = np.maximum(np.tensordot(SUN, self._rays, 1), 0.0)[..., np.newaxis] ** 60
        sky = _HORIZON + (_ZENITH - _HORIZON) * rise + 90.0 * glow
        rows, columns = self._ground.shape[:2]
        self._u = (self._origin[0] + reach * self._rays[0]) * np.float32(TEXELS_PER_M) - np.float32(0.5)
        v = (self._origin[1] + reach * self._rays[1] - GROUND_Y_M[0]) * TEXELS_PER_M - 0.5
        self._v = np.clip(v, 0.0, rows - 1).astype(np.float32)
        average = self._ground.mean(axis=1)[np.rint(self._v).astype(np.intp)]
        far = _hazy(average, reach[..., np.newaxis])
        self._background = np.clip(np.where(down[..., np.newaxis], far, sky), 0, 255).astype(np.uint8)
        # Metres of ground that one pixel covers along its ray decide between near and far.
        footprint = reach**2 / (self._origin[2] * focal)
        self._share_near = np.where(down, np.exp(-footprint), 0.0).astype(np.float32)
        shade = cv2.remap(
            shadows(EGO_BODY, rows, columns), np.mod(self._u, np.float32(columns)), self._v,
            cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP,
        )  # fmt: skip
        self._shaded = down & (np.asarray(shade) > 0)
        self._sunlight = sunlight(np.asarray(shade, np.uint8)[self._shaded])[:, np.newaxis]

    def render(self, boxes: Sequence[Box], travelled_m: float) -> Bytes:
        """Return the picture, uint8 RGB (height, width, 3); `boxes` are in the base frame."""
        columns = self._ground.shape[1]
        u = np.mod(self._u + np.float32(travelled_m * TEXELS_PER_M % columns), np.float32(columns))
        near = cv2.remap(self._ground, u, self._v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        blended = cv2.blendLinear(near, self._background, self._share_near, 1.0 - self._share_near)
        image, depth = np.asarray(blended, np.uint8), self._depth.copy()
        image[self._shaded] = image[self._shaded] * self._sunlight
        for box in boxes:
            self._draw(box, image, depth)
        image[self._is_body] = self._body[self._is_body]
        if image.shape[:2] != self._blind.shape:
            image = np.asarray(cv2.resize(image, self._size, interpolation=cv2.INTER_AREA), np.uint8)
        image[self._blind] = 0
        return image

    def _draw(self, box: Box, image: Bytes, depth: Singles) -> None:
        """Paint a box into `image` where it is nearer than `depth`, and note its depth."""
        low, high = (np.array(corner, np.float32) - self._origin for corner in (box.low, box.high))
        window = self._window((low + high) / 2, float(np.linalg.norm(high - low)) / 2)
        if window is None:
            return
        # A box is three slabs; a ray meets it if it enters the last before it leaves the first.
        inverse = self._inverse[:, window[0], window[1]]
        first, second = low[:, None, None] * inverse, high[:, None, None] * inverse
        entries = np.minimum(first, second)
        entry = entries.max(axis=0)
        hit = (entry < np.maximum(first, second).min(axis=0)) & (entry > 0.0) & (entry < depth[window])
        if not hit.any():
            return
        rays, distance = self._rays[:, window[0], window[1]][:, hit], entry[hit]
        axis = entries[:, hit].argmax(axis=0)
        side = -np.sign(np.take_along_axis(rays, axis[np.newaxis], axis=0)[0])
        light = _AMBIENT + (1.0 - _AMBIENT) * np.maximum(side * SUN[axis], 0.0)
        light *= box.shading(distance * rays - low[:, np.newaxis], axis)
        color = _hazy(np.array(box.color) * light[:, np.newaxis], distance[:, np.newaxis])
        image[window][hit] = np.clip(color, 0, 255).astype(np.uint8)
        depth[window][hit] = distance

    def _window(self, centre: npt.NDArray[np.floating], radius: float) -> tuple[slice, slice] | None:
        """Return the part of the image that can show a ball around `centre` (relative to the camera)."""
        distance = float(np.linalg.norm(centre))
        if distance - radius > PERIOD_M / 2:
            return None
        if distance <= radius:
            return slice(None), slice(None)
        cosine = np.cos(min(np.pi, np.arcsin(radius / distance) + self._margin))
        close = np.tensordot(centre / distance, self._coarse, 1) >= cosine
        rows, columns = np.flatnonzero(close.any(axis=1)), np.flatnonzero(close.any(axis=0))
        return (_slice(rows), _slice(columns)) if rows.size else None


def _slice(found: npt.NDArray[np.intp]) -> slice:
    return slice(max(0, int(found[0]) - 1) * _COARSE, (int(found[-1]) + 2) * _COARSE)


def _hazy(color: Floats, distance: Singles) -> Floats:
    clear = np.exp(-distance / _HAZE_M)
    mixed: Floats = color * clear + _HORIZON * (1.0 - clear)
    return mixed


def _rays(lens: CameraModel, base_from_camera: Floats) -> Singles:
    """Return the unit ray of every pixel in the base frame, (3, height, width), no component exactly 0."""
    rays, valid = lens.unproject(lens.pixel_grid())
    rays[~valid] = (0.0, 0.0, 1.0)
    turned = np.moveaxis(rays @ base_from_camera.T, -1, 0).astype(np.float32)
    turned[np.abs(turned) < 1e-6] = 1e-6
    return np.ascontiguousarray(turned)
