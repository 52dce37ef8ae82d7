"""The one thing every backend can do: turn images into the deployed graph's outputs."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import BackendError
from internimage_perception.inference.bundle import CLASSIFICATION, SEGMENTATION, Bundle
from internimage_perception.inference.frame_sizes import FrameSizes

Images = npt.NDArray[np.uint8]
# What type an output has depends on the task, see `Backend.run`.
Outputs = dict[str, npt.NDArray[Any]]

_OUTPUTS: Mapping[str, tuple[str, str]] = {
    SEGMENTATION: ("class_ids", "confidence"),
    CLASSIFICATION: ("class_ids", "probabilities"),
}


class Backend(Protocol):
    """A deployed graph ready to run.

    Attributes:
        name: what reports call it, such as "onnxruntime-cpu".
        prefers_batch: cameras of equal size are worth stacking into one call.
        frame_sizes: the frames it takes, which an export fixes; None: any size.
    """

    name: str
    prefers_batch: bool
    frame_sizes: FrameSizes | None

    def run(self, images: Images) -> Outputs:
        """Run on uint8 (N, H, W, 3) in the bundle's channel order.

        Returns for segmentation "class_ids" and "confidence", each uint8 (N, h, w) at the bundle's output
        size; for classification "class_ids", int32, and "probabilities", float32, each (N, k) with the best
        of the k = min(`RANKS`, classes) first. Raises BackendError.
        """
        ...


def check_images(images: Images) -> None:
    """Raise BackendError for anything but uint8 images (N, H, W, 3)."""
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not images.size:
        message = f"images must be uint8 (N, H, W, 3), got {images.dtype} {images.shape}"
        raise BackendError(message)


def output_names(bundle: Bundle) -> tuple[str, str]:
    """Return the names of the graph's outputs. Raises BackendError for a task that no graph is known for."""
    if bundle.task not in _OUTPUTS:
        message = f"bundle {bundle.root} is for {bundle.task}; backends run {' and '.join(_OUTPUTS)}"
        raise BackendError(message)
    return _OUTPUTS[bundle.task]
