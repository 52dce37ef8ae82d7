"""Street furniture: poles, lights, signs, fences, a bin or bench. Local frame: x faces the traffic."""

import dataclasses

import numpy as np

from internimage_perception.data.street import palettes
from internimage_perception.data.street.classes import StreetClass
from internimage_perception.data.street.materials import (
    Material,
    any_color,
    hsv,
    patterned,
    plain,
)
from internimage_perception.data.street.mesh import Piece, Soup, box, disc, join, plate, tube
from internimage_perception.data.street.seeds import Split

Rng = np.random.Generator


def lamp_post(rng: Rng, split: Split) -> list[Piece]:
    """Return a street lamp; its arm reaches along y."""
    height, radius = rng.uniform(4.0, 9.0), rng.uniform(0.08, 0.15)
    parts = [tube((0, 0, -0.2), (0, 0, height), (radius, 0.6 * radius), sides=7)]
    arms: list[Soup] = []
    reach = rng.uniform(0.6, 2.4)
    if split == "train":
        if rng.random() < 0.7:
            arms.append(
                tube((0, 0, height), (0, reach, height + rng.uniform(0.0, 0.5)), (0.06, 0.05), sides=5)
            )
            arms.append(box((0.3, 0.7, 0.12), (0, reach, height + 0.1)))
        else:
            arms.append(box((0.4, 0.4, 0.5), (0, 0, height + 0.25)))
    else:
        arms.append(tube((0, 0, 0.85 * height), (0, reach, height), (0.05, 0.04), sides=5))
        arms.append(tube((0, -0.4, height), (0, reach, height), (0.04, 0.04), sides=5))
        arms.append(box((0.25, 0.9, 0.08), (0, reach, height - 0.05)))
    if rng.random() < 0.4:
        parts.append(tube((0, 0, 0), (0, 0, rng.uniform(0.6, 1.4)), (1.9 * radius, 1.7 * radius), sides=7))
    paint = _paint(rng)
    pole = StreetClass.POLE
    return [Piece(join(parts), paint, pole), Piece(join(arms), paint, pole, overhead=True)]


def bollard(rng: Rng) -> list[Piece]:
    """Return a bollard."""
    height, radius = rng.uniform(0.6, 1.1), rng.uniform(0.08, 0.15)
    band = patterned(rng, _paint(rng), any_color(rng), (50.0, rng.uniform(0.2, 0.5)), (1.0, 0.4))
    band = dataclasses.replace(band, low_u=-1.0, high_u=2.0)
    return [
        Piece(
            tube((0, 0, -0.1), (0, 0, height), (radius, radius), sides=8, round_=True), band, StreetClass.POLE
        )
    ]


def traffic_light(rng: Rng, split: Split) -> list[Piece]:
    """Return a traffic light that faces along x, on a post, sometimes also on an arm along y."""
    height = rng.uniform(2.6, 3.8)
    posts = [tube((0, 0, -0.2), (0, 0, height), (0.09, 0.08), sides=7)]
    arms: list[Soup] = []
    heads = [(0.0, 0.0, height - 0.1)]
    if rng.random() < 0.45:
        high, reach = rng.uniform(5.0, 6.0), rng.uniform(2.5, 5.0)
        posts.append(tube((0, 0, height), (0, 0, high), (0.09, 0.08), sides=7))
        arms.append(tube((0, 0, high), (0, reach, high + 0.2), (0.08, 0.07), sides=6))
        heads.append((0.0, reach, high + 0.1))
    paint = _paint(rng)
    pieces = [Piece(join(posts), paint, StreetClass.POLE)]
    if arms:
        pieces.append(Piece(join(arms), paint, StreetClass.POLE, overhead=True))
    housing = plain(rng, palettes.light_housing(rng), strength=0.5)
    lit = int(rng.integers(3))
    lamps = int(rng.choice([3, 3, 3, 2]))
    wide = rng.uniform(0.32, 0.46) if split == "train" else rng.uniform(0.44, 0.54)
    for head in heads:
        centre = np.array(head)
        size = (0.22, wide, lamps * wide * 0.95)
        pieces.append(Piece(box(size, centre), housing, StreetClass.TRAFFIC_LIGHT, overhead=True))
        if split == "test" or rng.random() < 0.3:
            back = plate(disc(1.0, 4, np.pi / 4) * (0.75 * wide * 1.4, 0.62 * size[2] * 1.4), 0.02)
            board = Soup(back.corners + centre - (0.12, 0, 0), back.uv)
            pieces.append(Piece(board, housing, StreetClass.TRAFFIC_LIGHT, overhead=True))
        for index in range(lamps):
            glow = 3.0 * rng.uniform(0.5, 1.0) if index == lit % lamps else 0.0
            hue = (0.0, 0.12, 0.36)[index] if lamps == 3 else (0.0, 0.36)[index]
            color = hsv(hue, 0.85, 0.95 if glow else 0.22)
            lamp = plate(disc(0.36 * wide, 8), 0.05)
            offset = centre + np.array((0.125, 0, (lamps / 2 - 0.5 - index) * wide * 0.93))
            material = Material(color=color, glow=glow, grain_amount=0.0, blotch_amount=0.0)
            pieces.append(
                Piece(
                    Soup(lamp.corners + offset, lamp.uv), material, StreetClass.TRAFFIC_LIGHT, overhead=True
                )
            )
    return pieces


def traffic_sign(rng: Rng, split: Split) -> list[Piece]:
    """Return a sign that faces along x: rounds, triangles, squares in training, others when held out."""
    height, size = rng.uniform(2.0, 3.0), rng.uniform(0.36, 0.62)
    sides, turn = ((16, 0.0), (3, np.pi / 2), (4, np.pi / 4))[int(rng.integers(3))]
    if split == "test":
        sides, turn = ((8, np.pi / 8), (3, -np.pi / 2), (4, 0.0), (5, np.pi / 2))[int(rng.integers(4))]
    stretch = (1.0, rng.uniform(0.6, 1.5)) if sides == 4 else (1.0, 1.0)
    outline = disc(size, sides, turn) * stretch
    if rng.random() < 0.15:
        outline = disc(1.0, 4, np.pi / 4) * (rng.uniform(0.8, 1.8), rng.uniform(0.5, 1.0))
    pole = tube((-0.05, 0, -0.2), (-0.05, 0, height + 0.1), (0.05, 0.05), sides=6)
    pieces = [Piece(pole, _paint(rng), StreetClass.POLE)]
    for index in range(int(rng.choice([1, 1, 2]))):
        centre = (0.0, 0.0, height + size * 0.4 - 2.1 * size * index)
        pieces += _board(rng, outline, centre)
    return pieces


def _board(
    rng: Rng, outline: np.ndarray[tuple[int, ...], np.dtype[np.float64]], centre: tuple[float, float, float]
) -> list[Piece]:
    rim, face, symbol = palettes.sign_colors(rng)
    layers = [
        (1.0, 0.02, 0.0, rim),
        (0.99, 0.004, -0.0125, palettes.sign_back(rng)),
        (rng.uniform(0.72, 0.9), 0.005, 0.014, face),
    ]
    if rng.random() < 0.7:
        layers.append((rng.uniform(0.25, 0.5), 0.005, 0.02, symbol))
    pieces = []
    for scale, thick, ahead, color in layers:
        board = plate(outline * scale, thick)
        look = Material(color=color, grain_amount=0.02, blotch_amount=0.05)
        moved = Soup(board.corners + (np.array(centre) + np.array((ahead, 0, 0))), board.uv)
        pieces.append(Piece(moved, look, StreetClass.TRAFFIC_SIGN, overhead=True))
    return pieces


def fence(rng: Rng, split: Split, length: float) -> list[Piece]:
    """Return a fence along x: bars or planks in training, pickets, mesh or guard rail in held-out streets."""
    height = rng.uniform(0.8, 2.0)
    paint = plain(rng, palettes.fence(rng))
    posts = [
        box((0.08, 0.08, height), (x, 0, height / 2))
        for x in np.linspace(0.0, length, max(2, round(length / 2.5) + 1))
    ]
    parts = list(posts)
    bars = split == "train"
    if bars and rng.random() < 0.5:
        gap = rng.uniform(0.1, 0.16)
        thick = rng.uniform(0.03, 0.06)
        parts += [box((length, 0.04, 0.07), (length / 2, 0, z)) for z in (0.15, height - 0.1)]
        parts += [box((thick, 0.025, height - 0.1), (x, 0, height / 2)) for x in np.arange(gap, length, gap)]
    elif bars:
        count = int(rng.integers(2, 6))
        wide = rng.uniform(0.6, 0.97) * height / count
        parts += [
            box((length, 0.03, wide), (length / 2, 0, (i + 0.6) * height / count)) for i in range(count)
        ]
    elif rng.random() < 0.6:
        gap = rng.uniform(0.14, 0.3)
        parts += [box((length, 0.04, 0.07), (length / 2, 0.03, z)) for z in (0.25, 0.75 * height)]
        parts += [
            box((gap * rng.uniform(0.6, 0.85), 0.02, height * rng.uniform(0.9, 1.0)), (x, 0, height / 2))
            for x in np.arange(gap, length, gap)
        ]
    else:
        height = 0.75
        parts = [box((0.1, 0.1, height), (x, 0.1, height / 2)) for x in np.arange(0.0, length + 0.1, 2.0)]
        parts += [box((length, 0.08, 0.14), (length / 2, 0, z)) for z in (0.48, 0.66)]
        parts.append(box((length, 0.03, 0.08), (length / 2, 0, 0.57)))
    pieces = [Piece(join(parts), paint, StreetClass.FENCE)]
    if height > 0.75 and rng.random() < 0.5:
        # Sheets or mats behind the bars, against wind and eyes.
        sheet = box((length, 0.01, 0.9 * height), (length / 2, 0.06, 0.5 * height))
        pieces.append(Piece(sheet, plain(rng, palettes.fence(rng)), StreetClass.FENCE))
    return pieces


def clutter(rng: Rng) -> list[Piece]:
    """Return a bin, box or bench: background, the class of all else."""
    kind = int(rng.integers(3))
    look = plain(rng, any_color(rng))
    if kind == 0:
        soup = tube(
            (0, 0, 0),
            (0, 0, rng.uniform(0.7, 1.2)),
            (rng.uniform(0.2, 0.35), rng.uniform(0.22, 0.4)),
            sides=9,
        )
    elif kind == 1:
        size = (rng.uniform(0.3, 0.7), rng.uniform(0.5, 1.3), rng.uniform(0.8, 1.5))
        soup = box(size, (0, 0, size[2] / 2))
    else:
        wide = rng.uniform(1.3, 2.0)
        legs = [box((0.45, 0.06, 0.45), (0, y, 0.22)) for y in (-0.4 * wide, 0.4 * wide)]
        soup = join([*legs, box((0.5, wide, 0.05), (0, 0, 0.46)), box((0.05, wide, 0.35), (-0.25, 0, 0.7))])
    return [Piece(soup, look, StreetClass.BACKGROUND)]


def _paint(rng: Rng) -> Material:
    return plain(rng, palettes.metal(rng))
