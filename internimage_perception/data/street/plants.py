"""Trees, bushes and hedges. Local frame: z up, origin on the ground."""

import numpy as np

from internimage_perception.data.street import palettes
from internimage_perception.data.street.classes import StreetClass
from internimage_perception.data.street.materials import Material, hsv, plain
from internimage_perception.data.street.mesh import Piece, Soup, box, join, lumpy_ball, tube
from internimage_perception.data.street.noise import LAYERS
from internimage_perception.data.street.seeds import Split

Rng = np.random.Generator
_CLASS = StreetClass.NATURE


def foliage(rng: Rng) -> Material:
    """Draw the look of leaves and grass: strong, fine noise."""
    return Material(
        color=palettes.leaf(rng),
        grain=float(np.exp(rng.uniform(np.log(0.4), np.log(2.0)))),
        grain_amount=rng.uniform(0.15, 0.42),
        blotch_amount=rng.uniform(0.05, 0.3),
        tint_amount=rng.uniform(0.02, 0.1),
        layer=int(rng.integers(LAYERS)),
    )


def tree(rng: Rng, split: Split) -> list[Piece]:
    """Return a tree: round or spreading crowns in training, columns, cones and tiers in held-out streets."""
    height = rng.uniform(3.5, 11.0)
    clear = rng.uniform(0.2, 0.45) * height
    bark = plain(
        rng, hsv(rng.uniform(0.02, 0.14), rng.uniform(0.05, 0.5), rng.uniform(0.15, 0.65)), strength=1.5
    )
    leaf = foliage(rng)
    radius = rng.uniform(0.08, 0.22) * (height / 7.0)
    lean = rng.normal(0.0, 0.15, 2)
    top = (lean[0], lean[1], clear + 0.35 * height)
    trunk = [tube((0, 0, -0.3), top, (radius, 0.55 * radius), sides=6)]
    for _ in range(int(rng.integers(2, 5))):
        way = rng.normal(0.0, 1.0, 2) * 0.14 * height
        end = (way[0], way[1], clear + rng.uniform(0.15, 0.4) * height)
        trunk.append(
            tube((0.5 * lean[0], 0.5 * lean[1], 0.8 * clear), end, (0.5 * radius, 0.2 * radius), sides=4)
        )
    pieces = [Piece(join(trunk), bark, _CLASS)]
    if rng.random() < 0.08:
        return pieces
    crown = _train_crown(rng, clear, height) if split == "train" else _test_crown(rng, clear, height)
    pieces.append(Piece(crown, leaf, _CLASS, overhead=clear > 1.2))
    return pieces


def _train_crown(rng: Rng, clear: float, height: float) -> Soup:
    extent = height - clear
    wide = extent * rng.uniform(0.3, 0.6)
    parts = [lumpy_ball(rng, (wide, wide, extent / 2), (0, 0, clear + extent / 2), rng.uniform(0.1, 0.25))]
    for _ in range(int(rng.integers(0, 4))):
        way = rng.normal(0.0, 0.5, 2) * wide
        centre = (way[0], way[1], clear + extent * rng.uniform(0.3, 0.7))
        parts.append(lumpy_ball(rng, np.array([wide, wide, extent / 2]) * 0.6, centre, 0.25, rows=5, sides=7))
    return join([*parts, _loose_leaves(rng, join(parts), 140)])


def _test_crown(rng: Rng, clear: float, height: float) -> Soup:
    extent = height - clear
    kind = int(rng.integers(3))
    if kind == 0:
        wide = extent * rng.uniform(0.15, 0.25)
        parts = [lumpy_ball(rng, (wide, wide, extent / 2), (0, 0, clear + extent / 2), 0.2, rows=9)]
    elif kind == 1:
        wide = extent * rng.uniform(0.25, 0.4)
        parts = [tube((0, 0, clear), (0, 0, height), (wide, 0.05), sides=9)]
    else:
        parts = []
        for level in np.linspace(0.15, 0.85, int(rng.integers(3, 6))):
            wide = extent * rng.uniform(0.25, 0.45) * (1.1 - 0.5 * level)
            centre = (*rng.normal(0.0, 0.12, 2) * extent, clear + level * extent)
            parts.append(lumpy_ball(rng, (wide, wide, 0.14 * extent), centre, 0.25, rows=5, sides=8))
    return join([*parts, _loose_leaves(rng, join(parts), 160)])


def bush(rng: Rng, split: Split) -> list[Piece]:
    """Return a low bush."""
    size = rng.uniform(0.4, 1.3)
    count = int(rng.integers(1, 4)) if split == "train" else int(rng.integers(3, 6))
    parts = []
    for _ in range(count):
        radii = size * rng.uniform(0.5, 1.0, 3)
        centre = (*rng.normal(0.0, 0.4, 2) * size, 0.5 * size)
        parts.append(lumpy_ball(rng, radii.tolist(), centre, rng.uniform(0.1, 0.3), rows=5, sides=8))
    return [Piece(join([*parts, _loose_leaves(rng, join(parts), 70, 0.16)]), foliage(rng), _CLASS)]


def hedge(rng: Rng, length: float) -> list[Piece]:
    """Return a hedge along x."""
    height, thick = rng.uniform(0.6, 2.0), rng.uniform(0.4, 1.0)
    body = box((length, thick, height), (length / 2, 0, height / 2))
    leaves = _loose_leaves(rng, body, int(14 * length), 0.2)
    return [Piece(join([body, leaves]), foliage(rng), _CLASS)]


def grass_tufts(rng: Rng, length: float, width: float) -> list[Piece]:
    """Return tufts scattered over a rectangle from the origin along x and y."""
    count = int(6 * length * width)
    at = np.column_stack([rng.uniform(0, length, count), rng.uniform(0, width, count), np.zeros(count)])
    way, high = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.08, 0.3, count)
    side = np.column_stack([np.cos(way), np.sin(way), np.zeros(count)]) * high[:, None] * 0.5
    lean = np.column_stack([rng.normal(0, 0.3, (count, 2)), np.ones(count)]) * high[:, None]
    return [Piece(Soup(np.stack([at - side, at + side, at + lean], axis=1)), foliage(rng), _CLASS)]


def _loose_leaves(rng: Rng, crown: Soup, count: int, size: float = 0.45) -> Soup:
    """Return triangles around the surface of a crown, which give it a ragged outline."""
    corners = crown.corners[rng.integers(len(crown.corners), size=count)]
    weight = rng.dirichlet((1.0, 1.0, 1.0), count)
    centre = (corners * weight[:, :, None]).sum(axis=1) + rng.normal(0.0, 0.25 * size, (count, 3))
    shape = rng.normal(0.0, size * rng.uniform(0.4, 0.9), (count, 3, 3))
    leaves = centre[:, None] + shape
    leaves[..., 2] = np.maximum(leaves[..., 2], 0.05)
    return Soup(leaves)
