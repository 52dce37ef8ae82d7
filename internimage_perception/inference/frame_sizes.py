"""`FrameSizes`: which sizes of frames a backend takes, and what to do about others."""

from collections.abc import Mapping
from dataclasses import dataclass

from internimage_perception.errors import BackendError
from internimage_perception.geometry import CameraModel
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.export_spec import Range


@dataclass(frozen=True, slots=True)
class FrameSizes:
    """Sizes of frames, and who takes no others.

    Attributes:
        height: (least, usual, most) rows, in pixels.
        width: (least, usual, most) columns, in pixels.
        taker: who takes them, such as "the export /models/street".
        remedy: what makes one for other sizes, to be followed by the options --height and --width.
        fixed_remedy: another way out, offered where only one size is taken.
    """

    height: Range
    width: Range
    taker: str
    remedy: str = "export the bundle anew"
    fixed_remedy: str = "or with --dynamic for cameras of several sizes"

    @classmethod
    def of_export(cls, bundle: Bundle) -> "FrameSizes | None":
        """Return what the bundle was exported for, the same for every backend; None: frames of any size."""
        spec = bundle.export
        return None if spec is None else cls(spec.height, spec.width, f"the export {bundle.root}")

    @property
    def fixed(self) -> bool:
        """Whether one size only is taken."""
        return self.height[0] == self.height[2] and self.width[0] == self.width[2]

    def take(self, height: int, width: int) -> bool:
        """Return whether frames of this size are taken."""
        rows, columns = self.height, self.width
        return rows[0] <= height <= rows[2] and columns[0] <= width <= columns[2]

    def check(self, height: int, width: int) -> None:
        """Raise BackendError for frames of a size that is not taken."""
        if not self.take(height, width):
            raise BackendError(self.refusal(height, width))

    def refusal(self, height: int, width: int) -> str:
        """Return the sentence for frames that are not taken: which are, and what to do."""
        return (
            f"images of {width}x{height} pixels (width x height) do not fit {self.taker}, which takes "
            f"{self}; {self._remedy(height, width)}"
        )

    def misfits(self, lenses: Mapping[str, CameraModel]) -> str | None:
        """Return a warning that names the cameras calibrated for sizes that are not taken; None without any.

        It proves nothing: a calibration holds for the same lens at any resolution.
        """
        wrong = {name: lens for name, lens in lenses.items() if not self.take(lens.height, lens.width)}
        if not wrong:
            return None
        names = ", ".join(f"{name} ({lens.width}x{lens.height})" for name, lens in wrong.items())
        first = next(iter(wrong.values()))
        return (
            f"calibrated for images that do not fit {self.taker}, which takes {self}: {names}; images of "
            f"these sizes get no mask. If the cameras send them, {self._remedy(first.height, first.width)}"
        )

    def __str__(self) -> str:
        """Return one phrase for people, such as "640x480" or "widths 320 to 1920 and heights 240 to 1440"."""
        if self.fixed:
            return f"{self.width[2]}x{self.height[2]}"
        return f"widths {_span(self.width)} and heights {_span(self.height)}"

    def _remedy(self, height: int, width: int) -> str:
        if self.fixed and self.fixed_remedy:
            return f"{self.remedy} with --height {height} --width {width}, {self.fixed_remedy}"
        rows, columns = _widened(self.height, height), _widened(self.width, width)
        return f"{self.remedy} with --height {rows} --width {columns}"


def _span(span: Range) -> str:
    return str(span[2]) if span[0] == span[2] else f"{span[0]} to {span[2]}"


def _widened(span: Range, value: int) -> str:
    """Return the range that holds `value` too, as commands take it."""
    least, usual, most = span
    return f"{min(least, value)}:{usual}:{max(most, value)}"
