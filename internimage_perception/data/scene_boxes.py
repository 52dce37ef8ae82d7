"""What stands along the generated street: boxes and a painted ground, repeated every `PERIOD_M` metres.

Street frame: x along the street, y left, z up, metres; the ego lane is centred on y = 0, traffic keeps right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Singles = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

PERIOD_M = 96.0
GROUND_Y_M = (-16.0, 20.0)
"""Lateral extent of the painted ground; beyond it the last row, grass, goes on."""
TEXELS_PER_M = 20
SUN = np.array([0.45, -0.55, 0.70]) / np.linalg.norm([0.45, -0.55, 0.70])
"""Direction towards the sun."""
SHADE = 0.45
"""Light on the ground where the sun does not reach it, as a share."""

_ASPHALT, _WHITE, _PAVING, _GRASS = (88, 88, 92), (228, 228, 222), (168, 160, 150), (94, 128, 62)
_FACADES = ((188, 168, 140), (164, 110, 88), (196, 196, 190), (140, 148, 160), (204, 186, 150))
_CARS = ((150, 22, 26), (24, 52, 120), (222, 222, 224), (38, 38, 42), (120, 126, 132), (196, 150, 30))
_CLOTHES = ((170, 60, 50), (50, 80, 140), (60, 60, 64), (190, 170, 60))


@dataclass(frozen=True, eq=False)
class Box:
    """An upright box, its sides along the axes.

    Attributes:
        low: smallest x, y, z, metres.
        high: largest x, y, z, metres.
        color: r, g, b, 0 to 255, in full light.
        pattern: "plain", "facade" (rows of windows) or "leaves".
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    color: tuple[int, int, int]
    pattern: str = "plain"

    def shading(self, points: Singles, axis: npt.NDArray[np.intp]) -> Floats:
        """Return a factor on the light at surface points.

        Args:
            points: (3, n), metres from the lowest corner.
            axis: (n,), index of the axis the surface faces along.
        """
        if self.pattern == "facade":
            along, up = np.where(axis == 0, points[1], points[0]) % 2.4, points[2] % 3.0
            return np.where((axis < 2) & (along > 0.8) & (along < 2.0) & (up > 1.0) & (up < 2.5), 0.42, 1.0)
        if self.pattern == "leaves":
            x, y, z = np.floor(points * 3.0).astype(np.int64)
            # A spatial hash (Teschner et al. 2003) mottles the leaves without a texture.
            mottle: Floats = ((x * 73856093 ^ y * 19349663 ^ z * 83492791) & 63) / 180.0
            return mottle + 0.75
        return np.ones(axis.shape)


def standing(x: float, y: float, size: tuple[float, float, float], color: tuple[int, int, int],
             *, z: float = 0.0, pattern: str = "plain") -> Box:  # fmt: skip
    """Return a box of `size` (along x, along y, up) around (x, y), its bottom at `z`."""
    length, width, height = size
    low = (x - length / 2, y - width / 2, z)
    return Box(low, (x + length / 2, y + width / 2, z + height), color, pattern)


def street_boxes(seed: int) -> list[Box]:
    """Return one period of the street; the same seed gives the same street."""
    rng = np.random.default_rng(seed)
    boxes: list[Box] = []
    for side, front in ((1.0, 13.5), (-1.0, 10.5)):
        x = float(rng.uniform(-3.0, 3.0))
        while x < PERIOD_M - 14.0:
            length, height = float(rng.uniform(12.0, 20.0)), float(rng.choice((6.4, 9.4, 12.4)))
            color = _FACADES[rng.integers(len(_FACADES))]
            size = (length, 9.0, height)
            boxes.append(standing(x + length / 2, side * (front + 4.5), size, color, pattern="facade"))
            x += length + float(rng.uniform(1.0, 7.0))
    for x in np.arange(6.0, PERIOD_M, 16.0):
        for y in (10.6, -5.4):
            boxes += _tree(float(x + rng.uniform(-2.0, 2.0)), y, rng)
    for x in np.arange(14.0, PERIOD_M, 24.0):
        boxes += [
            standing(float(x), -2.6, (0.14, 0.14, 5.2), (96, 98, 100)),
            standing(float(x), -1.9, (0.3, 1.6, 0.16), (110, 112, 114), z=5.1),
            standing(float(x) + 11.0, 8.0, (0.1, 0.1, 2.3), (120, 122, 124)),
            standing(float(x) + 11.0, 8.0, (0.06, 0.7, 0.7), (178, 30, 34), z=2.2),
        ]
    for x in np.arange(3.0, PERIOD_M, 8.0):
        if rng.random() < 0.7:
            boxes += _car(float(x + rng.uniform(-1.0, 1.0)), 6.5, rng)
    for x in rng.uniform(0.0, PERIOD_M, 9):
        boxes += _person(float(x), float(rng.choice((-3.4, 8.9))), rng)
    return boxes


def _tree(x: float, y: float, rng: np.random.Generator) -> list[Box]:
    crown = float(rng.uniform(1.9, 2.7))
    green = (int(rng.integers(46, 80)), int(rng.integers(96, 124)), int(rng.integers(34, 52)))
    return [
        standing(x, y, (0.26, 0.26, 2.2), (92, 70, 52)),
        standing(x, y, (crown, crown, 0.8 * crown), green, z=1.9, pattern="leaves"),
        standing(x, y, (0.6 * crown, 0.6 * crown, 0.5 * crown), green, z=1.9 + 0.8 * crown, pattern="leaves"),
    ]


def _car(x: float, y: float, rng: np.random.Generator) -> list[Box]:
    color = _CARS[rng.integers(len(_CARS))]
    wheels = [
        standing(x + along, y + across, (0.64, 0.22, 0.64), (24, 24, 26))
        for along in (-1.3, 1.3)
        for across in (-0.8, 0.8)
    ]
    return [
        standing(x, y, (4.3, 1.76, 0.55), color, z=0.32),
        standing(x - 0.15, y, (2.3, 1.56, 0.42), (42, 50, 58), z=0.87),
        standing(x - 0.2, y, (1.9, 1.5, 0.1), color, z=1.29),
        *wheels,
    ]


def _person(x: float, y: float, rng: np.random.Generator) -> list[Box]:
    return [
        standing(x, y, (0.28, 0.32, 0.85), (44, 46, 62)),
        standing(x, y, (0.3, 0.48, 0.62), _CLOTHES[rng.integers(len(_CLOTHES))], z=0.85),
        standing(x, y, (0.2, 0.18, 0.24), (206, 160, 132), z=1.5),
    ]


def ground_texture(boxes: Sequence[Box], seed: int) -> Bytes:
    """Return the ground of one period, uint8 RGB: columns along x, rows along y, with the boxes' shadows."""
    width = round(PERIOD_M * TEXELS_PER_M)
    y = np.linspace(*GROUND_Y_M, round((GROUND_Y_M[1] - GROUND_Y_M[0]) * TEXELS_PER_M))[:, np.newaxis]
    x = (np.arange(width) + 0.5) / TEXELS_PER_M
    ground = np.empty((len(y), width, 3), np.float32)
    ground[:] = _GRASS
    for low, high, color in ((-4.4, -2.2, _PAVING), (-2.2, 7.7, _ASPHALT), (7.7, 10.0, _PAVING)):
        ground[((y >= low) & (y < high))[:, 0]] = color
    joints = (x % 0.6 < 0.06) | (np.abs(y) % 0.6 < 0.06)
    ground[joints & (((y >= -4.4) & (y < -2.2)) | ((y >= 7.7) & (y < 10.0)))] *= 0.82
    for edge in (-1.86, 5.46):
        ground[(np.abs(y - edge) < 0.07)[:, 0]] = _WHITE
    ground[(np.abs(y - 1.8) < 0.07) & (x % 12.0 < 4.0)] = _WHITE
    ground[(y > -1.7) & (y < 5.3) & (x >= 60.0) & (x < 63.0) & (np.abs(y - 1.8) % 1.0 < 0.5)] = _WHITE
    rng = np.random.default_rng(seed)
    for cells, strength in ((4, 0.05), (1, 0.06)):
        noise = rng.standard_normal((len(y) // cells, width // cells)).astype(np.float32)
        grain = cv2.resize(noise, (width, len(y)), interpolation=cv2.INTER_LINEAR)
        ground *= 1.0 + strength * np.asarray(grain)[..., np.newaxis]
    ground *= sunlight(shadows(boxes, len(y), width))[..., np.newaxis]
    return np.asarray(np.clip(ground, 0, 255), np.uint8)


def sunlight(shadow: Bytes) -> Singles:
    """Return the light on the ground, `SHADE` to 1, of what `shadows` says."""
    return np.float32(1.0) - shadow * np.float32((1.0 - SHADE) / 255.0)


def shadows(boxes: Sequence[Box], rows: int, columns: int) -> Bytes:
    """Return how far boxes keep the sun off the ground, 0 to 255, in the pixels of `ground_texture`."""
    canvas = np.zeros((rows, columns), np.uint8)
    for box in boxes:
        corners = [
            (x - z / SUN[2] * SUN[0], y - z / SUN[2] * SUN[1])
            for x in (box.low[0], box.high[0])
            for y in (box.low[1], box.high[1])
            for z in (box.low[2], box.high[2])
        ]
        for shift in (-PERIOD_M, 0.0, PERIOD_M):
            texels = (np.array(corners) + np.array((shift, -GROUND_Y_M[0]))) * TEXELS_PER_M
            hull = cv2.convexHull(np.rint(texels * 16.0 - 8.0).astype(np.int32))
            cv2.fillConvexPoly(canvas, hull, (255,), cv2.LINE_AA, shift=4)
    return canvas
