"""Triangles with surface coordinates: the shapes that a street is put together from, in metres."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from internimage_perception.data.street.classes import StreetClass
from internimage_perception.data.street.materials import Material

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


class Soup(NamedTuple):
    """Triangles that share no vertices.

    Attributes:
        corners: (n, 3, 3), metres.
        uv: (n, 3, 2), surface coordinates of the corners, metres; None until a `Piece` is made of them.
    """

    corners: Floats
    uv: Floats | None = None


@dataclass(frozen=True, eq=False)
class Piece:
    """A soup of one material and class.

    Attributes:
        soup: in the frame of whatever it belongs to.
        material: of its surface.
        class_id: of its pixels.
        overhead: hangs over the ground, so that a view from above looks through it.
    """

    soup: Soup
    material: Material
    class_id: StreetClass
    overhead: bool = False

    def __post_init__(self) -> None:
        if self.soup.uv is None:
            object.__setattr__(self, "soup", Soup(self.soup.corners, _flat_coordinates(self.soup.corners)))

    @property
    def uv(self) -> Floats:
        """Surface coordinates of the corners, (n, 3, 2)."""
        if self.soup.uv is None:
            raise AssertionError
        return self.soup.uv


def _flat_coordinates(corners: Floats) -> Floats:
    """Return as surface coordinates the two axes that each triangle faces least along."""
    facing = np.abs(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])).argmax(axis=1)
    axes = np.array([(1, 2), (0, 2), (0, 1)])[facing]
    return np.take_along_axis(corners, axes[:, None, :], axis=2)


def join(soups: Sequence[Soup]) -> Soup:
    """Return all triangles in one soup."""
    mapped = [s.uv for s in soups if s.uv is not None]
    uv = np.concatenate(mapped) if len(mapped) == len(soups) else None
    return Soup(np.concatenate([s.corners for s in soups]), uv)


def placed(soup: Soup, position: npt.ArrayLike, yaw: float = 0.0) -> Soup:
    """Return the soup turned about z by `yaw`, radians, and moved."""
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    return Soup(soup.corners @ turn + np.asarray(position, np.float64), soup.uv)


def placed_pieces(pieces: Sequence[Piece], position: npt.ArrayLike, yaw: float) -> list[Piece]:
    """Return pieces turned about z and moved."""
    return [Piece(placed(p.soup, position, yaw), p.material, p.class_id, p.overhead) for p in pieces]


def strip(rows: npt.ArrayLike, *, closed: bool = False) -> Floats:
    """Return the triangles between consecutive rows of points, (rows, points, 3); `closed` joins the ends."""
    points = np.asarray(rows, np.float64)
    if closed:
        points = np.concatenate([points, points[:, :1]], axis=1)
    a, b, c, d = points[:-1, :-1], points[:-1, 1:], points[1:, :-1], points[1:, 1:]
    return np.stack([a, b, c, b, d, c], axis=2).reshape(-1, 3, 3)


def loft(rings: npt.ArrayLike) -> Soup:
    """Return the surface through closed rings of points, (rings, points, 3), its ends filled."""
    points = np.asarray(rings, np.float64)
    count, sides = points.shape[:2]
    flat = np.empty((count * sides + 2, 3))
    flat[:-2] = points.reshape(-1, 3)
    flat[-2], flat[-1] = points[0].sum(axis=0) / sides, points[-1].sum(axis=0) / sides
    return Soup(flat[_loft_corners(count, sides)])


@lru_cache(maxsize=256)
def _loft_corners(count: int, sides: int) -> npt.NDArray[np.intp]:
    """Return the points of each triangle of `loft`, (n, 3); the centres of both ends come last."""
    index = np.arange(count * sides).reshape(count, sides)
    around = np.roll(index, -1, axis=1)
    a, b, c, d = index[:-1], around[:-1], index[1:], around[1:]
    first, last = np.full(sides, count * sides), np.full(sides, count * sides + 1)
    return np.concatenate(
        [
            np.stack([a, b, c], axis=-1).reshape(-1, 3), np.stack([b, d, c], axis=-1).reshape(-1, 3),
            np.stack([first, index[0], around[0]], axis=-1), np.stack([last, index[-1], around[-1]], axis=-1),
        ]
    )  # fmt: skip


def box(size: npt.ArrayLike, centre: npt.ArrayLike) -> Soup:
    """Return an upright box: `size` along x, y, z around `centre`."""
    half = np.asarray(size, np.float64) / 2
    ring = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half[:2]
    rings = [np.column_stack([ring, np.full(4, z)]) for z in (-half[2], half[2])]
    return loft(np.array(rings) + np.asarray(centre, np.float64))


def prism(profile: npt.ArrayLike, sections: Sequence[tuple[float, float]]) -> Soup:
    """Return a side view (n, 2) of x and z extruded along y: `sections` are pairs of y and scale."""
    shape = np.asarray(profile, np.float64)
    middle = (shape.min(axis=0) + shape.max(axis=0)) / 2
    rings = []
    for y, scale in sections:
        points = middle + (shape - middle) * scale
        rings.append(np.column_stack([points[:, 0], np.full(len(points), y), points[:, 1]]))
    return loft(np.array(rings))


def tube(
    start: npt.ArrayLike,
    end: npt.ArrayLike,
    radii: tuple[float, float],
    *,
    sides: int = 6,
    round_: bool = False,
) -> Soup:
    """Return a tapered tube between two points; `round_` makes its ends bulge like a capsule's."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    x, y, z = (b - a).tolist()
    length = max(math.hypot(x, y, z), 1e-9)
    x, y, z = x / length, y / length, z / length
    axis = np.array((x, y, z))
    # A vector across the axis, and the one across both.
    u, v, w = (y, -x, 0.0) if abs(z) < 0.9 else (0.0, z, -y)
    norm = math.hypot(u, v, w)
    u, v, w = u / norm, v / norm, w / norm
    frame = np.array(((u, v, w), (y * w - z * v, z * u - x * w, x * v - y * u)))
    around = _circle(sides) @ frame
    rings = [a + radii[0] * around, b + radii[1] * around]
    if round_:
        rings = [
            a + radii[0] * (0.5 * around - 0.7 * axis),
            *rings,
            b + radii[1] * (0.5 * around + 0.7 * axis),
        ]
    return loft(rings)


@lru_cache(maxsize=64)
def _circle(sides: int) -> Floats:
    angle = np.arange(sides) * (2 * np.pi / sides)
    return np.column_stack([np.cos(angle), np.sin(angle)])


def ball(radii: npt.ArrayLike, centre: npt.ArrayLike, *, rows: int = 4, sides: int = 6) -> Soup:
    """Return an ellipsoid."""
    polar = np.linspace(0.0, np.pi, rows + 1)[:, None]
    angle = np.arange(sides) * (2 * np.pi / sides)
    unit = np.stack(
        [
            np.sin(polar) * np.cos(angle),
            np.sin(polar) * np.sin(angle),
            np.broadcast_to(np.cos(polar), (rows + 1, sides)),
        ],
        axis=-1,
    )
    points = unit * np.asarray(radii, np.float64) + np.asarray(centre, np.float64)
    return Soup(strip(points, closed=True))


def lumpy_ball(
    rng: np.random.Generator, radii: npt.ArrayLike, centre: npt.ArrayLike, lumps: float,
    *, rows: int = 7, sides: int = 10,
) -> Soup:  # fmt: skip
    """Return an ellipsoid with bumps of `lumps`, a share of its radius."""
    soup = ball((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), rows=rows, sides=sides)
    directions, phases = rng.normal(size=(6, 3)) * rng.uniform(1.5, 4.5, (6, 1)), rng.uniform(0, 6.3, 6)
    swell = 1.0 + lumps * np.sin(soup.corners @ directions.T + phases).mean(axis=-1, keepdims=True) * 2.0
    return Soup(soup.corners * swell * np.asarray(radii) + np.asarray(centre))


def disc(radius: float, corners: int, turn: float = 0.0) -> Floats:
    """Return a regular polygon (corners, 2)."""
    angle = turn + np.arange(corners) * (2 * np.pi / corners)
    return radius * np.column_stack([np.cos(angle), np.sin(angle)])


def plate(outline: npt.ArrayLike, thickness: float) -> Soup:
    """Return a board that faces along x: its outline (n, 2) is y and z."""
    shape = np.asarray(outline, np.float64)
    rings = [np.column_stack([np.full(len(shape), x), shape]) for x in (-thickness / 2, thickness / 2)]
    return loft(np.array(rings))
