"""Persons of tapered limbs who stand, walk or ride. Local frame: x forward, z up, origin on the ground."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from internimage_perception.data.street import palettes
from internimage_perception.data.street.classes import StreetClass
from internimage_perception.data.street.materials import Material, any_color, grey, hsv, patterned, plain
from internimage_perception.data.street.mesh import Piece, Soup, ball, box, join, loft, tube
from internimage_perception.data.street.seeds import Split

Rng = np.random.Generator
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """Build and clothes of a person.

    Attributes:
        height: metres.
        bulk: width against that of a slim person.
        skirt: length of a coat or skirt as a share of the legs; 0 for none.
        bag: carries one on the back.
        hat: wears one.
        swing: how far the limbs swing when walking.
        skin, top, bottom, shoes, hair, extra: materials.
    """

    height: float
    bulk: float
    skirt: float
    bag: bool
    hat: bool
    swing: float
    skin: Material
    top: Material
    bottom: Material
    shoes: Material
    hair: Material
    extra: Material


def draw_figure(rng: Rng, split: Split, *, child_share: float = 0.15, cyclist: bool = False) -> Figure:
    """Draw a person; held-out streets have other proportions and patterns of cloth.

    Cyclists often wear a helmet, and colours that are seen from afar.
    """
    child = rng.random() < child_share
    top = plain(rng, palettes.cyclist_above(rng) if cyclist else palettes.cloth_above(rng))
    if rng.random() < 0.3:
        stripe = rng.uniform(0.05, 0.2) if split == "train" else rng.uniform(0.2, 0.4)
        top = patterned(rng, top, any_color(rng), (stripe if split == "test" else 9.0, stripe), (0.5, 0.5))
    skin = hsv(rng.uniform(0.03, 0.09), rng.uniform(0.25, 0.6), rng.uniform(0.3, 0.92))
    return Figure(
        height=rng.uniform(1.0, 1.45) if child else rng.normal(1.72, 0.08),
        bulk=rng.uniform(0.9, 1.25) if split == "train" else rng.uniform(1.0, 1.4),
        skirt=rng.uniform(0.25, 0.8) if rng.random() < 0.3 else 0.0,
        bag=rng.random() < (0.3 if split == "train" else 0.45),
        hat=rng.random() < (0.7 if cyclist else 0.25),
        swing=rng.uniform(0.35, 0.6),
        skin=plain(rng, skin, strength=0.3),
        top=top,
        bottom=plain(rng, palettes.cloth_below(rng)),
        shoes=plain(rng, grey(rng) if rng.random() < 0.6 else any_color(rng)),
        hair=plain(rng, hsv(rng.uniform(0.02, 0.14), rng.uniform(0, 0.7), rng.uniform(0.05, 0.75))),
        extra=plain(rng, any_color(rng)),
    )


def walking(figure: Figure, phase: float, class_id: StreetClass = StreetClass.PERSON) -> list[Piece]:
    """Return the person at a phase of the step, radians; standing figures have `swing` 0."""
    h = figure.height
    hip, shoulder = 0.52 * h, 0.82 * h
    legs, feet, arms, hands = [], [], [], []
    for side in (-1, 1):
        swing = figure.swing * np.sin(phase + (0.0 if side > 0 else np.pi))
        lift = figure.swing * max(0.0, np.cos(phase + (0.0 if side > 0 else np.pi)))
        start = np.array([0.0, 0.055 * h * side, hip])
        knee = start + 0.25 * h * np.array([np.sin(swing + 0.3 * lift), 0.0, -np.cos(swing + 0.3 * lift)])
        bend = swing - 0.9 * lift
        ankle = knee + 0.25 * h * np.array([np.sin(bend), 0.0, -np.cos(bend)])
        legs += _limb((start, knee, ankle), (0.052 * h * figure.bulk, 0.038 * h, 0.026 * h))
        feet.append(box((0.15 * h, 0.055 * h, 0.045 * h), ankle + np.array((0.03 * h, 0, -0.005 * h))))
        upper = -0.9 * swing
        top = np.array([0.0, 0.115 * h * side * figure.bulk, shoulder])
        elbow = top + 0.17 * h * np.array([np.sin(upper), 0.12 * side, -np.cos(upper)])
        hand = elbow + 0.16 * h * np.array([np.sin(upper + 0.35), 0.0, -np.cos(upper + 0.35)])
        arms += _limb((top, elbow, hand), (0.034 * h * figure.bulk, 0.028 * h, 0.021 * h))
        hands.append(ball((0.022 * h,) * 3, hand, rows=3, sides=5))
    body = _torso(h, hip, shoulder, figure.bulk, 0.02 * h)
    pieces = _dressed(figure, legs, feet, [body, *arms], hands, (0.02 * h, 0.0), class_id)
    if figure.skirt:
        hem = hip - figure.skirt * 0.45 * h
        skirt = _ellipses(
            [(hem, 0.11 * h, 0.13 * h, 0.0), (hip + 0.05 * h, 0.075 * h, 0.1 * h, 0.0)], figure.bulk
        )
        pieces.append(Piece(skirt, figure.bottom if figure.skirt > 0.5 else figure.top, class_id))
    if figure.bag:
        bag = box((0.1 * h, 0.17 * h, 0.24 * h), (-0.11 * h, 0, 0.7 * h))
        pieces.append(Piece(bag, figure.extra, class_id))
    return pieces


def riding(figure: Figure, phase: float) -> list[Piece]:
    """Return the person on a bicycle (see `vehicles.bicycle`), pedals at `phase`, radians."""
    h = max(figure.height, 1.55)
    hip = np.array([-0.2, 0.0, 0.97])
    shoulder = hip + 0.3 * h * np.array([0.45, 0.0, 0.89])
    legs, feet, arms, hands = [], [], [], []
    for side in (-1, 1):
        turn = phase + (0.0 if side > 0 else np.pi)
        pedal = np.array([-0.05 + 0.16 * np.cos(turn), 0.1 * side, 0.3 + 0.16 * np.sin(turn)])
        heel = pedal + np.array((-0.04, 0, 0.07))
        start = hip + np.array((0.0, 0.055 * h * side, 0.0))
        knee = _joint(start, heel, 0.26 * h)
        legs += _limb((start, knee, heel), (0.052 * h * figure.bulk, 0.038 * h, 0.026 * h))
        feet.append(box((0.15 * h, 0.055 * h, 0.05 * h), pedal + np.array((0.02, 0, 0.04))))
        top = shoulder + np.array((0.0, 0.11 * h * side * figure.bulk, 0.0))
        hand = np.array([0.33, 0.25 * side, 1.07])
        elbow = (top + hand) / 2 + np.array((-0.05, 0.04 * side, -0.06))
        arms += _limb((top, elbow, hand), (0.034 * h * figure.bulk, 0.028 * h, 0.021 * h))
        hands.append(ball((0.022 * h,) * 3, hand, rows=3, sides=5))
    lean = [tube(hip, shoulder, (0.085 * h * figure.bulk, 0.105 * h * figure.bulk), sides=8, round_=True)]
    moved = (shoulder[0] + 0.05, shoulder[2] - 0.82 * h)
    pieces = _dressed(figure, legs, feet, [*lean, *arms], hands, moved, StreetClass.RIDER)
    if figure.bag:
        bag = box((0.14, 0.17 * h, 0.22 * h), (hip + shoulder) / 2 + np.array((-0.17, 0, 0.08)))
        pieces.append(Piece(bag, figure.extra, StreetClass.RIDER))
    return pieces


def _dressed(
    figure: Figure,
    legs: list[Soup],
    feet: list[Soup],
    top: list[Soup],
    hands: list[Soup],
    head_offset: tuple[float, float],
    class_id: StreetClass,
) -> list[Piece]:
    h = figure.height if class_id == StreetClass.PERSON else max(figure.height, 1.55)
    x, z = head_offset
    head = np.array([x, 0.0, 0.93 * h + z])
    neck = tube((x - 0.02, 0, 0.81 * h + z), head, (0.032 * h, 0.03 * h), sides=6)
    face = ball((0.055 * h, 0.045 * h, 0.065 * h), head, rows=5, sides=8)
    cap = ball((0.062 * h, 0.055 * h, 0.05 * h), head + np.array((-0.012 * h, 0, 0.028 * h)), rows=4, sides=8)
    pieces = [
        Piece(join(legs), figure.bottom, class_id),
        Piece(join(feet), figure.shoes, class_id),
        Piece(join(top), figure.top, class_id),
        Piece(join([*hands, neck, face]), figure.skin, class_id),
        Piece(cap, figure.extra if figure.hat else figure.hair, class_id),
    ]
    if figure.hat:
        brim = _ellipses(
            [(head[2] + 0.02 * h, 0.085 * h, 0.075 * h, x), (head[2] + 0.03 * h, 0.08 * h, 0.07 * h, x)], 1.0
        )
        pieces.append(Piece(brim, figure.extra, class_id))
    return pieces


def _limb(points: tuple[Floats, Floats, Floats], radii: tuple[float, float, float]) -> list[Soup]:
    a, b, c = points
    return [
        tube(a, b, (radii[0], radii[1]), sides=6, round_=True),
        tube(b, c, (radii[1], radii[2]), sides=6, round_=True),
    ]


def _joint(start: Floats, end: Floats, length: float) -> Floats:
    """Return the knee between hip and ankle, bent forward, thigh and shank about `length` long."""
    middle, span = (start + end) / 2, end - start
    rise = np.sqrt(max(length**2 - float(span @ span) / 4, 1e-4))
    forward = np.array([-span[2], 0.0, span[0]])
    knee: Floats = middle + rise * forward / max(float(np.linalg.norm(forward)), 1e-9)
    return knee


def _torso(h: float, hip: float, shoulder: float, bulk: float, lean: float) -> Soup:
    levels = [
        (hip - 0.05 * h, 0.06 * h, 0.085 * h, 0.0),
        (hip + 0.03 * h, 0.07 * h, 0.095 * h, 0.0),
        (hip + 0.15 * h, 0.062 * h, 0.085 * h, 0.4 * lean),
        (shoulder - 0.06 * h, 0.072 * h, 0.115 * h, 0.8 * lean),
        (shoulder, 0.055 * h, 0.105 * h, lean),
        (shoulder + 0.04 * h, 0.03 * h, 0.04 * h, lean),
    ]
    return _ellipses(levels, bulk)


def _ellipses(levels: list[tuple[float, float, float, float]], bulk: float) -> Soup:
    """Return the surface through upright ellipses of (height, radius along x, along y, shift along x)."""
    angle = np.arange(9) * (2 * np.pi / 9)
    rings = [
        np.column_stack([x + bulk * rx * np.cos(angle), bulk * ry * np.sin(angle), np.full(9, z)])
        for z, rx, ry, x in levels
    ]
    return loft(np.array(rings))
