"""Tileable noise: the textures of a street, of other families for held-out streets than for training."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from internimage_perception.data.street.seeds import Split, stream

Singles = npt.NDArray[np.float32]

LAYERS = 6
"""Noise textures of a street."""
SIDE = 256
"""Texels of a texture along each side; one more row and column repeat the first for interpolation."""


def atlas(split: Split, seed: int) -> Singles:
    """Return the textures of a street, float32 (LAYERS * (SIDE + 1), SIDE + 1, 2).

    The first channel is brightness, the second hue; both have mean 0 and standard deviation 1, and lie
    within -2.5 to 2.5. Textures come from a pool per split of 48, from which the seed chooses.
    """
    rng = stream(split, seed, 1)
    tiles = [_texture(split, int(index)) for index in rng.choice(48, LAYERS, replace=False)]
    return np.concatenate(tiles)


@lru_cache(maxsize=96)
def _texture(split: Split, index: int) -> Singles:
    rng = stream(split, index, 2)
    family = _FAMILIES[split][index % len(_FAMILIES[split])]
    channels = [_normalised(family(rng)), _normalised(_spectral(rng, 1.6, 1.0))]
    tile = np.stack(channels, axis=-1).astype(np.float32)
    return np.pad(tile, ((0, 1), (0, 1), (0, 0)), mode="wrap")


def _normalised(values: Singles) -> Singles:
    centred = (values - values.mean()) / max(float(values.std()), 1e-6)
    return np.asarray(np.clip(centred, -2.5, 2.5), np.float32)


def _spectral(rng: np.random.Generator, falloff: float, stretch: float) -> Singles:
    """Return noise whose amplitude falls with frequency to the power `falloff`, stretched along u."""
    white = np.fft.rfft2(rng.standard_normal((SIDE, SIDE)))
    fy, fx = np.fft.fftfreq(SIDE)[:, np.newaxis] * SIDE, np.fft.rfftfreq(SIDE)[np.newaxis] * SIDE
    radius = np.hypot(fy, fx * stretch)
    radius[0, 0] = np.inf
    return np.fft.irfft2(white / np.maximum(radius, 2.0) ** falloff, (SIDE, SIDE)).astype(np.float32)


def _cloudy(rng: np.random.Generator) -> Singles:
    return _spectral(rng, rng.uniform(0.7, 1.8), 1.0)


def _streaky(rng: np.random.Generator) -> Singles:
    return _spectral(rng, rng.uniform(0.8, 1.4), rng.uniform(2.0, 5.0))


def _speckled(rng: np.random.Generator) -> Singles:
    fine = _normalised(_spectral(rng, rng.uniform(0.2, 0.6), 1.0))
    return np.where(fine > rng.uniform(0.4, 1.2), fine, 0.3 * fine).astype(np.float32)


def _ridged(rng: np.random.Generator) -> Singles:
    return np.asarray(-np.abs(_normalised(_spectral(rng, rng.uniform(1.0, 1.6), 1.0))), np.float32)


def _terraced(rng: np.random.Generator) -> Singles:
    levels = _normalised(_spectral(rng, rng.uniform(0.9, 1.6), rng.uniform(0.5, 1.6))) * rng.uniform(1.0, 2.0)
    return np.asarray(np.round(levels) + 0.3 * levels, np.float32)


def _banded(rng: np.random.Generator) -> Singles:
    """Return broad noise that modulates fine noise, as moss or wear does."""
    broad = _normalised(_spectral(rng, rng.uniform(1.4, 2.0), 1.0))
    result: Singles = (
        broad * _normalised(_spectral(rng, rng.uniform(0.3, 0.8), rng.uniform(0.6, 1.7))) + 0.4 * broad
    )
    return result


_FAMILIES: dict[Split, tuple[Callable[[np.random.Generator], Singles], ...]] = {
    "train": (_cloudy, _streaky, _speckled),
    "test": (_ridged, _terraced, _banded),
}
