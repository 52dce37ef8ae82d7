"""The one thing every backend can do: turn images into the deployed graph's outputs."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Outputs = dict[str, npt.NDArray[np.uint8]]


class Backend(Protocol):
    """A deployed graph ready to run.

    Attributes:
        name: what reports call it, such as "onnxruntime-cpu".
        prefers_batch: cameras of equal size are worth stacking into one call.
    """

    name: str
    prefers_batch: bool

    def run(self, images: Images) -> Outputs:
        """Run on uint8 (N, H, W, 3) in the bundle's channel order.

        Returns "class_ids" and "confidence", each uint8 (N, h, w) at the bundle's output size.
        Raises BackendError.
        """
        ...
