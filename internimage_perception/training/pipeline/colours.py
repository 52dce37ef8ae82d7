"""`photometric` and `colour`: light and colours changed, pixel by pixel."""

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.sample import Bytes, Sample
from internimage_perception.training.pipeline.checks import check_number, check_range

Rng = np.random.Generator
Singles = npt.NDArray[np.float32]

_HUES = 180
"""Hues of OpenCV's 8-bit HSV."""


@dataclass(frozen=True, kw_only=True)
class Photometric:
    """Brightness, contrast, saturation and hue as in mmsegmentation's PhotoMetricDistortion (SSD's, 2016).

    Each is changed with the probability 1/2; contrast, by the toss of a coin, before or after saturation and
    hue. Values are cut to 0 to 255 after each step.

    Attributes:
        brightness: is added, plus or minus up to this.
        contrast: lowest and highest factor on all values.
        saturation: lowest and highest factor on the saturation.
        hue: is added to OpenCV's hue, of which 180 are a turn, plus or minus up to this.

    Raises:
        ConfigError: a value out of range.
    """

    brightness: float = 32.0
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: int = 18

    def __post_init__(self) -> None:
        check_number("brightness", self.brightness, 0.0, 255.0)
        check_range("contrast", self.contrast, 0.0, 10.0)
        check_range("saturation", self.saturation, 0.0, 10.0)
        check_number("hue", self.hue, 0, _HUES // 2)

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Return the sample with another image."""
        values = np.arange(256, dtype=np.float32)
        if rng.random() < 0.5:
            values = _cut(values + np.float32(rng.uniform(-self.brightness, self.brightness)))
        late = rng.random() < 0.5
        factor = rng.uniform(*self.contrast) if rng.random() < 0.5 else 1.0
        if not late:
            values = _cut(values * np.float32(factor))
        image = _looked_up(sample.image, values)
        saturation = rng.uniform(*self.saturation) if rng.random() < 0.5 else 1.0
        # As officially: from -hue to hue - 1.
        hue = int(rng.integers(-self.hue, max(self.hue, 1 - self.hue))) if rng.random() < 0.5 else 0
        if saturation != 1.0 or hue:
            image = _recoloured(image, saturation, hue)
        if late:
            image = _looked_up(image, _cut(np.arange(256, dtype=np.float32) * np.float32(factor)))
        return dataclasses.replace(sample, image=image)


@dataclass(frozen=True, kw_only=True)
class Colour:
    """Mild changes of light and colours, all at once, for pictures that vary already.

    Attributes:
        saturation: distances from grey are changed by a factor of up to 1 plus or minus this.
        tint: so is each of red, green and blue.
        light: so are all three together.
        offset: is added to all, plus or minus up to this.

    Raises:
        ConfigError: a value out of range.
    """

    saturation: float = 0.3
    tint: float = 0.05
    light: float = 0.15
    offset: float = 8.0

    def __post_init__(self) -> None:
        for name in ("saturation", "tint", "light"):
            check_number(name, getattr(self, name), 0.0, 1.0)
        check_number("offset", self.offset, 0.0, 255.0)

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Return the sample with another image."""
        grey = np.full((3, 3), 1.0 / 3.0)
        matrix = grey + (np.eye(3) - grey) * (1.0 + rng.uniform(-self.saturation, self.saturation))
        matrix *= (1.0 + rng.uniform(-self.tint, self.tint, 3))[:, np.newaxis]
        matrix *= 1.0 + rng.uniform(-self.light, self.light)
        offset = np.full((3, 1), rng.uniform(-self.offset, self.offset))
        image = cv2.transform(sample.image, np.concatenate([matrix, offset], axis=1).astype(np.float32))
        return dataclasses.replace(sample, image=np.asarray(image, np.uint8))


def _cut(values: Singles) -> Singles:
    """Return values as whole numbers that a pixel can have."""
    return np.floor(np.clip(values, 0.0, 255.0))


def _looked_up(image: Bytes, values: Singles) -> Bytes:
    table = values.astype(np.uint8)
    if np.array_equal(table, np.arange(256)):
        return image
    return np.asarray(cv2.LUT(image, table), np.uint8)


def _recoloured(image: Bytes, saturation: float, hue: int) -> Bytes:
    tables = np.tile(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3)
    tables[:, 0] = (np.arange(256) + hue) % _HUES
    tables[:, 1] = _cut(np.arange(256, dtype=np.float32) * np.float32(saturation)).astype(np.uint8)
    hsv = cv2.LUT(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)), tables[np.newaxis])
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
