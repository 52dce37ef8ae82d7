"""Buildings and walls: facades of windows, roofs of several forms. x runs along the front, y into it."""

import dataclasses

import numpy as np

from internimage_perception.data.street import palettes
from internimage_perception.data.street.classes import StreetClass
from internimage_perception.data.street.materials import (
    Material,
    any_color,
    grey,
    hsv,
    patterned,
    plain,
)
from internimage_perception.data.street.mesh import Piece, Soup, box, join, loft, prism
from internimage_perception.data.street.seeds import Split

Rng = np.random.Generator
_CLASS = StreetClass.CONSTRUCTION


def building(rng: Rng, split: Split, length: float, depth: float) -> list[Piece]:
    """Return a building of the given ground plan: x from 0 to `length`, y from 0 (front) to `depth`."""
    storey = rng.uniform(2.7, 3.6)
    height = storey * int(rng.integers(1, 7)) + rng.uniform(0.3, 1.0)
    wall = _facade(rng, split, storey)
    walls = box((length, depth, height + 1.0), (length / 2, depth / 2, height / 2 - 0.5))
    pieces = [Piece(walls, wall, _CLASS)]
    roof = plain(rng, palettes.roof(rng))
    pieces.append(Piece(_roof(rng, split, length, depth, height), roof, _CLASS))
    trim = plain(rng, any_color(rng))
    details: list[Soup] = []
    if rng.random() < 0.5:
        details.append(box((length + 0.2, 0.25, 0.3), (length / 2, -0.1, height)))
    if rng.random() < 0.5:
        ground = rng.uniform(0.4, 1.0) if rng.random() < 0.6 else storey
        details.append(box((length + 0.06, 0.1, ground), (length / 2, -0.01, ground / 2)))
    if rng.random() < 0.4:
        for level in np.arange(storey, height - 2.0, storey):
            for x in np.arange(rng.uniform(1.0, 2.5), length - 1.5, rng.uniform(3.0, 6.0)):
                details.append(box((1.8, 0.9, 0.15), (x, -0.45, level + 0.2)))
                details.append(box((1.8, 0.06, 0.9), (x, -0.87, level + 0.7)))
    if rng.random() < 0.5:
        x = rng.uniform(1.0, max(1.1, length - 1.0))
        details.append(box((1.1, 0.12, 2.1), (x, -0.02, 1.05)))
    if rng.random() < 0.3:
        x, high = rng.uniform(0.5, length - 0.5), rng.uniform(0.8, 1.6)
        details.append(box((0.7, 0.7, high), (x, depth / 2, height + high)))
    if details:
        pieces.append(Piece(join(details), trim, _CLASS))
    if rng.random() < 0.3:
        canvas = patterned(
            rng, plain(rng, any_color(rng)), any_color(rng), (rng.uniform(0.3, 0.9), 50.0), (0.5, 1.0)
        )
        canvas = dataclasses.replace(canvas, low_v=-1.0, high_v=2.0)
        wide, x = rng.uniform(2.0, 5.0), rng.uniform(0.0, max(0.1, length - 5.0))
        slope = np.array([[[x, 0, 3.0], [x + wide, 0, 3.0]], [[x, -1.2, 2.5], [x + wide, -1.2, 2.5]]])
        a, b, c, d = slope[0, 0], slope[0, 1], slope[1, 0], slope[1, 1]
        pieces.append(Piece(Soup(np.array([[a, b, c], [b, d, c]])), canvas, _CLASS, overhead=True))
    return pieces


def _facade(rng: Rng, split: Split, storey: float) -> Material:
    base = plain(rng, palettes.facade(rng))
    if rng.random() < 0.06:
        return base
    glass = hsv(rng.uniform(0.5, 0.7), rng.uniform(0.0, 0.4), rng.uniform(0.05, 0.45))
    if split == "train":
        width, share_u, share_v = rng.uniform(1.6, 3.6), rng.uniform(0.3, 0.6), rng.uniform(0.35, 0.6)
    else:
        width = rng.uniform(0.9, 1.6) if rng.random() < 0.5 else rng.uniform(3.6, 6.0)
        share_u, share_v = rng.uniform(0.6, 0.8), rng.uniform(0.3, 0.7)
    return dataclasses.replace(
        patterned(rng, base, glass, (width, storey), (share_u, share_v)), gloss=rng.uniform(0.0, 0.15)
    )


def _roof(rng: Rng, split: Split, length: float, depth: float, height: float) -> Soup:
    """Return a roof: flat or gabled in training, hipped or a single slope in held-out streets."""
    over, rise = 0.3, rng.uniform(1.0, 4.0)
    low = (-over, -over), (length + over, depth + over)
    if split == "train":
        if rng.random() < 0.5:
            return box((length + over, depth + over, 0.25), (length / 2, depth / 2, height + 0.1))
        if rng.random() < 0.5:
            ridge = [(low[0][0], height), (length / 2, height + rise), (low[1][0], height)]
            return prism(ridge, [(low[0][1], 1.0), (low[1][1], 1.0)])
        profile = np.array([[low[0][1], height], [depth / 2, height + rise], [low[1][1], height]])
        rings = [np.column_stack([np.full(3, x), profile]) for x in (low[0][0], low[1][0])]
        return loft(np.array(rings))
    eaves = np.array([low[0], (low[1][0], low[0][1]), low[1], (low[0][0], low[1][1])])
    if rng.random() < 0.6:
        middle = eaves.mean(axis=0)
        shrink = (
            np.array([max(0.05, 1.0 - depth / length), 0.05]) if rng.random() < 0.7 else np.array([0.6, 0.6])
        )
        top = middle + (eaves - middle) * shrink
        rings = [
            np.column_stack([ring, np.full(4, z)]) for ring, z in ((eaves, height), (top, height + rise))
        ]
        return loft(np.array(rings))
    heights = height + np.array([0.2, 0.2, rise, rise])
    rings = [np.column_stack([eaves, z]) for z in (np.full(4, height), heights)]
    return loft(np.array(rings))


def garden_wall(rng: Rng, split: Split, length: float) -> list[Piece]:
    """Return a free-standing wall along x."""
    height, thick = rng.uniform(0.7, 2.4), rng.uniform(0.15, 0.4)
    base = plain(rng, palettes.facade(rng))
    if rng.random() < 0.75:
        brick = (0.25, 0.08) if split == "train" else (0.6, 0.3)
        base = patterned(rng, dataclasses.replace(base, color=grey(rng)), base.color, brick, (0.9, 0.82), 0.5)
    pieces = [Piece(box((length, thick, height + 0.4), (length / 2, 0, height / 2 - 0.2)), base, _CLASS)]
    if rng.random() < 0.5:
        cap = box((length + 0.05, thick + 0.12, 0.1), (length / 2, 0, height + 0.05))
        pieces.append(Piece(cap, plain(rng, any_color(rng)), _CLASS))
    return pieces
