"""`CameraModel`: the map between rays and pixels that every camera of the package goes through."""

import dataclasses
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import CalibrationError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# Blocks of this many points keep every intermediate array inside the second-level cache.
_BLOCK = 1 << 14
# A number beyond this comes from a misread file, and powers of it would overflow.
_LARGEST = 1e9
_LARGEST_SIDE = 65536
"""Pixels; no camera has more, and masks of more would fill the memory."""

CENTRE_RADIUS = 1e-9
"""Points nearer than this, metres, are the camera centre: moving points between frames leaves such noise."""


class CameraParameterError(CalibrationError):
    """A parameter of a camera model is missing, unknown or out of range; `key` names it."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, kw_only=True)
class CameraModel(ABC):
    """A calibrated lens and image: immutable, comparable, hashable.

    The optical frame is REP-103's: x right, y down, z forward. Pixels are (u, v), column before row, and the
    centre of the first pixel is (0, 0). There is no skew. Arrays are float64 of any leading shape; what
    cannot be mapped is NaN and marked invalid, never an exception or a warning.

    Attributes:
        width: columns of the image.
        height: rows of the image.
        fx: focal length along a row, pixels.
        fy: focal length along a column, pixels.
        cx: column of the principal point, pixels.
        cy: row of the principal point, pixels.
        theta_max: largest angle off the optical axis that the lens serves, radians. Given as half of the
            field of view (infinity where unknown); kept as the smaller of that and the model's own limit,
            so that no point behind the limit folds back into the image.

    Raises:
        CameraParameterError: a parameter is not a number or out of range.
    """

    model: ClassVar[str]

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    theta_max: float = math.inf

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value: object = getattr(self, field.name)
            object.__setattr__(self, field.name, self._checked(field.name, value))
        object.__setattr__(self, "theta_max", min(self.theta_max, self._theta_limit()))

    def project(self, points: npt.ArrayLike, *, unchecked: bool = False) -> tuple[Floats, Bools]:
        """Return the pixels (..., 2) of points (..., 3) in the optical frame, and which of them are valid.

        Valid means finite, not the camera centre (to 1e-9 m), and at most `theta_max` off the axis (to
        1e-12 rad); it does not mean inside the image, see `in_image`. Raises ValueError for another shape.
        With `unchecked`, pixels that are not valid hold what the formula gives there instead of NaN: fits
        need it, for whoever draws it is wrong.
        """
        array = _rows(points, 3, "points")
        flat = array.reshape(-1, 3)
        pixels = np.empty((len(flat), 2))
        valid = np.empty(len(flat), np.bool_)
        with np.errstate(all="ignore"):
            for start in range(0, len(flat), _BLOCK):
                part = slice(start, start + _BLOCK)
                x, y, z = np.array(flat[part].T, dtype=np.float64, order="C")
                m_x, m_y, good = self._project(x, y, z)
                if not unchecked and not good.all():
                    m_x[~good] = m_y[~good] = np.nan
                m_x *= self.fx
                m_y *= self.fy
                np.add(m_x, self.cx, out=pixels[part, 0])
                np.add(m_y, self.cy, out=pixels[part, 1])
                valid[part] = good
        return pixels.reshape(*array.shape[:-1], 2), valid.reshape(array.shape[:-1])

    def unproject(self, pixels: npt.ArrayLike) -> tuple[Floats, Bools]:
        """Return unit rays (..., 3) in the optical frame of pixels (..., 2), and which of them exist.

        A ray exists for every pixel that `project` reaches with a valid point, inside the image or not.
        Raises ValueError for another shape.
        """
        array = _rows(pixels, 2, "pixels")
        flat = array.reshape(-1, 2)
        rays = np.empty((len(flat), 3))
        valid = np.empty(len(flat), np.bool_)
        with np.errstate(all="ignore"):
            for start in range(0, len(flat), _BLOCK):
                part = slice(start, start + _BLOCK)
                m_x, m_y = np.array(flat[part].T, dtype=np.float64, order="C")
                m_x -= self.cx
                m_x /= self.fx
                m_y -= self.cy
                m_y /= self.fy
                x, y, z, good = self._unproject(m_x, m_y)
                rays[part, 0], rays[part, 1], rays[part, 2] = x, y, z
                if not good.all():
                    rays[part][~good] = np.nan
                valid[part] = good
        return rays.reshape(*array.shape[:-1], 3), valid.reshape(array.shape[:-1])

    def in_image(self, pixels: npt.ArrayLike) -> Bools:
        """Return which pixels (..., 2) lie on the image: -0.5 <= u < width - 0.5, likewise v; NaN never."""
        array = _rows(pixels, 2, "pixels").astype(np.float64, copy=False)
        u, v = array[..., 0], array[..., 1]
        inside: Bools = (u >= -0.5) & (u < self.width - 0.5) & (v >= -0.5) & (v < self.height - 0.5)
        return inside

    def pixel_grid(self, rows: slice | None = None) -> Floats:
        """Return the centre (u, v) of every pixel, of all rows or of some, (rows, width, 2)."""
        v = np.arange(self.height)[rows or slice(None)]
        grid = np.empty((v.size, self.width, 2))
        grid[..., 0] = np.arange(self.width)
        grid[..., 1] = v[:, np.newaxis]
        return grid

    def valid_mask(self) -> Bools:
        """Return which pixels the lens serves: bool (height, width), read-only, computed once."""
        return self._valid_mask

    @cached_property
    def _valid_mask(self) -> Bools:
        m_x = (np.arange(self.width) - self.cx) / self.fx
        m_y = (np.arange(self.height) - self.cy) / self.fy
        with np.errstate(all="ignore"):
            mask = self._has_ray(*np.broadcast_arrays(m_x, m_y[:, np.newaxis]))
        mask.flags.writeable = False
        return mask

    def resized(self, width: int, height: int) -> "CameraModel":
        """Return the camera of the same image scaled to `width` x `height`: u' = (u + 0.5) s - 0.5."""
        scale_x, scale_y = width / self.width, height / self.height
        return dataclasses.replace(
            self,
            width=width,
            height=height,
            fx=self.fx * scale_x,
            fy=self.fy * scale_y,
            cx=(self.cx + 0.5) * scale_x - 0.5,
            cy=(self.cy + 0.5) * scale_y - 0.5,
        )

    def cropped(self, x: int, y: int, width: int, height: int) -> "CameraModel":
        """Return the camera of the window whose first pixel is (x, y); a negative x or y pads."""
        return dataclasses.replace(self, width=width, height=height, cx=self.cx - x, cy=self.cy - y)

    def to_dict(self) -> dict[str, object]:
        """Return plain numbers and lists under a rig file's keys; `camera_from_dict` reverses it exactly.

        `theta_max` appears only where it is narrower than the model's own limit: in degrees where a short
        number says it exactly, otherwise in radians.
        """
        result: dict[str, object] = {"model": self.model}
        for field in dataclasses.fields(self):
            value: object = getattr(self, field.name)
            result[field.name] = list(value) if isinstance(value, tuple) else value
        del result["theta_max"]
        if self.theta_max < self._theta_limit():
            result.update(theta_max_entry(self.theta_max))
        return result

    def _checked(self, key: str, value: object) -> object:
        """Return the parameter `key` as int, float or tuple of floats. Raises CameraParameterError."""
        if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str):
            coefficients = tuple(self._number(key, item) for item in value)
            if any(abs(item) > _LARGEST for item in coefficients):
                raise self._wrong(key, value, f"between {-_LARGEST:g} and {_LARGEST:g}")
            return coefficients
        number = self._number(key, value, finite=key != "theta_max")
        if key in {"width", "height"}:
            if number < 1 or number != int(number):
                raise self._wrong(key, value, "a whole number of pixels, at least 1")
            if number > _LARGEST_SIDE:
                raise self._wrong(key, value, f"at most {_LARGEST_SIDE} pixels")
            return int(number)
        if key in {"fx", "fy", "cx", "cy"} and abs(number) > _LARGEST:
            raise self._wrong(key, value, f"between {-_LARGEST:g} and {_LARGEST:g}")
        if key in {"fx", "fy", "theta_max"} and not number > 0.0:
            raise self._wrong(key, value, "greater than 0")
        return number

    def _number(self, key: str, value: object, *, finite: bool = True) -> float:
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
            raise self._wrong(key, value, "a number")
        if math.isnan(value) or (finite and math.isinf(value)):
            raise self._wrong(key, value, "a finite number")
        return float(value)

    def _wrong(self, key: str, value: object, wanted: str) -> CameraParameterError:
        return CameraParameterError(
            key, f"{key} of this {self.model} camera is {value!r}; it must be {wanted}"
        )

    @abstractmethod
    def _theta_limit(self) -> float:
        """Return the angle up to which the model is one-to-one, radians."""

    @abstractmethod
    def _project(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Bools]:
        """Return distorted coordinates ((u - cx)/fx, (v - cy)/fy) and validity of one-dimensional arrays."""

    @abstractmethod
    def _unproject(self, m_x: Floats, m_y: Floats) -> tuple[Floats, Floats, Floats, Bools]:
        """Return unit rays and validity of distorted coordinates, one-dimensional arrays."""

    @abstractmethod
    def _has_ray(self, m_x: Floats, m_y: Floats) -> Bools:
        """Return the validity that `_unproject` gives, as cheaply as possible, for arrays of any shape."""


def theta_max_entry(theta_max: float) -> dict[str, float]:
    """Return the key and value that say `theta_max` exactly: degrees if a short number does, else radians."""
    degrees = round(math.degrees(theta_max), 9)
    return {"theta_max_deg": degrees} if math.radians(degrees) == theta_max else {"theta_max": theta_max}


def _rows(values: npt.ArrayLike, columns: int, name: str) -> npt.NDArray[np.generic]:
    array = np.asarray(values)
    if array.ndim == 0 or array.shape[-1] != columns:
        message = f"{name} must have the shape (..., {columns}), got {array.shape}"
        raise ValueError(message)
    return array
