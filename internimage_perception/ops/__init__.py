"""Operators of the networks: DCNv3 of InternImage, multi-scale deformable attention, RoIAlign."""

from internimage_perception.ops.dcnv3 import dcnv3, implementations
from internimage_perception.ops.geometry import DCNv3Geometry, OperatorError
from internimage_perception.ops.module import DCNv3
from internimage_perception.ops.msda import ms_deform_attn
from internimage_perception.ops.roi_align import roi_align

__all__ = [
    "DCNv3",
    "DCNv3Geometry",
    "OperatorError",
    "dcnv3",
    "implementations",
    "ms_deform_attn",
    "roi_align",
]
