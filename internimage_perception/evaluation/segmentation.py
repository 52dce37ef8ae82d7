"""How well masks agree with the truth: over the set, per class, per camera, per ring of viewing angle."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from internimage_perception.evaluation.confusion import ConfusionMatrix, Counts, Ids, count_pixels
from internimage_perception.evaluation.rings import NO_RING, RINGS, ring_map
from internimage_perception.inference.lens import LensMasks
from internimage_perception.inference.results import INVALID_ID

# Pixels are counted in groups: one per ring, then those of cameras without a lens, then those not scored.
_RINGLESS = len(RINGS)
_UNSCORED = _RINGLESS + 1
_GROUPS = _UNSCORED + 1


@dataclass(frozen=True, slots=True)
class FrameScore:
    """One image's share: its own mIoU over all classes and accuracy (NaN without pixels), pixels scored."""

    camera: str
    stamp_ns: int
    miou: float
    accuracy: float
    pixels: int


@dataclass(slots=True)
class _Camera:
    counts: Counts
    ignored: int = 0
    frames: list[FrameScore] = field(default_factory=list)
    sizes: dict[str, set[tuple[int, int]]] = field(
        default_factory=lambda: {"image": set(), "mask": set(), "truth": set()}
    )


class SegmentationScore:
    """Compares masks with truth, image by image, and sums up.

    A pixel is scored where the truth has a class, at the truth's resolution, and the lens sees something,
    both at that resolution and at the mask's. Everything else is counted as ignored (truth 255) or unscored
    (outside the lens, ego body). 255 in a mask where the lens does see is a miss.

    Args:
        classes: names of the classes, in the order of their ids.
        lenses: what the lenses see, and where they look; None scores every labelled pixel, without rings.
    """

    def __init__(self, classes: Sequence[str], lenses: LensMasks | None = None) -> None:
        self._classes = tuple(classes)
        self._lenses = lenses or LensMasks()
        self._cameras: dict[str, _Camera] = {}
        self._groups: dict[tuple[str, tuple[int, ...], tuple[int, ...]], Ids] = {}

    @property
    def frames(self) -> list[FrameScore]:
        """Scores of the single images, in the order they were added, camera by camera."""
        return [frame for camera in self._cameras.values() for frame in camera.frames]

    def add(
        self,
        camera: str,
        stamp_ns: int,
        class_ids: npt.NDArray[np.uint8],
        truth: npt.NDArray[np.uint8],
        image_hw: tuple[int, int],
    ) -> FrameScore:
        """Score one mask.

        Args:
            camera: name of the camera.
            stamp_ns: the image's stamp, nanoseconds.
            class_ids: the mask, uint8 (h, w), covering the whole image; 255 where nothing is answered.
            truth: uint8 (h, w) of any size, covering the whole image; 255 where nothing is labelled.
            image_hw: (rows, columns) of the image.

        Raises:
            CalibrationError: the lens was calibrated for images of another shape.
            ValueError: an id that is no class.
        """
        num_classes = len(self._classes)
        known = self._cameras.get(camera)
        if known is None:
            counts = np.zeros((_GROUPS, num_classes, num_classes + 1), np.int64)
            known = self._cameras[camera] = _Camera(counts)
        groups = self._group_map(camera, class_ids.shape, truth.shape, image_hw)
        answers = nearest(class_ids, truth.shape[1], truth.shape[0])
        counts = count_pixels(truth, answers, num_classes, groups, _GROUPS)
        known.counts += counts
        known.ignored += truth.size - int(counts.sum())
        known.sizes["image"].add(image_hw)
        known.sizes["mask"].add((class_ids.shape[0], class_ids.shape[1]))
        known.sizes["truth"].add((truth.shape[0], truth.shape[1]))
        matrix = ConfusionMatrix(num_classes, counts[:_UNSCORED].sum(axis=0))
        frame = FrameScore(camera, stamp_ns, matrix.miou(), matrix.accuracy(), matrix.pixels)
        known.frames.append(frame)
        return frame

    def matrix(self, camera: str | None = None, ring: str | None = None) -> ConfusionMatrix:
        """Return the confusion matrix of the set, or of one camera, one ring, or both."""
        groups = slice(0, _UNSCORED) if ring is None else slice(RINGS.index(ring), RINGS.index(ring) + 1)
        chosen = [item for name, item in self._cameras.items() if camera in (None, name)]
        matrix = ConfusionMatrix(len(self._classes))
        for item in chosen:
            matrix.counts += item.counts[groups].sum(axis=0)
        return matrix

    def summary(self) -> dict[str, object]:
        """Return the numbers as plain values; what is not defined (NaN) is None. See docs/evaluation.md."""
        whole = self.matrix()
        rows = zip(
            self._classes, whole.iou(), whole.precision(), whole.recall(), whole.truth_pixels(),
            whole.answered_pixels(), strict=True,
        )  # fmt: skip
        return {
            **self._score(whole),
            "per_ring": {ring: self._score(self.matrix(ring=ring)) for ring in RINGS},
            "per_camera": {name: self._camera(name, item) for name, item in self._cameras.items()},
            "classes": [
                {
                    "id": index, "name": name, "iou": _plain(iou), "precision": _plain(precision),
                    "recall": _plain(recall), "truth_pixels": int(true), "answered_pixels": int(answered),
                }
                for index, (name, iou, precision, recall, true, answered) in enumerate(rows)
            ],
            "confusion": whole.counts.tolist(),
            "pixels": {
                "scored": whole.pixels,
                "unscored": sum(int(item.counts[_UNSCORED].sum()) for item in self._cameras.values()),
                "ignored": sum(item.ignored for item in self._cameras.values()),
                "unanswered": int(whole.counts[:, -1].sum()),
            },
        }  # fmt: skip

    def _camera(self, name: str, item: _Camera) -> dict[str, object]:
        return {
            **self._score(self.matrix(name)),
            "frames": len(item.frames),
            "resolutions": {
                kind: [f"{width}x{height}" for height, width in sorted(sizes)]
                for kind, sizes in item.sizes.items()
            },
            "per_ring": {ring: self._score(self.matrix(name, ring)) for ring in RINGS}
            if name in self._lenses.models
            else None,
        }

    def _score(self, matrix: ConfusionMatrix) -> dict[str, object]:
        count = matrix.num_classes
        # The two means that the DACON classes go by; other sets of classes have but their own.
        miou12 = matrix.miou(range(12)) if count in (12, 13) else math.nan
        miou13 = matrix.miou() if count == 13 else math.nan
        return {
            "miou": _plain(matrix.miou()),
            "miou12": _plain(miou12),
            "miou13": _plain(miou13),
            "accuracy": _plain(matrix.accuracy()),
            "scored_pixels": matrix.pixels,
            "per_class": dict(zip(self._classes, map(_plain, matrix.iou()), strict=True)),
        }

    def _group_map(
        self, camera: str, mask_hw: tuple[int, ...], truth_hw: tuple[int, ...], image_hw: tuple[int, int]
    ) -> Ids:
        key = (camera, (*mask_hw, *image_hw), truth_hw)
        if (known := self._groups.get(key)) is not None:
            return known
        height, width = truth_hw
        groups = np.full((height, width), _RINGLESS, np.uint8)
        if (model := self._lenses.models.get(camera)) is not None:
            rings = ring_map(model, width, height)
            groups = np.where(rings == NO_RING, np.uint8(_UNSCORED), rings)
        for rows, columns in ((height, width), (mask_hw[0], mask_hw[1])):
            blind = self._lenses.blind(camera, image_hw, (rows, columns))
            if blind is not None:
                groups[nearest(blind, width, height) == INVALID_ID] = _UNSCORED
        self._groups[key] = groups
        return groups


def nearest(ids: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return `ids` at another size: each pixel takes the id of the pixel its centre lies in."""
    rows, columns = ids.shape
    if (rows, columns) == (height, width):
        return ids
    # floor((i + 0.5) * rows / height) in whole numbers, which rounding cannot shift.
    v = (2 * np.arange(height) + 1) * rows // (2 * height)
    u = (2 * np.arange(width) + 1) * columns // (2 * width)
    return np.asarray(ids.take(v, axis=0).take(u, axis=1), np.uint8)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
