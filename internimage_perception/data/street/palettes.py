"""Colours of things: what they usually look like, and, every so often, anything else.

Green leaves, dark asphalt and red brick are likely, never certain: each palette gives way to `any_color` in a
share of its draws, and shares its greys and earth tones with the others. How much colour tells is measured by
`bench/street_color_baseline.py`.
"""

from collections.abc import Callable

import numpy as np

from internimage_perception.data.street.materials import Color, any_color, grey, ground_color, hsv

Rng = np.random.Generator
Palette = Callable[[Rng], Color]


def _usually(share: float, usual: Palette, otherwise: Palette = any_color) -> Palette:
    def draw(rng: Rng) -> Color:
        return usual(rng) if rng.random() < share else otherwise(rng)

    return draw


def _band(
    hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float], weight: float = 1.0
) -> tuple[float, Palette]:
    return weight, lambda rng: hsv(rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value))


def _one_of(*bands: tuple[float, Palette]) -> Palette:
    ends = np.cumsum([weight for weight, _ in bands])

    def draw(rng: Rng) -> Color:
        return bands[int(np.searchsorted(ends, rng.uniform(0.0, ends[-1])))][1](rng)

    return draw


_GREY = (0.0, 1.0)
_WOOD = _band((0.04, 0.10), (0.25, 0.6), (0.25, 0.65))
_DARK_GREEN = _band((0.33, 0.45), (0.3, 0.7), (0.12, 0.35))
_BLACK = _band(_GREY, (0.0, 0.1), (0.05, 0.22))

asphalt = _usually(0.88, _one_of(_band((0.0, 0.7), (0.0, 0.09), (0.2, 0.5))), ground_color)
"""Of carriageways: dark to middling greys."""

paving = _usually(
    0.9,
    _one_of(
        _band((0.03, 0.14), (0.05, 0.24), (0.5, 0.85), 3.0),
        _band((0.0, 0.05), (0.25, 0.5), (0.4, 0.7), 2.0),
    ),
    ground_color,
)
"""Of pavements: light slabs, reddish bricks."""

kerb = _usually(0.9, _one_of(_band(_GREY, (0.0, 0.08), (0.5, 0.9))), ground_color)

cycle_lane = _usually(
    0.7, _one_of(_band((0.0, 0.04), (0.35, 0.65), (0.35, 0.65)), _band((0.3, 0.45), (0.25, 0.5), (0.3, 0.6)))
)

leaf = _usually(
    0.95,
    _one_of(
        _band((0.19, 0.33), (0.25, 0.62), (0.2, 0.6), 8.0),
        _band((0.03, 0.17), (0.3, 0.75), (0.25, 0.7), 2.0),
    ),
)
"""Of plants: greens, dry and autumnal tones."""

facade = _usually(
    0.85,
    _one_of(
        _band((0.0, 0.05), (0.3, 0.6), (0.35, 0.65)),
        _band((0.07, 0.14), (0.08, 0.4), (0.55, 0.92), 2.0),
        _band(_GREY, (0.0, 0.06), (0.4, 0.9)),
    ),
)
"""Of walls: brick, plaster, concrete."""

roof = _usually(
    0.85,
    _one_of(_band((0.0, 0.05), (0.35, 0.7), (0.3, 0.6)), _band((0.5, 0.7), (0.0, 0.15), (0.15, 0.4))),
)

fence = _usually(0.82, _one_of(_WOOD, _DARK_GREEN, _BLACK, _band(_GREY, (0.0, 0.05), (0.85, 0.97))))

metal = _usually(0.8, _one_of(_band((0.5, 0.65), (0.0, 0.08), (0.35, 0.65), 3.0), _DARK_GREEN, _BLACK))
"""Of poles: galvanised, dark green, black."""

light_housing = _usually(
    0.85,
    _one_of(_band(_GREY, (0.0, 0.1), (0.05, 0.2), 2.0), _band((0.12, 0.15), (0.6, 0.9), (0.6, 0.85))),
)

sign_back = _usually(0.9, lambda rng: grey(rng, 0.35, 0.6))

car_paint = _usually(
    0.85,
    _one_of(
        _band(_GREY, (0.0, 0.03), (0.85, 0.98), 2.5),
        _band(_GREY, (0.0, 0.1), (0.06, 0.2), 2.2),
        _band((0.5, 0.65), (0.0, 0.08), (0.4, 0.75), 2.5),
        _band((0.55, 0.66), (0.5, 0.85), (0.3, 0.65), 1.2),
        _band((0.97, 1.02), (0.6, 0.9), (0.35, 0.7), 1.2),
    ),
)

cloth_above = _usually(
    0.6,
    _one_of(
        _band(_GREY, (0.0, 0.4), (0.06, 0.3), 2.0),
        _band((0.55, 0.68), (0.3, 0.7), (0.15, 0.5)),
        _band(_GREY, (0.0, 0.06), (0.75, 0.95)),
        _band(_GREY, (0.5, 0.9), (0.4, 0.8)),
    ),
)
cloth_below = _usually(
    0.75,
    _one_of(
        _band((0.57, 0.67), (0.25, 0.6), (0.15, 0.5), 2.0),
        _band(_GREY, (0.0, 0.15), (0.06, 0.25), 2.0),
        _band((0.07, 0.13), (0.2, 0.45), (0.35, 0.65)),
    ),
)
cyclist_above = _usually(
    0.5,
    _one_of(
        _band((0.15, 0.2), (0.7, 0.95), (0.75, 0.98)),
        _band((0.04, 0.07), (0.8, 0.95), (0.8, 0.98)),
    ),
    cloth_above,
)
"""Of what cyclists wear: every second of them yellow or orange for safety."""

_WHITE, _INK = (0.0, 0.0, 0.92), (0.0, 0.0, 0.06)
_SIGNS: tuple[tuple[tuple[float, float, float], ...], ...] = (
    ((0.99, 0.88, 0.75), _WHITE, _INK),
    ((0.99, 0.88, 0.75), _WHITE, (0.99, 0.88, 0.7)),
    (_WHITE, (0.6, 0.85, 0.7), _WHITE),
    ((0.6, 0.85, 0.65), (0.6, 0.85, 0.65), _WHITE),
    (_WHITE, (0.99, 0.88, 0.7), _WHITE),
    (_INK, (0.13, 0.85, 0.95), _INK),
    (_WHITE, (0.4, 0.8, 0.5), _WHITE),
    ((0.99, 0.88, 0.75), (0.6, 0.85, 0.65), (0.99, 0.88, 0.75)),
)
"""Hue, saturation and display value of rim, face and symbol."""


def sign_colors(rng: Rng) -> tuple[Color, Color, Color]:
    """Draw rim, face and symbol of a sign: mostly as on roads, faded; one in six in any three colours."""
    if rng.random() < 1.0 / 6.0:
        return any_color(rng), any_color(rng), any_color(rng)
    chosen = _SIGNS[int(rng.integers(len(_SIGNS)))]
    hue, fade, light = rng.normal(0.0, 0.015), rng.uniform(0.65, 1.0), rng.uniform(0.75, 1.0)
    rim, face, symbol = (hsv(h + hue, s * fade, v * light) for h, s, v in chosen)
    return rim, face, symbol
