"""The cross-section of a street: strips of ground side by side, from which its surface is swept."""

import dataclasses
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from internimage_perception.data.street import palettes
from internimage_perception.data.street.classes import StreetClass
from internimage_perception.data.street.materials import (
    Material,
    hsv,
    patterned,
    plain,
)
from internimage_perception.data.street.plants import foliage
from internimage_perception.data.street.seeds import Split

Rng = np.random.Generator


@dataclass(frozen=True)
class Strip:
    """Ground between two lateral offsets, metres left of the centre line; heights above the carriageway."""

    right: float
    left: float
    material: Material
    class_id: StreetClass
    height_right: float = 0.0
    height_left: float = 0.0


@dataclass(frozen=True)
class Side:
    """What lies beyond the lanes on one side; offsets are distances from the centre line, metres."""

    parking: tuple[float, float] | None
    cycling: float | None
    kerb: float
    verge: tuple[float, float] | None
    pavement: tuple[float, float]
    front: float
    kerb_height: float
    yard_class: StreetClass


@dataclass(frozen=True)
class Section:
    """The cross-section of a whole street.

    Attributes:
        lanes: centre offset (left positive) and direction (1 along, -1 against) of each lane.
        sides: left (1) and right (-1).
        strips: of the ground, from right to left.
        crossing: material of the carriageway where pedestrians cross.
        half_width: of the carriageway's lanes.
    """

    lanes: tuple[tuple[float, int], ...]
    sides: dict[int, Side]
    strips: tuple[Strip, ...]
    crossing: Material
    half_width: float
    pavement_height: float = field(default=0.12)


def draw_section(rng: Rng, split: Split) -> Section:
    """Draw a cross-section; traffic keeps right, or left in one street of four."""
    per_direction = int(rng.choice([1, 1, 1, 1, 2]))
    width = rng.uniform(2.75, 3.6)
    handed = 1 if rng.random() < 0.75 else -1
    lanes = tuple(
        (-handed * direction * (index + 0.5) * width, direction)
        for direction in (1, -1)
        for index in range(per_direction)
    )
    half = per_direction * width
    kerb_height = rng.uniform(0.06, 0.16)
    asphalt = plain(rng, palettes.asphalt(rng), strength=1.2)
    sides = {sign: _draw_side(rng, half, kerb_height) for sign in (1, -1)}
    strips: list[Strip] = []
    paving = _paving(rng, split)
    lawn = foliage(rng)
    for sign in (-1, 1):
        outer = _side_strips(rng, sides[sign], asphalt, paving, lawn, half)
        placed = [_signed(strip, sign) for strip in outer]
        strips = placed[::-1] + strips if sign < 0 else strips + placed
    middle = _lane_strips(rng, split, asphalt, per_direction, width)
    index = next(i for i, strip in enumerate(strips) if strip.left > 0.0)
    strips[index:index] = middle
    paint = hsv(rng.uniform(0.1, 0.17), rng.uniform(0.0, 0.25), rng.uniform(0.6, 0.98))
    spacing = rng.uniform(0.9, 1.3)
    crossing = patterned(rng, asphalt, paint, (100.0, spacing), (1.0, rng.uniform(0.4, 0.6)))
    crossing = dataclasses.replace(crossing, low_u=-1.0, high_u=2.0)
    return Section(lanes, sides, tuple(strips), crossing, half, kerb_height)


def _draw_side(rng: Rng, half: float, kerb_height: float) -> Side:
    edge = half + rng.uniform(0.1, 0.5)
    cycling = None
    if rng.random() < 0.42:
        cycling, edge = edge + 0.7, edge + 1.5
    parking = None
    if rng.random() < 0.38:
        parking = (edge, edge + rng.uniform(2.0, 2.4))
        edge = parking[1]
    kerb = edge
    verge = None
    if rng.random() < 0.5:
        verge = (kerb + 0.2, kerb + rng.uniform(1.0, 3.0))
        edge = verge[1]
    pavement = (edge, edge + rng.uniform(2.2, 6.0))
    front = pavement[1] + (0.0 if rng.random() < 0.35 else rng.uniform(1.5, 8.0))
    yard = StreetClass.NATURE if rng.random() < 0.65 else StreetClass.SIDEWALK
    return Side(parking, cycling, kerb, verge, pavement, front, kerb_height, yard)


def _side_strips(
    rng: Rng, side: Side, asphalt: Material, paving: Material, lawn: Material, half: float
) -> list[Strip]:
    """Return the strips of one side as if it were the left one."""
    up = side.kerb_height
    stone = plain(rng, palettes.kerb(rng))
    line = _paint(rng, asphalt)
    road, walk, nature = StreetClass.ROAD, StreetClass.SIDEWALK, StreetClass.NATURE
    strips = []
    edge = half
    if rng.random() < 0.7:
        strips.append(Strip(half, half + 0.12, line, road))
        edge = half + 0.12
    lane_end = side.parking[0] if side.parking else side.kerb
    if side.cycling is not None and rng.random() < 0.5:
        strips.append(Strip(edge, lane_end, plain(rng, palettes.cycle_lane(rng)), road))
    elif lane_end > edge:
        strips.append(Strip(edge, lane_end, asphalt, road))
    if side.parking:
        surface = paving if rng.random() < 0.15 else asphalt
        strips += [
            Strip(lane_end, lane_end + 0.1, line, road),
            Strip(lane_end + 0.1, side.kerb, surface, road),
        ]
    strips.append(Strip(side.kerb, side.kerb + 0.02, stone, walk, 0.0, up))
    strips.append(Strip(side.kerb + 0.02, side.kerb + 0.2, stone, walk, up, up))
    edge = side.kerb + 0.2
    if side.verge:
        strips.append(Strip(edge, side.verge[1], lawn, nature, up, up))
        edge = side.verge[1]
    strips.append(Strip(edge, side.pavement[1], paving, walk, up, up))
    yard = lawn if side.yard_class == nature else paving
    if side.front > side.pavement[1]:
        strips.append(Strip(side.pavement[1], side.front, yard, side.yard_class, up, up))
    strips.append(Strip(side.front, side.front + 14.0, lawn, nature, up, 0.0))
    return strips


def _signed(strip: Strip, sign: int) -> Strip:
    if sign > 0:
        return strip
    return Strip(
        -strip.left, -strip.right, strip.material, strip.class_id, strip.height_left, strip.height_right
    )


def _lane_strips(rng: Rng, split: Split, asphalt: Material, count: int, width: float) -> list[Strip]:
    """Return the lanes and the lines between them."""
    strips = []
    line = 0.06 if split == "train" else 0.08
    worn = dataclasses.replace(asphalt, grain_amount=asphalt.grain_amount * rng.uniform(0.5, 1.5))
    dash = rng.uniform(4.0, 12.0)
    centre = _dashed(rng, asphalt, dash) if rng.random() < 0.6 else _paint(rng, asphalt)
    between = _dashed(rng, asphalt, dash * rng.uniform(0.6, 1.2))
    if rng.random() < 0.2:
        centre = asphalt
    edges = [index * width for index in range(-count, count + 1)]
    for right, left in pairwise(edges):
        low = right + (line if right > edges[0] else 0.0)
        high = left - (line if left < edges[-1] else 0.0)
        strips.append(Strip(low, high, worn if rng.random() < 0.5 else asphalt, StreetClass.ROAD))
        if left < edges[-1]:
            paint = centre if abs(left) < 1e-9 else between
            strips.append(Strip(left - line, left + line, paint, StreetClass.ROAD))
    return strips


def _paint(rng: Rng, asphalt: Material) -> Material:
    color = hsv(rng.uniform(0.1, 0.17), rng.choice([0.0, 0.1, 0.7]) * rng.random(), rng.uniform(0.6, 0.98))
    return dataclasses.replace(asphalt, color=color)


def _dashed(rng: Rng, asphalt: Material, period: float) -> Material:
    marking = _paint(rng, asphalt)
    share = rng.uniform(0.3, 0.6)
    return dataclasses.replace(
        asphalt, pattern_color=marking.color, period_u=period, low_u=0.2, high_u=0.2 + share, period_v=50.0,
        low_v=-1.0, high_v=2.0,
    )  # fmt: skip


def _paving(rng: Rng, split: Split) -> Material:
    base = plain(rng, palettes.paving(rng), strength=1.2)
    if rng.random() < 0.15:
        return base
    tiles = rng.uniform(0.25, 0.8, 2) if split == "train" else rng.uniform(0.8, 1.6, 2)
    inside, dark = base.color, rng.uniform(0.25, 0.7)
    joint = (inside[0] * dark, inside[1] * dark, inside[2] * dark)
    if rng.random() < 0.2:
        joint = hsv(rng.random(), rng.uniform(0, 0.2), rng.uniform(0.2, 0.8))
    joints = dataclasses.replace(base, color=joint)
    return patterned(
        rng, joints, inside, (float(tiles[0]), float(tiles[1])), (0.93, 0.93), rng.choice([0.0, 0.5])
    )
