"""`DistortionAugmentation`: a labelled picture as another lens would take it."""

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np

from internimage_perception.data.distortion.backgrounds import Background, BackgroundBank
from internimage_perception.data.distortion.config import DistortionConfig
from internimage_perception.data.distortion.draw import Draw, draw
from internimage_perception.data.distortion.objects import warped_objects
from internimage_perception.data.distortion.optics import with_optics
from internimage_perception.data.distortion.resample import warped_image
from internimage_perception.data.distortion.warp_map import WarpMap, warp_map
from internimage_perception.data.distortion.warps import CameraWarp
from internimage_perception.data.sample import Bytes, Regions, Sample


@dataclass(frozen=True)
class Augmented:
    """An augmented sample and how it came about.

    Attributes:
        sample: the answer.
        drawn: lens, pose and light.
        background: name of the frame behind it; empty: none.
    """

    sample: Sample
    drawn: Draw
    background: str


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

    def augment(self, sample: Sample, rng: np.random.Generator) -> Augmented:
        """Return the sample as `__call__` does, with what was drawn."""
        drawn = draw(self.config, sample, rng)
        number = (
            self.backgrounds.choose(sample.name, self.config.backgrounds, rng) if self.backgrounds else None
        )
        placed = warp_map(drawn.warp)
        behind = None
        if self.backgrounds is not None and number is not None:
            behind = self.backgrounds.fitted(number, drawn.warp.width, drawn.warp.height)
        image = warped_image(sample.image, placed, self.config.interpolation, self.config.image_fill)
        if drawn.vignette or drawn.blur_px:
            image = with_optics(
                image, placed.eccentricity, placed.inside, vignette=drawn.vignette, blur_px=drawn.blur_px
            )
        if behind is not None:
            uncovered = ~placed.inside | behind.regions.outside_lens | behind.regions.ego_body
            cv2.copyTo(behind.image, uncovered.view(np.uint8), image)
        regions = _regions(sample, placed, behind)
        objects = None
        if sample.objects is not None:
            hidden = regions.outside_lens | regions.ego_body
            objects = warped_objects(sample.objects, placed, hidden, self.config.min_visible)
        warped = dataclasses.replace(
            sample,
            image=image,
            labels=self._labels(sample.labels, placed, regions),
            objects=objects,
            camera=drawn.warp.target if isinstance(drawn.warp, CameraWarp) else None,
            regions=regions,
        )
        return Augmented(warped, drawn, behind.name if behind is not None else "")

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
