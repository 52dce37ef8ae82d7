"""The classification task: what the graph is handed, and what becomes of its answer."""

from pathlib import Path

import numpy as np
import pytest

from internimage_perception.errors import BackendError, BundleError
from internimage_perception.inference.backends import NullBackend
from internimage_perception.inference.backends.base import output_names
from internimage_perception.inference.bundle import Bundle, ClassSpec, InputSpec, OutputSpec
from internimage_perception.inference.resampling import resize_and_crop
from internimage_perception.inference.results import RankedClass
from internimage_perception.inference.tasks import ClassificationTask
from internimage_perception.models import deployed


def bundle(task="classification", classes=7):
    names = tuple(ClassSpec(index, f"name {index}") for index in range(classes))
    return Bundle(Path("x"), "t", task, {}, names, InputSpec(32, 48), OutputSpec())


class Recorder:
    """Answers what it was told, and keeps what it was asked."""

    name = "recorder"
    prefers_batch = False

    def __init__(self, ids, probabilities):
        self.asked = []
        self._answer = {"class_ids": np.int32([ids]), "probabilities": np.float32([probabilities])}

    def run(self, images):
        self.asked.append(images)
        return self._answer


def test_the_graph_is_handed_a_prepared_frame_of_its_own_size(recipe):
    backend = Recorder([4, 0], [0.75, 0.125])
    image = recipe.picture(90, 70, 1)
    answer = ClassificationTask(bundle(), backend).run(image)
    assert answer == (RankedClass(4, "name 4", 0.75), RankedClass(0, "name 0", 0.125))
    (frames,) = backend.asked
    assert frames.shape == (1, 32, 48, 3)
    np.testing.assert_array_equal(frames[0], resize_and_crop(image, 32, 48))


@pytest.mark.parametrize("ids", [[7, 0], [0, -1]])
def test_a_class_without_a_name_is_an_error(ids):
    with pytest.raises(BackendError, match=r"recorder answers classes .* has 7"):
        ClassificationTask(bundle(), Recorder(ids, [0.5, 0.5])).run(np.zeros((9, 9, 3), np.uint8))


def test_a_segmentation_bundle_is_refused():
    with pytest.raises(BundleError, match="is for segmentation, not for classification; `replay`"):
        ClassificationTask(bundle("segmentation"), Recorder([0], [1.0]))
    with pytest.raises(BackendError, match="is for detection; backends run segmentation and classification"):
        output_names(bundle("detection"))


@pytest.mark.parametrize(("classes", "ranks"), [(7, 5), (3, 3)])
def test_the_null_backend_answers_in_the_same_shape(classes, ranks):
    answer = NullBackend(bundle(classes=classes)).run(np.zeros((2, 32, 48, 3), np.uint8))
    assert answer["class_ids"].shape == answer["probabilities"].shape == (2, ranks)
    assert (answer["class_ids"].dtype, answer["probabilities"].dtype) == (np.int32, np.float32)
    assert deployed.RANKS == 5
