"""`ExportSpec`: what an exported bundle's graphs were made for, as `model.yaml` keeps it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from internimage_perception.errors import BundleError

FP32 = "fp32"
FP16 = "fp16"
INT8 = "int8"
PRECISIONS = (FP32, FP16, INT8)

LARGEST_SIDE = 16384
"""Most rows or columns of a frame, in pixels."""
LARGEST_BATCH = 4096

Range = tuple[int, int, int]
Fail = Callable[[str, str], BundleError]


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """How a bundle was exported.

    Attributes:
        precision: "fp32", "fp16" or "int8".
        batch: (least, usual, most) frames of one call; three equal values: fixed.
        height: (least, usual, most) rows of the frames the graph takes, in pixels.
        width: (least, usual, most) columns of the frames the graph takes, in pixels.
        agreement: per output, what the check against PyTorch found: names of figures to values.
    """

    precision: str
    batch: Range
    height: Range
    width: Range
    agreement: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def fixed(self) -> bool:
        """Whether the graph takes frames of one shape only."""
        return all(least == most for least, _, most in (self.batch, self.height, self.width))

    def takes(self, count: int, height: int, width: int) -> bool:
        """Return whether the graph was made for `count` frames of this size."""
        sides = ((self.batch, count), (self.height, height), (self.width, width))
        return all(least <= value <= most for (least, _, most), value in sides)

    def to_dict(self) -> dict[str, object]:
        """Return the manifest's section `export` as plain values."""
        return {
            "precision": self.precision,
            "batch": list(self.batch),
            "height": list(self.height),
            "width": list(self.width),
            "agreement": {name: dict(figures) for name, figures in self.agreement.items()},
        }


def read_export(value: object, fail: Fail) -> ExportSpec:
    """Return the section `export` of a manifest.

    Args:
        value: what the manifest holds there.
        fail: makes the error of a field and what is wrong with it.

    Raises:
        BundleError: made by `fail`.
    """
    if not isinstance(value, dict):
        raise fail("export", "is not a table of fields")
    known = ("precision", "batch", "height", "width", "agreement")
    if unknown := [key for key in value if key not in known]:
        raise fail(f"export.{unknown[0]}", f"is unknown (known: {', '.join(known)})")
    precision = value.get("precision")
    if precision not in PRECISIONS:
        raise fail("export.precision", f"is {precision!r}; one of {', '.join(PRECISIONS)} is needed")
    return ExportSpec(
        precision=str(precision),
        batch=_range("batch", value.get("batch"), LARGEST_BATCH, fail),
        height=_range("height", value.get("height"), LARGEST_SIDE, fail),
        width=_range("width", value.get("width"), LARGEST_SIDE, fail),
        agreement=_agreement(value.get("agreement", {}), fail),
    )


def _range(name: str, value: object, largest: int, fail: Fail) -> Range:
    name = f"export.{name}"
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 3:
        raise fail(name, f"is {value!r}; three whole numbers are needed: least, usual, most")
    numbers = [item for item in value if isinstance(item, int) and not isinstance(item, bool)]
    if len(numbers) != 3 or not 1 <= numbers[0] <= numbers[1] <= numbers[2] <= largest:
        raise fail(name, f"is {value!r}; three whole numbers from 1 to {largest} are needed, none falling")
    return numbers[0], numbers[1], numbers[2]


def _agreement(value: object, fail: Fail) -> dict[str, dict[str, float]]:
    if not isinstance(value, dict) or not all(isinstance(figures, dict) for figures in value.values()):
        raise fail("export.agreement", "is not a table of outputs and their figures")
    found: dict[str, dict[str, float]] = {}
    for output, figures in value.items():
        for figure, number in figures.items():
            if not isinstance(number, (int, float)) or isinstance(number, bool) or math.isnan(number):
                raise fail(f"export.agreement.{output}.{figure}", f"is {number!r}, not a number")
        found[str(output)] = {str(figure): float(number) for figure, number in figures.items()}
    return found
