"""Random labelled pictures for training: any street, time, camera mounting and lens."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from internimage_perception.data.street.appearance import draw_appearance
from internimage_perception.data.street.render import render
from internimage_perception.data.street.seeds import Split, stream
from internimage_perception.data.street.street import Street
from internimage_perception.data.street.vehicles import EgoShape
from internimage_perception.geometry import CameraModel, KannalaBrandtCamera, PinholeCamera
from internimage_perception.geometry.poses import BODY_FROM_OPTICAL, pose, rpy_to_matrix

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Rng = np.random.Generator

_VIEWS_PER_MOMENT = 4
_LAPSE_S = (0.8, 6.0)
# Metres behind base_link, from the middle to a side, and up to bonnet and roof.
_CAR = ((0.7, 1.2), (0.82, 0.98), (0.7, 1.05), (1.38, 1.9))
_VAN = ((0.8, 1.8), (0.92, 1.1), (0.9, 1.3), (1.8, 2.3))


def random_sample(
    seed: int, width: int = 320, height: int = 256, split: Split = "train"
) -> tuple[Bytes, Bytes]:
    """Return one random picture and its labels: the first of `random_samples(seed)`."""
    return next(random_samples(seed, 1, width=width, height=height, split=split))


def random_samples(
    seed: int,
    count_per_street: int = 12,
    *,
    width: int = 320,
    height: int = 256,
    split: Split = "train",
    samples: int = 4,
    tall: bool = False,
) -> Iterator[tuple[Bytes, Bytes]]:
    """Yield pictures of the street of one seed; the same arguments give the same pictures.

    Building a street costs as much as several pictures: take a dozen of each. Every fourth picture moves on
    in time, with new light and another body of the own car; each has its own mounting and lens.

    Args:
        seed: of the street and of everything else, 0 or more.
        count_per_street: pictures to yield.
        width: of the pictures, pixels.
        height: of the pictures, pixels.
        split: "train" or "test".
        samples: rays per pixel, 1 or 4.
        tall: cameras up to 2.4 m above the ground, on vans and cars alike, instead of those of cars.

    Yields:
        The image, uint8 RGB (height, width, 3), and class ids, uint8 (height, width), 255 to be ignored.

    Raises:
        ValueError: a negative seed, another split or number of samples.
    """
    street = Street.generate(seed, split=split)
    rng = stream(split, seed, 6)
    time_s = float(rng.uniform(0.0, 20.0))
    for index in range(count_per_street):
        if index % _VIEWS_PER_MOMENT == 0:
            time_s += float(rng.uniform(*_LAPSE_S))
            ego = draw_ego(rng, tall=tall and rng.random() < 0.5)
            moment = street.at(time_s, ego=ego, appearance=draw_appearance(rng))
        camera, mounting = draw_lens(rng, width, height), draw_mounting(rng, ego, tall=tall)
        # Each view has its own light level and sensor, as cameras of one car do.
        look = draw_appearance(rng)
        varied = dataclasses.replace(
            moment.appearance,
            gain=moment.appearance.gain * np.float32(rng.uniform(0.85, 1.2)),
            gamma=look.gamma,
            vignette=look.vignette,
            blur_px=look.blur_px,
            noise=look.noise,
            quality=look.quality,
        )
        frame = render(moment.seen_by(varied), camera, mounting, samples=samples, adaptive=True, rng=rng)
        yield frame.image, frame.class_ids


def draw_ego(rng: Rng, *, tall: bool = False) -> EgoShape:
    """Draw the body of the own car, or of a van if `tall`."""
    front = rng.uniform(3.3, 4.0)
    rear, half_width, bonnet, roof = (rng.uniform(*limits) for limits in (_VAN if tall else _CAR))
    return EgoShape(rear=-rear, front=front, half_width=half_width, bonnet=bonnet, roof=roof)


def draw_mounting(rng: Rng, ego: EgoShape, *, tall: bool = False) -> Floats:
    """Draw a pose of the optical frame in `base_link`: at the front, rear, a side, or on the roof.

    On a tall vehicle, those at front, rear and sides are 1.2 to 2.4 m above the ground.
    """
    kind = rng.random()
    z, yaw = rng.uniform(0.45, 1.25), 0.0
    if kind < 0.32:
        x, y = ego.front + rng.uniform(0.03, 0.15), rng.uniform(-0.3, 0.3)
    elif kind < 0.5:
        x, y, yaw = ego.rear - rng.uniform(0.03, 0.15), rng.uniform(-0.3, 0.3), np.pi
    elif kind < 0.85:
        side = float(rng.choice([-1.0, 1.0]))
        x, y, yaw = rng.uniform(0.8, 3.0), side * (ego.half_width + rng.uniform(0.03, 0.2)), side * np.pi / 2
        z = rng.uniform(0.7, 1.4)
    else:
        x, y, z = rng.uniform(0.0, 2.0), rng.uniform(-0.5, 0.5), ego.roof + rng.uniform(0.04, 0.5)
        yaw = float(rng.choice([0.0, 0.0, np.pi]))
    if tall:
        z = rng.uniform(1.2, 2.4) if kind < 0.85 else min(z, 2.4)
    yaw += rng.normal(0.0, np.radians(12.0))
    pitch, roll = np.radians(rng.uniform(-6.0, 36.0)), np.radians(rng.normal(0.0, 3.5))
    return pose((x, y, z), rpy_to_matrix(float(roll), float(pitch), float(yaw))) @ BODY_FROM_OPTICAL


def draw_lens(rng: Rng, width: int, height: int) -> CameraModel:
    """Draw a lens: four of five are fisheyes (Kannala-Brandt) of 150 to 220 degrees, the others pinholes.

    Of a fisheye, 45 to 110 degrees off the axis lie at the image's left and right border.
    """
    cx = (width - 1) / 2 + width * rng.normal(0.0, 0.02)
    cy = (height - 1) / 2 + height * rng.normal(0.0, 0.03)
    aspect = float(np.exp(rng.uniform(-0.1, 0.1)))
    if rng.random() < 0.2:
        f = width / 2 / np.tan(np.radians(rng.uniform(50.0, 110.0)) / 2)
        bend = (rng.uniform(-0.06, 0.02), rng.uniform(-0.005, 0.005), 0.0, 0.0, 0.0)
        return PinholeCamera(width=width, height=height, fx=f, fy=f * aspect, cx=cx, cy=cy, d=bend)
    edge = np.radians(rng.uniform(45.0, 110.0))
    theta_max = float(np.radians(rng.uniform(75.0, 110.0)))
    d = _draw_bend(rng, max(edge, theta_max))
    f = width / 2 / (edge * (1.0 + sum(k * edge ** (2 * i + 2) for i, k in enumerate(d))))
    return KannalaBrandtCamera(
        width=width, height=height, fx=f, fy=f * aspect, cx=cx, cy=cy, d=d, theta_max=theta_max
    )


def _draw_bend(rng: Rng, last: float) -> tuple[float, float, float, float]:
    """Draw coefficients under which the radius still grows at the angle `last`, as in real lenses."""
    while True:
        d = (
            rng.uniform(-0.08, 0.1),
            rng.uniform(-0.02, 0.015),
            rng.uniform(-0.003, 0.003),
            rng.uniform(-3e-4, 3e-4),
        )
        angles = np.linspace(0.0, last, 32)
        growth = 1.0 + sum((2 * i + 3) * k * angles ** (2 * i + 2) for i, k in enumerate(d))
        if np.min(growth) > 0.2:
            return d
