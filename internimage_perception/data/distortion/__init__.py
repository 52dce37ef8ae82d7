"""Pictures as other lenses would take them, with labels, boxes, outlines and intrinsics."""

from internimage_perception.data.distortion.augmentation import Augmented, DistortionAugmentation
from internimage_perception.data.distortion.backgrounds import Background, BackgroundBank, visible_regions
from internimage_perception.data.distortion.config import DistortionConfig
from internimage_perception.data.distortion.presets import PRESETS, config_from_dict

__all__ = [
    "PRESETS",
    "Augmented",
    "Background",
    "BackgroundBank",
    "DistortionAugmentation",
    "DistortionConfig",
    "config_from_dict",
    "visible_regions",
]
