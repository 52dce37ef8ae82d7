"""The classification task: what a photograph most probably shows."""

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import BackendError
from internimage_perception.inference.backends import Backend
from internimage_perception.inference.bundle import CLASSIFICATION, Bundle
from internimage_perception.inference.resampling import resize_and_crop
from internimage_perception.inference.results import RankedClass

Image = npt.NDArray[np.uint8]


class ClassificationTask:
    """Ranks the classes of images.

    Images are prepared as in the official evaluation (`resampling.resize_and_crop`); the graph is handed a
    frame of its input's size, which its own resize leaves as it is.

    Args:
        bundle: the model; its task must be classification.
        backend: the bundle's graph, ready to run.

    Raises:
        BundleError: when the bundle is for another task.
    """

    name = CLASSIFICATION

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        bundle.require_task(self.name)
        self.bundle = bundle
        self.backend = backend

    def run(self, image: Image) -> tuple[RankedClass, ...]:
        """Return the classes that the graph ranks first, the best one first.

        Args:
            image: uint8 (h, w, 3) in the bundle's channel order.

        Raises:
            BackendError: the graph fails, or answers a class that the bundle has no name for.
        """
        size = self.bundle.input
        answer = self.backend.run(resize_and_crop(image, size.height, size.width)[None])
        names = self.bundle.classes
        ids = [int(index) for index in answer["class_ids"][0]]
        if not all(0 <= index < len(names) for index in ids):
            message = f"{self.backend.name} answers classes {ids}; bundle {self.bundle.root} has {len(names)}"
            raise BackendError(message)
        probabilities = answer["probabilities"][0]
        return tuple(
            RankedClass(index, names[index].name, float(probability))
            for index, probability in zip(ids, probabilities, strict=True)
        )
