"""Samples made ready for training: operations, endless streams of them, and batches by several processes."""

from internimage_perception.training.pipeline.loading import Batch, StepBatches, batches
from internimage_perception.training.pipeline.operation import (
    Operation,
    Pipeline,
    build_pipeline,
    operation_names,
    register_operation,
)
from internimage_perception.training.pipeline.sources import open_sources
from internimage_perception.training.pipeline.stream import Drawn, Failure, SampleStream

__all__ = [
    "Batch",
    "Drawn",
    "Failure",
    "Operation",
    "Pipeline",
    "SampleStream",
    "StepBatches",
    "batches",
    "build_pipeline",
    "open_sources",
    "operation_names",
    "register_operation",
]
