"""Networks: InternImage backbone, segmentation heads, and the graph that is deployed."""

from internimage_perception.models.config import InternImageConfig, SegmentorConfig
from internimage_perception.models.internimage import InternImage
from internimage_perception.models.registry import create_model, load_config, model_names
from internimage_perception.models.segmentor import Segmentor

__all__ = [
    "InternImage",
    "InternImageConfig",
    "Segmentor",
    "SegmentorConfig",
    "create_model",
    "load_config",
    "model_names",
]
