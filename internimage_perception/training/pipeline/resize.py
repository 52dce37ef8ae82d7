"""`resize`: pictures at another size."""

import math
from dataclasses import dataclass

import numpy as np

from internimage_perception.errors import ConfigError
from internimage_perception.models.inference_modes import EvaluationMode
from internimage_perception.training.pipeline.checks import check_number, check_range, check_size
from internimage_perception.training.pipeline.placement import Placement, PlaceOperation

Rng = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Resize(PlaceOperation):
    """Resizes to fit, or to a size, times a factor drawn uniformly; proportions may vary.

    Attributes:
        scale: longest and shortest side that the picture is made to fit, its proportions kept, rounded as in
            the official evaluation; None, without `size` either: its own size.
        size: columns and rows instead, whatever the proportions.
        ratio: lowest and highest factor on scale or size.
        stretch: width and height are scaled apart by up to e to the power of this.

    Raises:
        ConfigError: a value out of range, or both scale and size.
    """

    scale: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    ratio: tuple[float, float] = (1.0, 1.0)
    stretch: float = 0.0

    def __post_init__(self) -> None:
        if self.scale is not None and self.size is not None:
            raise ConfigError("give scale (to fit in, proportions kept) or size (exact), not both")
        for name in ("scale", "size"):
            if (given := getattr(self, name)) is not None:
                check_size(name, given)
        check_range("ratio", self.ratio, 0.01, 100.0)
        check_number("stretch", self.stretch, 0.0, 3.0)

    def place(self, placement: Placement, rng: Rng) -> Placement:
        """See `PlaceOperation`."""
        ratio = float(rng.uniform(*self.ratio)) if self.ratio[0] < self.ratio[1] else self.ratio[0]
        if self.size is None:
            mode = EvaluationMode(scale=self.scale, ratios=(ratio,))
            height, width = (float(side) for side in mode.sizes((placement.height, placement.width))[0])
        else:
            width, height = (side * ratio for side in self.size)
        if self.stretch:
            wider = math.exp(float(rng.uniform(-self.stretch, self.stretch)) / 2.0)
            width, height = width * wider, height / wider
        return placement.scaled(max(1, round(width)), max(1, round(height)))
