"""What can be made of a `FrameSet`: segmentation now; detection and bird's-eye view take their place here."""

from internimage_perception.inference.tasks.segmentation import DecodedSet, SegmentationTask

__all__ = ["DecodedSet", "SegmentationTask"]
