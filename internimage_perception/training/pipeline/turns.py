"""`flip` and `rotate`: pictures mirrored and turned."""

import math
from dataclasses import dataclass

import numpy as np

from internimage_perception.training.pipeline.checks import check_colour, check_number
from internimage_perception.training.pipeline.placement import MEAN_COLOUR, Placement, PlaceOperation

Rng = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Flip(PlaceOperation):
    """Exchanges left and right.

    Attributes:
        probability: of doing so.

    Raises:
        ConfigError: a value out of range.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_number("probability", self.probability, 0.0, 1.0)

    def place(self, placement: Placement, rng: Rng) -> Placement:
        """See `PlaceOperation`."""
        return placement.mirrored() if rng.random() < self.probability else placement


@dataclass(frozen=True, kw_only=True)
class Rotate(PlaceOperation):
    """Turns about the middle by a normally distributed angle; the size stays.

    Attributes:
        degrees: standard deviation of the angle.
        fill: colour beyond the picture, (r, g, b).

    Raises:
        ConfigError: a value out of range.
    """

    degrees: float = 2.0
    fill: tuple[int, int, int] = MEAN_COLOUR

    def __post_init__(self) -> None:
        check_number("degrees", self.degrees, 0.0, 180.0)
        check_colour("fill", self.fill)

    def place(self, placement: Placement, rng: Rng) -> Placement:
        """See `PlaceOperation`."""
        return placement.turned(math.radians(float(rng.normal(0.0, self.degrees))), self.fill)
