"""What one augmentation of one sample draws: the lens, the pose, the light."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from internimage_perception.data.distortion.config import DistortionConfig
from internimage_perception.data.distortion.warps import CameraWarp, DivisionWarp, Warp
from internimage_perception.data.sample import Sample
from internimage_perception.errors import ConfigError
from internimage_perception.geometry import (
    CameraModel,
    CameraParameterError,
    DoubleSphereCamera,
    EucmCamera,
    KannalaBrandtCamera,
    MeiCamera,
    PinholeCamera,
    WoodScapeCamera,
)
from internimage_perception.geometry.poses import rpy_to_matrix

Rng = np.random.Generator

_TRIES = 200
_PINHOLE_EDGE = math.radians(55.0)
# A lens that ends just where its model folds back squeezes its rim into nothing.
_SPARE = 1.03


@dataclass(frozen=True)
class Draw:
    """One draw.

    Attributes:
        warp: of the pixels.
        vignette: share of the light lost at the rim.
        blur_px: of the lens at the rim, pixels of the answer.
        true_source: whether the source's lens is its own, so that the answer is true in its angles.
    """

    warp: Warp
    vignette: float
    blur_px: float
    true_source: bool


def draw(config: DistortionConfig, sample: Sample, rng: Rng) -> Draw:
    """Draw what becomes of a sample; the same random numbers give the same.

    Raises:
        ConfigError: the sample's camera does not fit its picture, or no lens fits the configuration.
    """
    height, width = sample.image.shape[:2]
    if config.warp == "division":
        try:
            warp: Warp = _division(config, width, height)
        except ValueError as error:
            raise ConfigError(f"{sample.name}: {error}") from error
        true_source = False
    else:
        source, true_source = _source(config, sample, rng)
        columns, rows = config.size or (width, height)
        target = draw_lens(config, columns, rows, rng)
        angles = rng.uniform(-1.0, 1.0, 3) * np.radians(config.rotation_deg)
        # Drawn in any case: what comes later does not depend on the kind of source.
        shift = rng.uniform(-1.0, 1.0, 3) * config.translation
        turn = rpy_to_matrix(*(float(angle) for angle in angles))
        warp = CameraWarp(
            source=source,
            target=target,
            rotation=tuple((float(a), float(b), float(c)) for a, b, c in turn),
            translation=(0.0, 0.0, 0.0)
            if true_source
            else (float(shift[0]), float(shift[1]), float(shift[2])),
        )
    vignette, blur = float(rng.uniform(*config.vignette)), float(rng.uniform(*config.blur_px))
    return Draw(warp, vignette, blur * warp.width / 1000.0, true_source)


def draw_views(config: DistortionConfig, first: Draw, others: Sequence[Sample], rng: Rng) -> list[CameraWarp]:
    """Draw where further pictures are seen: beside the first one, turned about its vertical axis.

    They go right and left of it in turn. What is level in the first picture is level in them.

    Raises:
        ConfigError: a sample's camera does not fit its picture.
    """
    if not isinstance(first.warp, CameraWarp):
        raise ConfigError("further views need a lens, not the division model")
    sign = float(rng.choice([-1.0, 1.0]))
    found: list[CameraWarp] = []
    turned = {1.0: 0.0, -1.0: 0.0}
    for sample in others:
        turned[sign] += sign * math.radians(rng.uniform(*config.view_step_deg))
        aside = rpy_to_matrix(0.0, turned[sign], 0.0)
        turn = aside @ np.array(first.warp.rotation)
        source, _ = _source(config, sample, rng)
        found.append(
            CameraWarp(
                source=source,
                target=first.warp.target,
                rotation=tuple((float(a), float(b), float(c)) for a, b, c in turn),
            )
        )
        sign = -sign
    return found


def _division(config: DistortionConfig, width: int, height: int) -> DivisionWarp:
    if config.crop:
        return DivisionWarp.cropped(width, height, config.k)
    return DivisionWarp(source_width=width, source_height=height, width=width, height=height, k=config.k)


def _source(config: DistortionConfig, sample: Sample, rng: Rng) -> tuple[CameraModel, bool]:
    """Return the lens of the sample's picture, and whether it is its own."""
    height, width = sample.image.shape[:2]
    known = sample.camera
    focal = float(rng.uniform(*config.source_focal)) * width
    if known is None:
        centre = ((width - 1) / 2, (height - 1) / 2)
        return PinholeCamera(
            width=width, height=height, fx=focal, fy=focal, cx=centre[0], cy=centre[1]
        ), False
    if (known.width, known.height) != (width, height):
        if abs(known.width * height - known.height * width) > max(width, height, known.width, known.height):
            raise ConfigError(
                f"{sample.name}: the picture is {width}x{height}, but its camera is for "
                f"{known.width}x{known.height}; give the calibration that belongs to it"
            )
        known = known.resized(width, height)
    if isinstance(known, PinholeCamera) and not config.true_pinholes:
        return dataclasses.replace(known, fx=focal, fy=focal * known.fy / known.fx), False
    return known, True


def draw_lens(config: DistortionConfig, width: int, height: int, rng: Rng) -> CameraModel:
    """Draw the target's lens.

    Raises:
        ConfigError: no draw of the coefficients serves the field of view.
    """
    if config.cameras:
        camera = config.cameras[int(rng.integers(len(config.cameras)))].resized(width, height)
        focal, right, down = rng.uniform(-1.0, 1.0, 3) * config.camera_jitter
        return dataclasses.replace(
            camera,
            fx=camera.fx * math.exp(focal),
            fy=camera.fy * math.exp(focal),
            cx=camera.cx + right * width,
            cy=camera.cy + down * height,
        )
    model = config.models[int(rng.integers(len(config.models)))]
    edge = math.radians(rng.uniform(*config.edge_deg))
    theta_max = math.radians(rng.uniform(*config.field_of_view_deg)) / 2.0
    right, down = rng.uniform(-1.0, 1.0, 2) * config.centre
    stretch = math.exp(rng.uniform(-config.aspect, config.aspect))
    if model == "pinhole":
        edge, theta_max = min(edge, _PINHOLE_EDGE), math.pi / 2
    wanted = max(edge, theta_max) if model != "pinhole" else edge
    for _ in range(_TRIES):
        values = [float(rng.uniform(low, high)) for low, high in config.ranges_of(model)]
        try:
            unit = _unit_lens(model, values, width, height)
        except CameraParameterError as error:
            raise ConfigError(f"coefficients of {model!r}: {error}") from error
        if unit.theta_max < min(wanted * _SPARE, math.pi * (1.0 - 1e-9)):
            continue
        radius = float(unit.project((math.sin(edge), 0.0, math.cos(edge)))[0][0])
        f = width / 2.0 / radius
        return dataclasses.replace(
            unit,
            fx=f,
            fy=f * stretch,
            cx=(width - 1) / 2.0 + right * width,
            cy=(height - 1) / 2.0 + down * height,
            theta_max=theta_max,
        )
    degrees = math.degrees(wanted)
    raise ConfigError(
        f"no {model} lens with coefficients of these ranges serves {degrees:.0f} degrees off its axis; "
        "narrow field_of_view_deg and edge_deg, or change coefficients"
    )


def _unit_lens(model: str, values: list[float], width: int, height: int) -> CameraModel:
    """Return a lens with focal length 1 and its centre at the first pixel."""
    size = {"width": width, "height": height}
    frame = {"fx": 1.0, "fy": 1.0, "cx": 0.0, "cy": 0.0}
    if model == "equidistant":
        return KannalaBrandtCamera(**size, **frame, d=tuple(values))  # type: ignore[arg-type]
    if model == "woodscape":
        return WoodScapeCamera(**size, **frame, d=tuple(values))  # type: ignore[arg-type]
    if model == "mei":
        return MeiCamera(**size, **frame, xi=values[0], d=tuple(values[1:]))  # type: ignore[arg-type]
    if model == "eucm":
        return EucmCamera(**size, **frame, alpha=values[0], beta=values[1])  # type: ignore[arg-type]
    if model == "double_sphere":
        return DoubleSphereCamera(**size, **frame, xi=values[0], alpha=values[1])  # type: ignore[arg-type]
    return PinholeCamera(**size, **frame, d=(*values, 0.0, 0.0))  # type: ignore[arg-type]
