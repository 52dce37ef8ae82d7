"""`distort`, `composite` and `relabel`: other lenses, frames laid over pictures, labels of the unseen."""

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from internimage_perception.data.distortion import BackgroundBank, DistortionAugmentation, config_from_dict
from internimage_perception.data.distortion.augmentation import DrawSample
from internimage_perception.data.distortion.background_files import load_backgrounds
from internimage_perception.data.distortion.objects import warped_objects
from internimage_perception.data.distortion.warp_map import warp_map
from internimage_perception.data.sample import IGNORED, Bools, Regions, Sample
from internimage_perception.errors import ConfigError
from internimage_perception.training.pipeline.checks import check_number
from internimage_perception.training.pipeline.moved import AffineWarp
from internimage_perception.training.pipeline.placement import Placement

Rng = np.random.Generator

_LABELS = ("outside_label", "ego_label", "no_source_label")


@dataclass(frozen=True, kw_only=True)
class Distort:
    """Takes pictures through another lens: `DistortionAugmentation`, see docs/augmentation.md.

    Attributes:
        preset: of the configuration.
        config: keys of the configuration in place of the preset's.
        backgrounds: folder of the target camera's frames, read when the operation is made.
        probability: of doing so; other samples stay as they are.

    Raises:
        ConfigError: an unknown key or preset, or a value out of range.
        DatasetError: the backgrounds cannot be used.
    """

    preset: str = "fisheye"
    config: Mapping[str, Any] = field(default_factory=dict)
    backgrounds: Path | None = None
    probability: float = 1.0
    _augmentation: DistortionAugmentation = field(init=False, repr=False, compare=False)
    _another: DrawSample | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_number("probability", self.probability, 0.0, 1.0)
        bank = None if self.backgrounds is None else load_backgrounds(self.backgrounds)
        augmentation = DistortionAugmentation(config_from_dict(self.config, self.preset), bank)
        object.__setattr__(self, "_augmentation", augmentation)

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Return the sample through a drawn lens. Raises ConfigError for a sample that no lens fits."""
        if rng.random() >= self.probability:
            return sample
        return self._augmentation.augment(sample, rng, self._another).sample

    def bound(self, another: DrawSample) -> "Distort":
        """Return the operation with a dataset's other samples at hand, for `views`."""
        own = copy.copy(self)
        object.__setattr__(own, "_another", another)
        return own

    @property
    def written_labels(self) -> dict[str, int]:
        """Class ids of pixels that show nothing of the source."""
        return {name: getattr(self._augmentation.config, name) for name in _LABELS}


@dataclass(frozen=True, kw_only=True)
class Composite:
    """Lays frames of the target's camera over pictures, where those show its rim and its own vehicle.

    What `distort` does with its backgrounds, without any warp.

    Attributes:
        backgrounds: folder of the frames, read when the operation is made; see docs/augmentation.md.
        choice: "random" draws one, "suffix" takes the one that the number at the end of the sample's name
            says, modulo their count.
        outside_label: class id where the frame's lens sends no light.
        ego_label: class id on the own vehicle's body.
        min_visible: objects of which a smaller share stays visible are dropped.
        probability: of doing so; other samples stay as they are.

    Raises:
        ConfigError: a value out of range.
        DatasetError: the backgrounds cannot be used.
    """

    backgrounds: Path
    choice: Literal["random", "suffix"] = "random"
    outside_label: int = IGNORED
    ego_label: int = IGNORED
    min_visible: float = 0.25
    probability: float = 1.0
    _bank: BackgroundBank = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in _LABELS[:2]:
            check_number(name, getattr(self, name), 0, IGNORED)
        for name in ("min_visible", "probability"):
            check_number(name, getattr(self, name), 0.0, 1.0)
        object.__setattr__(self, "_bank", load_backgrounds(self.backgrounds))

    def __call__(self, sample: Sample, rng: Rng) -> Sample:
        """Return the sample behind a frame."""
        if rng.random() >= self.probability:
            return sample
        height, width = sample.image.shape[:2]
        frame = self._bank.fitted(self._bank.choose(sample.name, self.choice, rng), width, height)
        outside, ego = frame.regions.outside_lens, frame.regions.ego_body
        labels, objects = sample.labels, sample.objects
        if labels is not None:
            labels = labels.copy()
            labels[ego] = self.ego_label
            labels[outside] = self.outside_label
        if objects is not None:
            as_it_is = warp_map(AffineWarp.of(Placement.of(sample).grid))
            objects = warped_objects(objects, as_it_is, outside | ego, self.min_visible)
        image = sample.image.copy()
        cv2.copyTo(frame.image, (outside | ego).view(np.uint8), image)
        regions = _with_frame(sample.regions or Regions.none(height, width), outside, ego)
        return dataclasses.replace(sample, image=image, labels=labels, objects=objects, regions=regions)

    @property
    def written_labels(self) -> dict[str, int]:
        """Class ids of pixels that the frames hide."""
        return {name: getattr(self, name) for name in _LABELS[:2]}


@dataclass(frozen=True, kw_only=True)
class Relabel:
    """Gives pixels that do not show the scene a class id, for the reason that is known of them.

    Attributes:
        outside_label: where the lens sends no light; None: they keep theirs.
        ego_label: on the own vehicle's body; None: they keep theirs.
        no_source_label: where a warped or filled-up picture shows nothing; None: they keep theirs.

    Raises:
        ConfigError: a value out of range, or none given.
    """

    outside_label: int | None = None
    ego_label: int | None = None
    no_source_label: int | None = None

    def __post_init__(self) -> None:
        if not self.written_labels:
            raise ConfigError(f"give one or more of {', '.join(_LABELS)}")
        for name, label in self.written_labels.items():
            check_number(name, label, 0, IGNORED)

    def __call__(self, sample: Sample, rng: Rng) -> Sample:  # noqa: ARG002 - the interface of all operations
        """Return the sample with other labels where its regions are known."""
        if sample.labels is None or sample.regions is None:
            return sample
        labels = sample.labels.copy()
        regions = sample.regions
        for mask, label in (
            (regions.no_source, self.no_source_label), (regions.ego_body, self.ego_label),
            (regions.outside_lens, self.outside_label),
        ):  # fmt: skip
            if label is not None:
                labels[mask] = label
        return dataclasses.replace(sample, labels=labels)

    @property
    def written_labels(self) -> dict[str, int]:
        """The class ids that are given."""
        return {name: value for name in _LABELS if (value := getattr(self, name)) is not None}


def _with_frame(regions: Regions, outside: Bools, ego: Bools) -> Regions:
    """Return regions that do not overlap: first the lenses, then the bodies, then what has no source."""
    outside = regions.outside_lens | outside
    ego = (regions.ego_body | ego) & ~outside
    return Regions(outside, ego, regions.no_source & ~outside & ~ego)
