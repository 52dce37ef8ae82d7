"""Labelled and unlabelled pictures behind one interface, for training and evaluation."""

from internimage_perception.data.datasets.dataset import Dataset
from internimage_perception.data.datasets.label_map import LabelMap
from internimage_perception.data.datasets.label_map_file import load_label_map, shipped_label_maps
from internimage_perception.data.datasets.registry import (
    dataset_kinds,
    load_dataset,
    open_dataset,
    register_dataset,
)

__all__ = [
    "Dataset",
    "LabelMap",
    "dataset_kinds",
    "load_dataset",
    "load_label_map",
    "open_dataset",
    "register_dataset",
    "shipped_label_maps",
]
