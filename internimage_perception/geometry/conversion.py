"""Converting a lens into another camera model by fit, with how far and how well the two agree."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry.camera import CameraModel, Floats
from internimage_perception.geometry.camera_registry import camera_from_dict, camera_keys
from internimage_perception.geometry.least_squares import least_squares

_RINGS = 64
# Pixels of the image that a fit looks at, that it is judged by, and that it needs at least.
_FITTED = 3000
_COMPARED = 40000
_FEWEST = 100
# A mean square below this, pixels squared, needs no other start.
_EXACT = 1e-12
# A pinhole's image grows without bounds towards 90 degrees: by default it is fitted up to here, radians.
_PINHOLE_REACH = math.radians(70.0)

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Conversion:
    """A fitted camera beside its source.

    Attributes:
        source: what was converted.
        camera: the fitted camera, of the same image size; its `theta_max` is `theta_max`.
        theta_max: angle off the axis up to which both were fitted and are valid, radians.
        angles: outer edges of rings off the axis, radians, ascending, (n,).
        errors: largest distance between both cameras' pixels in each ring of the image, pixels, (n,).
        rms: root mean square distance over all pixels compared.
    """

    source: CameraModel
    camera: CameraModel
    theta_max: float
    angles: Vector
    errors: Vector
    rms: float

    @property
    def worst(self) -> float:
        """Largest distance on any ring, pixels."""
        return float(self.errors.max(initial=0.0))

    def agrees_to(self, pixels: float) -> float:
        """Return the angle, radians, up to which the cameras agree within so many pixels."""
        wrong = np.flatnonzero(~(self.errors <= pixels))
        return self.theta_max if not wrong.size else float(self.angles[max(wrong[0] - 1, 0)])

    def error_map(self) -> npt.NDArray[np.float32]:
        """Return how far the fitted camera's pixel lies from each of the source's, pixels, (height, width).

        NaN where either sees nothing.
        """
        grid = self.source.pixel_grid()
        rays, valid = self.source.unproject(grid)
        pixels, found = self.camera.project(rays)
        distance = np.hypot(*np.moveaxis(pixels - grid, -1, 0))
        return np.where(valid & found, distance, np.nan).astype(np.float32)


def convert_camera(source: CameraModel, model: str, *, theta_max: float | None = None) -> Conversion:
    """Fit a camera of another model to a lens, in the least squares sense of pixels.

    Every part of the image within `theta_max` counts alike.

    Args:
        source: a calibrated camera.
        model: name or alias of the model wanted, as in rig files.
        theta_max: largest angle off the axis to fit, radians; None takes what the source's image shows, and
            for pinholes 70 degrees of it.

    Raises:
        CameraParameterError: there is no such model.
        CalibrationError: nothing of the source lies within `theta_max`, or no parameters were found.
    """
    camera_keys(model)
    reach = min(source.theta_max, _visible_angle(source))
    if theta_max is not None:
        reach = min(reach, theta_max)
    elif _example(model, 1.0, _SHAPES[0])["model"] == "pinhole":
        reach = min(reach, _PINHOLE_REACH)
    rays, pixels, _ = _correspondences(source, reach, _FITTED)
    fit = _Fit(source, model)
    camera = fit.camera(fit.best(rays, pixels), theta_max=reach)
    # The fitted model may fold back earlier than the source.
    reach = min(reach, camera.theta_max)
    return _compared(source, camera, reach)


def _example(model: str, focal: float, shape: tuple[float, float]) -> dict[str, object]:
    """Return parameters of a plain lens with so many pixels per radian on the axis.

    `shape` is (xi, alpha), of models that have them.
    """
    values: dict[str, object] = {"model": model, "width": 2, "height": 2, "cx": 0.0, "cy": 0.0}
    xi, alpha = shape
    keys = camera_keys(model)
    if "alpha" in keys:
        values["alpha"] = alpha
    if "xi" in keys:
        values["xi"] = xi if "alpha" in keys else 1.0 + xi
        focal *= 1.0 + float(str(values["xi"]))
    if model == "rational_polynomial":
        # Not zero, so that the model keeps all eight coefficients.
        values["d"] = [0.0] * 7 + [1e-12]
    result = camera_from_dict(values | {"fx": focal, "fy": focal}).to_dict()
    return {key: value for key, value in result.items() if key not in {"theta_max", "theta_max_deg"}}


_SHAPES = ((0.0, 0.55), (-0.25, 0.6), (0.3, 0.4), (0.9, 0.75))
"""Where fits start from, see `_example`."""


class _Fit:
    """The parameters of a model as one vector: fx, fy, cx, cy, then its own in the order of its fields."""

    def __init__(self, source: CameraModel, model: str) -> None:
        self._source = source
        self._model = model
        self._example = _example(model, 1.0, _SHAPES[0])
        self._own = [
            key for key in self._example if key not in {"model", "width", "height", "fx", "fy", "cx", "cy"}
        ]
        low, high = np.full(4, -np.inf), np.full(4, np.inf)
        low[:2] = 1e-3
        bounds = [self._bounds(key) for key in self._own]
        self._low = np.concatenate([low, *(pair[0] for pair in bounds)])
        self._high = np.concatenate([high, *(pair[1] for pair in bounds)])

    def _bounds(self, key: str) -> tuple[Vector, Vector]:
        size = _count(self._example[key])
        low, high = {"alpha": (0.0, 1.0), "beta": (1e-3, 1e3)}.get(key, (-math.inf, math.inf))
        if key == "xi":
            low, high = (-0.95, 1.0) if "alpha" in self._own else (0.0, 50.0)
        lows, highs = np.full(size, low), np.full(size, high)
        if key == "d" and size >= 5 and not self._tilted():
            # Lenses that are round need no tangential terms.
            lows[2:4] = highs[2:4] = 0.0
        return lows, highs

    def _tilted(self) -> bool:
        d = getattr(self._source, "d", ())
        return len(d) >= 5 and any(d[2:4])

    def best(self, rays: Floats, pixels: Floats) -> Vector:
        """Return the parameters with the least sum of squares, from several starts."""
        shapes = _SHAPES if {"xi", "alpha"} & set(self._own) else _SHAPES[:1]
        found: list[tuple[float, Vector]] = []
        for shape in shapes:
            start = self._start(rays, pixels, shape)
            found.append(
                least_squares(
                    lambda vector: self._residual(vector, rays, pixels), start, self._low, self._high
                )
            )
            if found[-1][0] < _EXACT:
                break
        cost, vector = min(found, key=lambda pair: pair[0])
        if not math.isfinite(cost):
            raise CalibrationError("the model cannot show what this lens shows; give a smaller angle")
        return vector

    def _start(self, rays: Floats, pixels: Floats, shape: tuple[float, float]) -> Vector:
        """Return parameters that agree with the source near its axis."""
        near = np.argsort(rays[:, 2])[-_FEWEST:]
        angle = np.arctan2(np.hypot(rays[near, 0], rays[near, 1]), rays[near, 2])
        radius = np.hypot(*(pixels[near] - (self._source.cx, self._source.cy)).T)
        focal = float(radius @ angle / max(angle @ angle, 1e-12))
        scaled = _example(self._model, focal, shape)
        own = [np.ravel(np.asarray(scaled[key], np.float64)) for key in self._own]
        size = float(str(scaled["fx"]))
        center = [size, size * self._source.fy / self._source.fx, self._source.cx, self._source.cy]
        return np.concatenate([np.array(center), *own])

    def camera(self, vector: Vector, *, theta_max: float | None = None) -> CameraModel:
        """Return the camera of a vector."""
        values = dict(self._example)
        values.update(width=self._source.width, height=self._source.height)
        values.update(zip(("fx", "fy", "cx", "cy"), vector[:4].tolist(), strict=True))
        at = 4
        for key in self._own:
            size = _count(self._example[key])
            part = vector[at : at + size].tolist()
            values[key] = part if isinstance(self._example[key], list) else part[0]
            at += size
        if theta_max is not None:
            values["theta_max"] = theta_max
        return camera_from_dict(values)

    def _residual(self, vector: Vector, rays: Floats, pixels: Floats) -> Vector:
        """Return the differences of pixels, flat. A trial may fold back where the fit will not."""
        found = self.camera(vector).project(rays, unchecked=True)[0]
        return np.asarray((found - pixels).ravel(), np.float64)


def _count(value: object) -> int:
    return len(value) if isinstance(value, list) else 1


def _visible_angle(camera: CameraModel) -> float:
    """Return the largest angle off the axis along the image's border."""
    u, v = np.arange(camera.width, dtype=np.float64), np.arange(camera.height, dtype=np.float64)
    border = np.concatenate(
        [
            np.column_stack([u, np.full_like(u, row)]) for row in (0.0, camera.height - 1.0)
        ] + [np.column_stack([np.full_like(v, column), v]) for column in (0.0, camera.width - 1.0)]
    )  # fmt: skip
    rays, valid = camera.unproject(border)
    if not valid.all():
        return camera.theta_max
    return float(np.arctan2(np.hypot(rays[:, 0], rays[:, 1]), rays[:, 2]).max())


def _correspondences(camera: CameraModel, reach: float, count: int) -> tuple[Floats, Floats, Vector]:
    """Return rays (n, 3) up to `reach`, their pixels (n, 2), and angles off the axis (n,).

    The pixels are a grid over the image, borders included, of about `count`.
    """
    step = math.sqrt(camera.width * camera.height / count)
    u = np.linspace(0.0, camera.width - 1.0, max(2, round(camera.width / step)))
    v = np.linspace(0.0, camera.height - 1.0, max(2, round(camera.height / step)))
    pixels = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
    rays, valid = camera.unproject(pixels)
    theta = np.arctan2(np.hypot(rays[:, 0], rays[:, 1]), rays[:, 2])
    seen = valid & (theta <= reach)
    if np.count_nonzero(seen) < _FEWEST:
        message = (
            f"too little of the image lies within {math.degrees(reach):.1f} degrees off the axis; "
            "give a larger angle, or check the principal point"
        )
        raise CalibrationError(message)
    return rays[seen], pixels[seen], np.asarray(theta[seen], np.float64)


def _compared(source: CameraModel, camera: CameraModel, reach: float) -> Conversion:
    camera = dataclasses.replace(camera, theta_max=reach)
    rays, pixels, theta = _correspondences(source, reach, _COMPARED)
    # Unchecked: rounding puts a last ray here or there of the limit.
    distance = np.hypot(*(camera.project(rays, unchecked=True)[0] - pixels).T)
    ring = np.clip(np.ceil(theta / reach * _RINGS).astype(np.intp) - 1, 0, _RINGS - 1)
    errors = np.zeros(_RINGS)
    np.maximum.at(errors, ring, distance)
    seen = np.bincount(ring, minlength=_RINGS) > 0
    angles = reach * (np.arange(_RINGS) + 1.0) / _RINGS
    rms = float(np.sqrt(np.mean(distance**2)))
    return Conversion(source, camera, reach, angles[seen], errors[seen], rms)
