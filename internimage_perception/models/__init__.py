"""Networks: InternImage backbone, segmentation heads, weights, and the graph that is deployed."""

from internimage_perception.models.checkpoints import load_checkpoint, load_weights, save_checkpoint
from internimage_perception.models.classifier import Classifier
from internimage_perception.models.config import ClassifierConfig, InternImageConfig, SegmentorConfig
from internimage_perception.models.deployed import DeployedClassification, DeployedSegmentation, deploy_model
from internimage_perception.models.internimage import InternImage
from internimage_perception.models.registry import create_model, load_config, model_names
from internimage_perception.models.segmentor import Segmentor
from internimage_perception.models.streaming import load_large_model

__all__ = [
    "Classifier",
    "ClassifierConfig",
    "DeployedClassification",
    "DeployedSegmentation",
    "InternImage",
    "InternImageConfig",
    "Segmentor",
    "SegmentorConfig",
    "create_model",
    "deploy_model",
    "load_checkpoint",
    "load_config",
    "load_large_model",
    "load_weights",
    "model_names",
    "save_checkpoint",
]
