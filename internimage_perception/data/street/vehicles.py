"""Cars, bicycles, and the own car's body. Local frame: x forward, y left, z up, origin on the ground."""

import dataclasses
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from internimage_perception.data.street import palettes
from internimage_perception.data.street.classes import StreetClass
from internimage_perception.data.street.materials import Material, any_color, grey, hsv, plain
from internimage_perception.data.street.mesh import Piece, Soup, box, join, loft, prism, strip, tube
from internimage_perception.data.street.seeds import Split

Rng = np.random.Generator


@dataclass(frozen=True)
class CarShape:
    """Dimensions of a car, metres; shares are of the length, from the rear, and of the height.

    Attributes:
        size: length, width, height.
        belt: height at which the windows begin, as a share.
        cabin: where the cabin begins and ends at the belt, then where its roof does.
        hood: height of the bonnet's front edge and of the boot, as shares.
        inset: how much narrower the roof is.
    """

    size: tuple[float, float, float]
    belt: float
    cabin: tuple[float, float, float, float]
    hood: tuple[float, float]
    inset: float


_TRAIN = ("hatchback", "saloon", "suv")
_TEST = ("estate", "van", "pickup", "coupe")


def draw_car_shape(rng: Rng, split: Split) -> CarShape:
    """Draw a car: other kinds for held-out streets than for training."""
    kind = str(rng.choice(_TRAIN if split == "train" else _TEST))
    jitter = rng.normal(0.0, 0.012, 4)
    cabins = {
        "hatchback": (0.02, 0.72, 0.07, 0.52),
        "saloon": (0.16, 0.72, 0.29, 0.53),
        "suv": (0.02, 0.74, 0.08, 0.58),
        "estate": (0.01, 0.71, 0.10, 0.52),
        "van": (0.0, 0.88, 0.02, 0.76),
        "pickup": (0.38, 0.76, 0.43, 0.62),
        "coupe": (0.10, 0.68, 0.34, 0.48),
    }
    lengths = {
        "hatchback": 4.0,
        "saloon": 4.7,
        "suv": 4.5,
        "estate": 4.7,
        "van": 5.2,
        "pickup": 5.2,
        "coupe": 4.4,
    }
    heights = {
        "hatchback": 1.48,
        "saloon": 1.45,
        "suv": 1.7,
        "estate": 1.5,
        "van": 2.1,
        "pickup": 1.8,
        "coupe": 1.33,
    }
    a, b, c, d = (float(value) for value in np.array(cabins[kind]) + jitter)
    size = (
        lengths[kind] * rng.uniform(0.92, 1.08),
        rng.uniform(1.68, 1.92),
        heights[kind] * rng.uniform(0.95, 1.06),
    )
    hood = (rng.uniform(0.42, 0.52), rng.uniform(0.54, 0.62))
    return CarShape(
        size, rng.uniform(0.55, 0.64), (max(a, 0.0), b, max(c, 0.01), d), hood, rng.uniform(0.12, 0.22)
    )


def car(rng: Rng, shape: CarShape) -> list[Piece]:
    """Return a car in random paint."""
    paint = plain(rng, palettes.car_paint(rng), strength=0.3, gloss=rng.uniform(0.1, 0.4))
    glass = dataclasses.replace(
        paint,
        color=hsv(rng.uniform(0.4, 0.7), rng.uniform(0, 0.3), rng.uniform(0.05, 0.3)),
        gloss=rng.uniform(0.2, 0.6),
        grain_amount=0.02,
    )
    dark = plain(rng, grey(rng, 0.04, 0.2), strength=0.5)
    length, width, height = shape.size
    pieces = [Piece(body, paint, StreetClass.CAR) for body in _body(shape)]
    pieces += [Piece(_windows(shape), glass, StreetClass.CAR)]
    wheel = 0.215 * height + 0.02
    along = 0.31 * length
    rubber, rims = [], []
    for x in (-along, 0.98 * along):
        for side in (-1, 1):
            y = side * (width / 2 - 0.1)
            rubber.append(
                tube((x, y - 0.1 * side, wheel), (x, y + 0.11 * side, wheel), (wheel, wheel), sides=12)
            )
            rims.append(
                tube((x, y, wheel), (x, y + 0.12 * side, wheel), (0.62 * wheel, 0.58 * wheel), sides=9)
            )
    pieces.append(Piece(join(rubber), dark, StreetClass.CAR))
    pieces.append(Piece(join(rims), plain(rng, grey(rng, 0.2, 0.8), gloss=0.2), StreetClass.CAR))
    lamps = [
        (0.485, hsv(0.12, rng.uniform(0, 0.2), rng.uniform(0.5, 0.95)), (0.12, 0.36, 0.13)),
        (-0.485, hsv(0.0, 0.8, rng.uniform(0.25, 0.8)), (0.1, 0.22, 0.2)),
    ]
    for share, color, size in lamps:
        soup = join([box(size, (share * length, s * 0.36 * width, 0.42 * height)) for s in (-1, 1)])
        pieces.append(Piece(soup, Material(color=color, gloss=0.3), StreetClass.CAR))
    trim = [box((0.04, 0.52, 0.12), (0.5 * s * length, 0, 0.3 * height)) for s in (-1, 1)]
    pieces.append(Piece(join(trim), Material(color=grey(rng, 0.5, 0.98)), StreetClass.CAR))
    mirrors = [
        box((0.12, 0.2, 0.13), (0.17 * length, s * (width / 2 + 0.02), 0.64 * height)) for s in (-1, 1)
    ]
    pieces.append(Piece(join(mirrors), paint if rng.random() < 0.7 else dark, StreetClass.CAR))
    return pieces


def _body(shape: CarShape) -> list[Soup]:
    """Return the lower body and the roof."""
    length, width, height = shape.size
    belt, floor = shape.belt * height, 0.13 * height
    rear, front = (shape.cabin[0] - 0.5) * length, (shape.cabin[1] - 0.5) * length
    nose, boot = shape.hood[0] * height, min(shape.hood[1] * height, belt)
    x = 0.5 * length
    profile = [
        (-0.97 * x, floor),
        (0.96 * x, floor),
        (x, 1.7 * floor),
        (0.99 * x, 0.8 * nose),
        (0.93 * x, nose),
        (front, belt),
        (rear, belt),
        (min(rear, -0.93 * x), boot),
        (-0.99 * x, 0.85 * boot),
        (-x, 1.9 * floor),
    ]
    half = width / 2
    lower = prism(
        profile, [(-half, 0.93), (-0.93 * half, 0.99), (0.0, 1.0), (0.93 * half, 0.99), (half, 0.93)]
    )
    top_rear, top_front = ((share - 0.5) * length for share in shape.cabin[2:])
    roof_half = half * (1.0 - shape.inset)
    rings = []
    for z, grow in ((height - 0.06, 0.04), (height - 0.02, 0.02), (height, -0.1)):
        rings.append(
            [
                (top_rear - grow, -roof_half - grow, z),
                (top_front + grow, -roof_half - grow, z),
                (top_front + grow, roof_half + grow, z),
                (top_rear - grow, roof_half + grow, z),
            ]
        )
    pillars = []
    for share in (0.0, 0.42, 1.0):
        for side in (-1, 1):
            low = (rear + share * (front - rear), side * 0.93 * half, belt)
            high = (top_rear + share * (top_front - top_rear), side * roof_half, height - 0.03)
            pillars.append(tube(low, high, (0.05, 0.04), sides=4))
    return [lower, join([loft(np.array(rings)), *pillars])]


def _windows(shape: CarShape) -> Soup:
    length, width, height = shape.size
    belt, half = shape.belt * height, width / 2
    rear, front, top_rear, top_front = ((share - 0.5) * length for share in shape.cabin)
    low, high = 0.92 * half, half * (1.0 - shape.inset) - 0.01
    rings = np.array(
        [
            [
                (rear, -low, belt - 0.02),
                (front, -low, belt - 0.02),
                (front, low, belt - 0.02),
                (rear, low, belt - 0.02),
            ],
            [
                (top_rear, -high, height - 0.05),
                (top_front, -high, height - 0.05),
                (top_front, high, height - 0.05),
                (top_rear, high, height - 0.05),
            ],
        ]
    )
    return Soup(strip(rings, closed=True))


def bicycle(rng: Rng, split: Split) -> list[Piece]:
    """Return a bicycle, wheelbase about 1.05 m; see `IGNORED` for its label."""
    radius = rng.uniform(0.31, 0.36) if split == "train" else rng.uniform(0.24, 0.31)
    wheels = []
    for x in (-0.53, 0.53):
        angle = np.arange(13) * (2 * np.pi / 12)
        rim = np.column_stack([x + radius * np.cos(angle), np.zeros(13), radius + radius * np.sin(angle)])
        wheels += [tube(a, b, (0.022, 0.022), sides=4) for a, b in pairwise(rim)]
        wheels += [tube(rim[i], rim[i + 6], (0.006, 0.006), sides=3) for i in range(0, 6, 2)]
    crank, seat, head = (-0.05, 0, 0.28), (-0.2, 0, 0.85), (0.38, 0, 0.85)
    joints = [
        (crank, seat),
        (crank, head),
        (seat, head),
        ((-0.53, 0, radius), seat),
        ((-0.53, 0, radius), crank),
        (head, (0.53, 0, radius)),
        (head, (0.33, 0, 1.02)),
        ((0.33, -0.28, 1.04), (0.33, 0.28, 1.04)),
    ]
    frame = [tube(a, b, (0.022, 0.022), sides=4) for a, b in joints]
    frame.append(box((0.26, 0.14, 0.06), (-0.22, 0, 0.92)))
    dark = plain(rng, grey(rng, 0.05, 0.35))
    return [
        Piece(join(wheels), dark, StreetClass.IGNORED),
        Piece(join(frame), plain(rng, any_color(rng), gloss=0.1), StreetClass.IGNORED),
    ]


@dataclass(frozen=True)
class EgoShape:
    """The own car's body in `base_link`: x from `rear` to `front`, up to `bonnet` and `roof`, metres."""

    rear: float = -0.93
    front: float = 3.72
    half_width: float = 0.90
    bonnet: float = 0.80
    roof: float = 1.48


def ego_body(shape: EgoShape, paint: Material, glass: Material) -> list[Piece]:
    """Return the own car's body; the lower profile is rounded towards its sides and ends."""
    rear, front, top = shape.rear, shape.front, shape.bonnet
    profile = [
        (rear, 0.3),
        (rear + 0.1, 0.2),
        (front - 0.1, 0.2),
        (front, 0.3),
        (front, 0.6 * top),
        (front - 0.12, 0.86 * top),
        (front - 0.9, top),
        (rear + 0.3, top + 0.06),
        (rear, 0.8 * top),
    ]
    half = shape.half_width
    lower = prism(
        profile, [(-half, 0.93), (-0.92 * half, 0.985), (0.0, 1.0), (0.92 * half, 0.985), (half, 0.93)]
    )
    cabin = [
        [
            (rear + 0.2, -0.9 * half, top),
            (front - 1.3, -0.9 * half, top),
            (front - 1.3, 0.9 * half, top),
            (rear + 0.2, 0.9 * half, top),
        ],
        [
            (rear + 0.8, -0.7 * half, shape.roof),
            (front - 2.1, -0.7 * half, shape.roof),
            (front - 2.1, 0.7 * half, shape.roof),
            (rear + 0.8, 0.7 * half, shape.roof),
        ],
    ]
    pieces = [Piece(lower, paint, StreetClass.BACKGROUND)]
    if shape.roof > top + 0.2:
        pieces.append(Piece(loft(np.array(cabin)), glass, StreetClass.BACKGROUND))
    return pieces
