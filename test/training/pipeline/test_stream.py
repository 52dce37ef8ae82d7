import pickle
from dataclasses import replace

import numpy as np
import pytest

from internimage_perception.data.datasets import open_dataset
from internimage_perception.data.sample import ObjectLabel, Regions
from internimage_perception.errors import ConfigError, DatasetError
from internimage_perception.training.pipeline import SampleStream, build_pipeline
from internimage_perception.training.pipeline.stream import Source


class Listed:
    """Samples of a list; errors among them are raised."""

    classes = tuple(f"class {number}" for number in range(13))
    description = "a list"

    def __init__(self, items, names):
        self._items, self.names = items, names

    def __len__(self):
        return len(self._items)

    def __getitem__(self, index):
        item = self._items[index]
        if isinstance(item, Exception):
            raise item
        return item


def listed(*items):
    return Listed(items, [f"item {number}" for number in range(len(items))])


def stream_of(dataset, *operations, **options):
    source = Source("source 0 (list)", dataset, build_pipeline(operations))
    return SampleStream([source], None, options.pop("seed", 0), **options)


def same(one, other):
    return (
        one.sample.name == other.sample.name
        and np.array_equal(one.sample.image, other.sample.image)
        and np.array_equal(one.sample.labels, other.sample.labels)
        and one.failures == other.failures
    )


def test_a_number_gives_the_same_bytes_whatever_was_asked_before(picture_folders):
    operations = [
        {"op": "resize", "ratio": [0.5, 2.0]},
        {"op": "crop", "size": [40, 30]},
        {"op": "photometric"},
    ]
    dataset = open_dataset(picture_folders(7))
    stream = stream_of(dataset, *operations, seed=4)
    forwards = [stream[number] for number in range(30)]
    other = pickle.loads(pickle.dumps(stream_of(dataset, *operations, seed=4)))
    for number in reversed(range(30)):
        assert same(other[number], forwards[number])
    another_seed = stream_of(dataset, *operations, seed=5)
    assert not all(same(another_seed[number], forwards[number]) for number in range(30))
    # The same picture is another one in the next epoch.
    first = forwards[0].sample
    again = next(item.sample for item in forwards[7:14] if item.sample.name == first.name)
    assert not np.array_equal(first.image, again.image)


def test_what_cannot_be_used_is_replaced_and_reported(sample):
    named = [replace(sample, name=f"item {number}", objects=None) for number in range(6)]
    too_high = replace(named[4], labels=np.full_like(sample.labels, 40))
    items = [
        named[0],
        DatasetError("the file is damaged"),
        replace(named[2], labels=None),
        named[3],
        too_high,
    ]
    wrong_camera = replace(named[5], camera=replace(sample.camera, width=300))
    stream = stream_of(listed(*items, wrong_camera), {"op": "distort", "config": {"vignette": [0, 0]}})
    drawn = [stream[number] for number in range(60)]
    assert {item.sample.name for item in drawn} == {"item 0", "item 3"}
    failures = {failure for item in drawn for failure in item.failures}
    reasons = {failure.name: failure.reason for failure in failures}
    assert len(failures) == 4
    assert {failure.dataset for failure in failures} == {"source 0 (list)"}
    assert reasons["item 1"] == "the file is damaged"
    assert reasons["item 2"] == "it has no labels"
    assert "hold 40, but there are 13 classes" in reasons["item 4"]
    assert reasons["item 5"].startswith("distort: item 5: the picture is 96x64")
    again = stream_of(listed(*items, wrong_camera), {"op": "distort", "config": {"vignette": [0, 0]}})
    assert all(same(again[number], drawn[number]) for number in (59, 3, 30))
    # Replacements do not favour a sample.
    replaced = [item.sample.name for item in drawn if item.failures]
    assert min(replaced.count(name) for name in ("item 0", "item 3")) > 7


def test_twenty_failures_in_a_row_end_it():
    stream = stream_of(listed(*[DatasetError(f"damage {number}") for number in range(3)]))
    with pytest.raises(DatasetError, match="none of 20 samples in a row") as caught:
        stream[5]
    for number in range(3):
        assert f"item {number}: damage {number}" in str(caught.value)
    assert str(caught.value).count("damage") == 20


def test_errors_of_the_program_are_not_failures_of_samples():
    with pytest.raises(ZeroDivisionError):
        stream_of(listed(ZeroDivisionError()))[0]


def test_unlabelled_samples_say_where_the_scene_is(sample):
    regions = Regions.none(64, 96)
    regions.ego_body[50:] = True
    plain = replace(sample, labels=None, objects=None, regions=regions)
    stream = stream_of(
        listed(plain, replace(plain, labels=sample.labels)), {"op": "crop", "size": [100, 70]}, labelled=False
    )
    for number in range(4):
        labels = stream[number].sample.labels
        assert (labels[:50, :96] == 0).all()
        assert (labels[50:] == 255).all()
        assert (labels[:, 96:] == 255).all()


def test_the_student_sees_the_same_places_in_other_colours(sample):
    student = build_pipeline([{"op": "colour"}])
    stream = stream_of(listed(sample), {"op": "crop", "size": [40, 30]}, labelled=False, student=student)
    for number in range(5):
        drawn = stream[number]
        assert drawn.student_image.shape == drawn.sample.image.shape
        assert not np.array_equal(drawn.student_image, drawn.sample.image)
        grey = [image.mean(axis=2).reshape(-1) for image in (drawn.student_image, drawn.sample.image)]
        assert np.corrcoef(grey)[0, 1] > 0.98
    assert stream_of(listed(sample))[0].student_image is None


def test_objects_are_left_out(sample):
    assert isinstance(sample.objects[0], ObjectLabel)
    assert stream_of(listed(sample))[0].sample.objects is None


def test_a_stream_needs_datasets_and_a_share_for_each(sample):
    source = Source("s", listed(sample), build_pipeline([]))
    for sources, shares in (([], None), ([source], [1.0, 2.0])):
        with pytest.raises(ConfigError, match="one or more datasets"):
            SampleStream(sources, shares, 0)


def test_datasets_that_are_read_in_runs_are_read_in_runs(sample):
    dataset = listed(*[replace(sample, name=f"item {number}") for number in range(12)])
    dataset.run_length = 4
    names = [stream_of(dataset)[number].sample.name for number in range(12)]
    numbers = [int(name.split()[1]) for name in names]
    assert sorted(numbers) == list(range(12))
    assert all(
        numbers[start : start + 4] == list(range(numbers[start], numbers[start] + 4)) for start in (0, 4, 8)
    )
