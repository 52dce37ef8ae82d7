"""What can be made of a `FrameSet` or an image; detection and bird's-eye view take their place here."""

from internimage_perception.inference.tasks.classification import ClassificationTask
from internimage_perception.inference.tasks.segmentation import DecodedSet, SegmentationTask

__all__ = ["ClassificationTask", "DecodedSet", "SegmentationTask"]
