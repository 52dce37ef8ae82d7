"""Materials: two colours in a repeating pattern, under noise. Colours are linear reflectances, 0 to 1.

Palettes of different classes overlap on purpose: grey is asphalt, concrete, paint, cloth and bark alike.
"""

import colorsys
import dataclasses
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from internimage_perception.data.street.noise import LAYERS

Color = tuple[float, float, float]
Rng = np.random.Generator

_BLACK: Color = (0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Material:
    """How a surface looks; lengths are metres in the surface's own coordinates (u, v).

    Attributes:
        color: of the ground.
        pattern_color: inside the pattern's rectangles.
        period_u: distance between rectangles along u.
        period_v: along v.
        low_u: where a rectangle begins, as a share of the period.
        high_u: where it ends; not above `low_u` means no pattern.
        low_v: likewise along v.
        high_v: likewise along v.
        shift: share of `period_u` by which every other row is moved, as in brickwork.
        grain: repetitions of the noise per metre.
        grain_amount: of fine noise.
        blotch_amount: of the same noise, eleven times larger in extent.
        tint_amount: of noise in hue.
        layer: which noise texture.
        gloss: share of the sky mirrored at grazing angles.
        glow: light of its own.
    """

    color: Color
    pattern_color: Color = _BLACK
    period_u: float = 1.0
    period_v: float = 1.0
    low_u: float = 0.0
    high_u: float = 0.0
    low_v: float = 0.0
    high_v: float = 1.0
    shift: float = 0.0
    grain: float = 0.3
    grain_amount: float = 0.1
    blotch_amount: float = 0.1
    tint_amount: float = 0.03
    layer: int = 0
    gloss: float = 0.0
    glow: float = 0.0

    def row(self) -> list[float]:
        """Return the numbers in the order of `COLUMNS`."""
        return [*self.color, *self.pattern_color, *_scalars(self)]


_SCALARS = tuple(field.name for field in dataclasses.fields(Material))[2:]
_scalars = attrgetter(*_SCALARS)
COLUMNS = {name: 6 + index for index, name in enumerate(_SCALARS)}
"""Where a material's scalar stands in its row; 0-2 are `color`, 3-5 `pattern_color`."""


def hsv(hue: float, saturation: float, value: float) -> Color:
    """Return the linear colour of a display colour given by hue, saturation and value."""
    r, g, b = (part**2.2 for part in colorsys.hsv_to_rgb(hue % 1.0, saturation, value))
    return r, g, b


def any_color(rng: Rng) -> Color:
    """Draw from what people paint and wear: greys, earth tones, some greens, some strong colours."""
    kind = rng.random()
    if kind < 0.45:
        return grey(rng)
    if kind < 0.70:
        return hsv(rng.uniform(0.02, 0.14), rng.uniform(0.1, 0.55), rng.uniform(0.25, 0.9))
    if kind < 0.82:
        return hsv(rng.uniform(0.18, 0.45), rng.uniform(0.1, 0.5), rng.uniform(0.2, 0.8))
    if kind < 0.92:
        return hsv(rng.uniform(0.5, 0.7), rng.uniform(0.1, 0.6), rng.uniform(0.25, 0.9))
    return hsv(rng.random(), rng.uniform(0.4, 0.9), rng.uniform(0.3, 0.9))


def grey(rng: Rng, low: float = 0.15, high: float = 0.92) -> Color:
    """Draw a grey, slightly tinted, of display value `low` to `high`."""
    return hsv(rng.random(), rng.uniform(0.0, 0.10), rng.uniform(low, high))


def ground_color(rng: Rng) -> Color:
    """Draw the colour of a paved surface: mostly grey, sometimes reddish, greenish or sandy."""
    if rng.random() < 0.72:
        return hsv(rng.uniform(0.0, 0.7), rng.uniform(0.0, 0.10), rng.uniform(0.22, 0.75))
    return hsv(rng.uniform(0.0, 0.35), rng.uniform(0.08, 0.3), rng.uniform(0.3, 0.75))


def plain(rng: Rng, color: Color, *, strength: float = 1.0, gloss: float = 0.0) -> Material:
    """Return `color` under noise of random scale and kind."""
    return Material(
        color=color,
        grain=float(np.exp(rng.uniform(np.log(0.15), np.log(2.5)))),
        grain_amount=strength * rng.uniform(0.02, 0.16),
        blotch_amount=strength * rng.uniform(0.0, 0.15),
        tint_amount=strength * rng.uniform(0.0, 0.06),
        layer=int(rng.integers(LAYERS)),
        gloss=gloss,
    )


def patterned(
    rng: Rng, base: Material, color: Color, period: tuple[float, float], size: tuple[float, float],
    shift: float = 0.0,
) -> Material:  # fmt: skip
    """Return `base` with rectangles of `color`: `size` is their share of the `period` along u and v."""
    margin_u, margin_v = (1.0 - size[0]) / 2, (1.0 - size[1]) * rng.uniform(0.35, 0.65)
    return dataclasses.replace(
        base, pattern_color=color, period_u=period[0], period_v=period[1], low_u=margin_u,
        high_u=margin_u + size[0], low_v=margin_v, high_v=margin_v + size[1], shift=shift,
    )  # fmt: skip


def table(materials: list[Material]) -> npt.NDArray[np.float32]:
    """Return the rows of materials, float32 (n, 6 + scalars)."""
    return np.array([material.row() for material in materials], np.float32)
