"""The masks of a replay against their truth: what was compared, what could not be, the worst images."""

import heapq
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from internimage_perception.cli.replayed import Replayed, ReplayedMask
from internimage_perception.errors import BundleError, PerceptionError
from internimage_perception.evaluation.confusion import unknown_id
from internimage_perception.evaluation.figures import percent
from internimage_perception.evaluation.pictures import side_by_side
from internimage_perception.evaluation.segmentation import FrameScore, SegmentationScore
from internimage_perception.evaluation.truth import CLASSES_FOLDER, TruthFolder, read_truth
from internimage_perception.inference.bundle import Bundle

_MOST_LISTED = 100
_SECONDS_BETWEEN_LINES = 10.0


class Comparison:
    """Scores every mask of a replay that has truth.

    Args:
        replayed: the replay.
        truth: the labelled images.
        bundle: the model's classes.

    Raises:
        PerceptionError: no mask has truth, no labelled pixel can be scored, or a truth file or mask does not
            fit.
    """

    def __init__(self, replayed: Replayed, truth: TruthFolder, bundle: Bundle) -> None:
        self._replayed, self._truth, self._bundle = replayed, truth, bundle
        self.score = SegmentationScore([spec.name for spec in bundle.classes], replayed.lenses)
        self._scored: dict[tuple[str, int], int] = {}
        self._without_truth: dict[str, list[int]] = {}
        self._compare()
        if not self.score.frames:
            raise PerceptionError(self._nothing_scored())
        self.summary = self.score.summary()
        if not self.score.matrix().pixels:
            raise PerceptionError(
                f"{len(self.score.frames)} image(s) have truth, but no pixel of it can be scored: all are "
                f"unlabelled (255) or where the lens sees nothing: {self.summary['pixels']}"
            )
        self._without_mask = {
            source.name: sorted(set(truth.stamps(source.name)) - self._stamps(source.name))
            for source in replayed.sources
        }

    def _compare(self) -> None:
        total = sum(len(self._truth.stamps(source.name)) for source in self._replayed.sources)
        last = time.monotonic()
        for mask in self._replayed.masks():
            path = self._truth.path(mask.camera, mask.stamp_ns)
            if path is None:
                self._without_truth.setdefault(mask.camera, []).append(mask.stamp_ns)
                continue
            image_hw = self._replayed.image_hw[mask.camera]
            labels = read_truth(path, len(self._bundle.classes), image_hw)
            if (unknown := unknown_id(mask.class_ids, len(self._bundle.classes))) is not None:
                raise BundleError(
                    f"the mask of {mask.camera} at {mask.stamp_ns} ns holds id {unknown}, but bundle "
                    f"{self._bundle.root} lists the classes 0 to {len(self._bundle.classes) - 1}"
                )
            self.score.add(mask.camera, mask.stamp_ns, mask.class_ids, labels, image_hw)
            self._scored[mask.camera, mask.stamp_ns] = mask.receive_ns
            if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                print(f"{len(self._scored)} of {total} labelled images scored", file=sys.stderr)

    def _stamps(self, camera: str) -> set[int]:
        return {stamp for name, stamp in self._scored if name == camera}

    def _nothing_scored(self) -> str:
        places = ", ".join(str(root / CLASSES_FOLDER) for root in self._truth.roots)
        names = [item.name for item in self._replayed.sources]
        labelled = ", ".join(f"{name} ({len(self._truth.stamps(name))})" for name in self._truth.cameras)
        hint = "its files must be named after the images' stamps in nanoseconds"
        if not set(self._truth.cameras) & set(names):
            hint = "name the cameras alike, with --topics name=/topic or a rig file"
        return (
            f"no mask has truth in {places}: masks are of {', '.join(names)}, truth is of "
            f"{labelled or 'no camera'}; {hint}"
        )

    def worst(self, count: int) -> list[FrameScore]:
        """Return the `count` images of lowest mIoU, the worst first; images without a scored pixel never."""
        known = [frame for frame in self.score.frames if not math.isnan(frame.miou)]
        return heapq.nsmallest(count, known, key=lambda frame: frame.miou)

    def frames(self, worst: Sequence[FrameScore]) -> dict[str, object]:
        """Return how many masks were scored, which were not, and the scores of `worst`, as plain values."""
        return {
            "masks": len(self.score.frames) + sum(map(len, self._without_truth.values())),
            "scored": len(self.score.frames),
            "without_truth": _listed(self._without_truth),
            "truth_without_mask": _listed(self._without_mask),
            "worst": [
                {
                    "camera": item.camera, "stamp_ns": item.stamp_ns, "miou": item.miou,
                    "accuracy": item.accuracy, "scored_pixels": item.pixels,
                }
                for item in worst
            ],
        }  # fmt: skip

    def warnings(self) -> list[str]:
        """Return what a person should know, the replay's own warnings first."""
        said = self._replayed.report.get("warnings")
        lines = [str(line) for line in said] if isinstance(said, list) else []
        if not self._replayed.complete:
            lines.append(f"the replay in {self._replayed.folder} is a part: so is what the scores cover")
        for text, stamps in (
            ("mask(s) have no truth and are not scored", self._without_truth),
            ("labelled image(s) have no mask and are not scored", self._without_mask),
        ):
            parts = [f"{len(items)} of {camera}" for camera, items in stamps.items() if items]
            if parts:
                lines.append(f"{sum(map(len, stamps.values()))} {text}: {', '.join(parts)}")
        known = {item.name for item in self._replayed.sources}
        if strangers := [name for name in self._truth.cameras if name not in known]:
            lines.append(f"truth of cameras that the replay lacks is left out: {', '.join(strangers)}")
        if stray := self._truth.stray:
            lines.append(f"{len(stray)} truth file(s) are not named after a stamp, such as {stray[0]}")
        if unanswered := int(self.score.matrix().counts[:, -1].sum()):
            lines.append(
                f"{unanswered} pixels that the lens sees have no class in the masks: counted as misses"
            )
        return lines

    def pictures(self, worst: Sequence[FrameScore]) -> Iterator[tuple[str, bytes]]:
        """Yield caption and JPEG (image, truth, mask) of each of `worst`."""
        for item in worst:
            mask = self._mask_of(item)
            path = self._truth.path(item.camera, item.stamp_ns)
            image = self._replayed.image(mask) if mask is not None else None
            if mask is None or path is None or image is None:
                continue
            labels = read_truth(path, len(self._bundle.classes), self._replayed.image_hw[item.camera])
            seconds, nanoseconds = divmod(item.stamp_ns, 10**9)
            caption = (
                f"{item.camera}, {seconds}.{nanoseconds:09d}: mIoU {percent(item.miou)}, accuracy "
                f"{percent(item.accuracy)}"
            )
            yield caption, side_by_side(image, labels, mask.class_ids, self._bundle.classes)

    def _mask_of(self, item: FrameScore) -> ReplayedMask | None:
        masks = self._replayed.masks(item.camera, self._scored[item.camera, item.stamp_ns])
        return next((mask for mask in masks if mask.stamp_ns == item.stamp_ns), None)


def _listed(stamps: Mapping[str, Sequence[int]]) -> dict[str, object]:
    listed = {camera: list(items[:_MOST_LISTED]) for camera, items in stamps.items() if items}
    return {"count": sum(map(len, stamps.values())), "stamps_ns": listed}
