"""`Profile`: which frames an engine takes, and how more frames than that become several calls."""

from collections.abc import Iterator
from dataclasses import dataclass

from internimage_perception.errors import BackendError
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.export_spec import Range

# Four surround cameras of common sizes. Memory is reserved for the most, so it is no more than that.
_BATCH: Range = (1, 4, 4)
_HEIGHT: Range = (16, 960, 1536)
_WIDTH: Range = (16, 1280, 2048)


@dataclass(frozen=True, slots=True)
class Profile:
    """Frames an engine takes: (least, usual, most) number, rows and columns; fastest at the usual."""

    batch: Range
    height: Range
    width: Range

    @property
    def fixed(self) -> bool:
        """Whether the engine takes frames of one shape only."""
        return all(least == most for least, _, most in (self.batch, self.height, self.width))

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Return the least, usual and most shape (N, H, W, 3)."""
        least, usual, most = (
            (self.batch[index], self.height[index], self.width[index], 3) for index in range(3)
        )
        return least, usual, most

    def calls(self, count: int) -> Iterator[tuple[int, int, int]]:
        """Yield for each call: its first frame, its number of frames, the batch it runs with.

        The batch is greater than the number where the engine takes no fewer; the rest is not looked at.
        """
        least, _, most = self.batch
        for first in range(0, count, most):
            number = min(most, count - first)
            yield first, number, max(number, least)

    def __str__(self) -> str:
        """Return one phrase for people, such as "1 to 4 frames, height 960, width 1280"."""
        number = f"{_span(self.batch)} frame" + ("s" if self.batch[2] > 1 else "")
        return f"{number}, height {_span(self.height)}, width {_span(self.width)}"


def profile_of(bundle: Bundle) -> Profile:
    """Return what the bundle was exported for; for one that was not: common cameras, up to four per call."""
    spec = bundle.export
    if spec is None:
        return Profile(_BATCH, _HEIGHT, _WIDTH)
    return Profile(spec.batch, spec.height, spec.width)


def chosen_profile(
    bundle: Bundle, *, batch: Range | None = None, height: Range | None = None, width: Range | None = None
) -> Profile:
    """Return the bundle's profile with some ranges chosen anew.

    Raises BackendError for a range that the bundle's graph was not exported for.
    """
    own = profile_of(bundle)
    chosen = Profile(batch or own.batch, height or own.height, width or own.width)
    if bundle.export is not None:
        for name in ("batch", "height", "width"):
            inner, outer = getattr(chosen, name), getattr(own, name)
            if inner[0] < outer[0] or inner[2] > outer[2]:
                message = (
                    f"{name} {_span(inner)} does not fit the export {bundle.root}, whose graph takes "
                    f"{_span(outer)}; export the model for it"
                )
                raise BackendError(message)
    return chosen


def _span(span: Range) -> str:
    least, usual, most = span
    if least == most:
        return str(most)
    return f"{least} to {most}" + (f" (best {usual})" if usual not in (least, most) else "")
