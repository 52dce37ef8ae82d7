"""`DistortionAugmentation`: a labelled picture as another lens would take it."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from internimage_perception.data.distortion.backgrounds import Background, BackgroundBank
from internimage_perception.data.distortion.config import DistortionConfig
from internimage_perception.data.distortion.draw import Draw, draw, draw_views
from internimage_perception.data.distortion.objects import warped_objects
from internimage_perception.data.distortion.optics import with_optics
from internimage_perception.data.distortion.resample import warped_image
from internimage_perception.data.distortion.warp_map import WarpMap, warp_map
from internimage_perception.data.distortion.warps import CameraWarp
from internimage_perception.data.sample import Bytes, Regions, Sample
from internimage_perception.errors import ConfigError

DrawSample = Callable[[np.random.Generator], Sample]
"""Draws a sample of a dataset."""


@dataclass(frozen=True)
class Augmented:
    """An augmented sample and how it came about.

    Attributes:
        sample: the answer.
        drawn: lens, pose and light.
        background: name of the frame behind it; empty: none.
        views: names of further pictures, and where they are seen.
    """

    sample: Sample
    drawn: Draw
    background: str
    views: tuple[tuple[str, CameraWarp], ...] = ()


class DistortionAugmentation:
    """Takes samples through another lens: picture, labels, objects, intrinsics and regions by one map.

    Labels and masks take the nearest pixel of the source and are never mixed; pixels without one get the
    labels that the configuration names for the reason. The same sample and random numbers give the same
    bytes.

    Args:
        config: what to draw from.
        backgrounds: frames of the target's camera: their pixels are taken where the lens or the source shows
            nothing, and their ego body hides what is behind.
    """

    def __init__(
        self, config: DistortionConfig | None = None, backgrounds: BackgroundBank | None = None
    ) -> None:
        self.config = config if config is not None else DistortionConfig()
        self.backgrounds = backgrounds

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return the sample through a lens drawn with `rng`.

        Its camera is that lens (None for the division model), its regions say why pixels have no label; they
        do not overlap.

        Raises:
            ConfigError: the sample's camera does not fit its picture, or no lens fits the configuration.
        """
        return self.augment(sample, rng).sample

    def augment(
        self, sample: Sample, rng: np.random.Generator, another: DrawSample | None = None
    ) -> Augmented:
        """Return the sample as `__call__` does, with what was drawn.

        Args:
            sample: the sample.
            rng: random numbers.
            another: draws one of the samples that may be beside it, see `DistortionConfig.views`; labelled if
                it is, and without objects, as it must be then.

        Raises:
            ConfigError: as `__call__`, or other samples are missing or do not go with this one.
        """
        others = self._others(sample, rng, another)
        drawn = draw(self.config, sample, rng)
        number = (
            self.backgrounds.choose(sample.name, self.config.backgrounds, rng) if self.backgrounds else None
        )
        placed = warp_map(drawn.warp)
        behind = None
        if self.backgrounds is not None and number is not None:
            behind = self.backgrounds.fitted(number, drawn.warp.width, drawn.warp.height)
        image = warped_image(sample.image, placed, self.config.interpolation, self.config.image_fill)
        regions = _regions(sample, placed, behind)
        labels = self._labels(sample.labels, placed, regions)
        shown = placed.inside
        warps = draw_views(self.config, drawn, others, rng) if others else []
        for other, warp in zip(others, warps, strict=True):
            regions = self._fill(other, warp_map(warp), image, labels, regions)
        if others:
            shown = shown | ~regions.anywhere
        if drawn.vignette or drawn.blur_px:
            image = with_optics(
                image, placed.eccentricity, shown, vignette=drawn.vignette, blur_px=drawn.blur_px
            )
        if behind is not None:
            uncovered = ~shown | behind.regions.outside_lens | behind.regions.ego_body
            cv2.copyTo(behind.image, uncovered.view(np.uint8), image)
        objects = None
        if sample.objects is not None:
            hidden = regions.outside_lens | regions.ego_body
            objects = warped_objects(sample.objects, placed, hidden, self.config.min_visible)
        warped = dataclasses.replace(
            sample,
            image=image,
            labels=labels,
            objects=objects,
            camera=drawn.warp.target if isinstance(drawn.warp, CameraWarp) else None,
            regions=regions,
        )
        views = tuple(zip((other.name for other in others), warps, strict=True))
        return Augmented(warped, drawn, behind.name if behind is not None else "", views)

    def _others(self, sample: Sample, rng: np.random.Generator, another: DrawSample | None) -> list[Sample]:
        if not self.config.views:
            return []
        if another is None:
            raise ConfigError("views need other samples of a dataset")
        others = [another(rng) for _ in range(self.config.views)]
        if any(
            item.objects is not None or (item.labels is None) != (sample.labels is None)
            for item in (sample, *others)
        ):
            raise ConfigError(f"{sample.name}: further views need labels for all or none, and no objects")
        return others

    def _fill(
        self, other: Sample, placed: WarpMap, image: Bytes, labels: Bytes | None, regions: Regions
    ) -> Regions:
        """Write a further view where none shows anything yet; returns the regions that are left."""
        own = _regions(other, placed, None)
        new = regions.no_source & ~own.no_source & ~own.ego_body
        cv2.copyTo(
            warped_image(other.image, placed, self.config.interpolation, self.config.image_fill),
            new.view(np.uint8),
            image,
        )
        if labels is not None and other.labels is not None:
            moved = placed.nearest(other.labels, self.config.no_source_label)
            labels[new] = moved[new]
        return Regions(regions.outside_lens, regions.ego_body, regions.no_source & ~new)

    def _labels(self, labels: Bytes | None, placed: WarpMap, regions: Regions) -> Bytes | None:
        if labels is None:
            return None
        moved = placed.nearest(labels, self.config.no_source_label)
        moved[regions.no_source] = self.config.no_source_label
        moved[regions.ego_body] = self.config.ego_label
        moved[regions.outside_lens] = self.config.outside_label
        return moved


def _regions(sample: Sample, placed: WarpMap, behind: Background | None) -> Regions:
    """Return why pixels of the target have no label: first the lens, then the own body, then the source."""
    outside, missing = placed.outside_lens, ~placed.inside
    ego = np.zeros_like(missing)
    if sample.regions is not None:
        unseen = sample.regions.outside_lens | sample.regions.no_source
        missing |= placed.nearest(unseen.view(np.uint8), 1) > 0
        ego |= placed.nearest(np.ascontiguousarray(sample.regions.ego_body).view(np.uint8), 0) > 0
    if behind is not None:
        outside = outside | behind.regions.outside_lens
        ego |= behind.regions.ego_body
    ego &= ~outside
    return Regions(outside, ego, missing & ~outside & ~ego)
