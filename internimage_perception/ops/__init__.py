"""Operators of the networks: DCNv3, the deformable convolution of InternImage."""

from internimage_perception.ops.dcnv3 import dcnv3, implementations
from internimage_perception.ops.geometry import DCNv3Geometry, OperatorError
from internimage_perception.ops.module import DCNv3

__all__ = ["DCNv3", "DCNv3Geometry", "OperatorError", "dcnv3", "implementations"]
