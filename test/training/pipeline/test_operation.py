import pickle
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from internimage_perception.data.datasets.options import parameters
from internimage_perception.errors import ConfigError
from internimage_perception.training.config import DataConfig
from internimage_perception.training.pipeline import (
    Pipeline,
    build_pipeline,
    open_sources,
    operation_names,
    register_operation,
)
from internimage_perception.training.pipeline import operation as module
from internimage_perception.training.pipeline.placement import PlaceOperation


@dataclass(frozen=True)
class Darker:
    factor: float = 0.5

    def __call__(self, sample, rng):  # noqa: ARG002 - the interface
        if not sample.name:
            raise ConfigError("it has no name")
        return replace(sample, image=(sample.image * self.factor).astype(np.uint8))


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ({"op": "croop", "size": [4, 4]}, "no operation is called 'croop' (did you mean crop?)"),
        ({"size": [4, 4]}, "`op` is missing; known are colour, composite, crop"),
        ({"op": "crop", "sise": [4, 4]}, "crop: unknown option 'sise' (did you mean size?)"),
        ({"op": "crop"}, "crop: the option size is missing: a list of whole numbers"),
        ({"op": "crop", "size": [4]}, "crop: size is [4]; it must be 2 numbers"),
        ({"op": "crop", "size": [4, 4.5]}, "size must be a list of whole numbers, not [4, 4.5]"),
        ({"op": "crop", "size": [4, 0]}, "crop: size is 0; it must be from 1 to 32000"),
        ({"op": "flip", "probability": 1.5}, "flip: probability is 1.5; it must be from 0 to 1"),
        ({"op": "flip", "_bank": 1}, "flip: unknown option '_bank'"),
        ({"op": "resize", "scale": [4, 4], "size": [4, 4]}, "not both"),
        ({"op": "resize", "ratio": [2.0, 0.5]}, "resize: ratio is [2.0, 0.5]; the lowest number comes first"),
        ({"op": "distort", "preset": "fishy"}, "distort: unknown preset 'fishy'"),
        ({"op": "distort", "config": {"edge_degg": 3}}, "did you mean 'edge_deg'?"),
        ({"op": "distort", "_augmentation": 1}, "unknown option '_augmentation'"),
        ({"op": "relabel"}, "relabel: give one or more of outside_label"),
        ({"op": "relabel", "ego_label": 256}, "relabel: ego_label is 256"),
    ],
)
def test_wrong_operations_are_refused_in_words(operation, said):
    with pytest.raises(ConfigError) as caught:
        build_pipeline([{"op": "flip"}, operation], where="data.pipeline")
    assert str(caught.value).startswith("data.pipeline: ")
    assert said in str(caught.value)
    assert str(caught.value).count("data.pipeline") == 1


def test_ones_own_operations_have_names_and_options(sample, monkeypatch):
    monkeypatch.setattr(module, "_added", {})
    register_operation("darker", Darker)
    assert "darker" in operation_names()
    pipeline = build_pipeline([{"op": "darker", "factor": 0.25}])
    darker = pipeline(sample, np.random.default_rng(0))
    assert np.array_equal(darker.image, (sample.image * 0.25).astype(np.uint8))
    with pytest.raises(ConfigError, match="darker: it has no name"):
        pipeline(replace(sample, name=""), np.random.default_rng(0))
    with pytest.raises(ConfigError, match="called 'darker' already"):
        register_operation("darker", Darker)
    with pytest.raises(ConfigError, match="called 'crop' already"):
        register_operation("crop", Darker)


def test_neighbours_that_move_pixels_are_joined_to_the_same_labels_as_one_by_one(sample):
    steps = [
        {"op": "resize", "scale": [96, 64], "ratio": [0.7, 1.9]},
        {"op": "crop", "size": [40, 30]},
        {"op": "flip"},
    ]
    joined = build_pipeline(steps)
    singles = [build_pipeline([step]) for step in steps]
    assert all(isinstance(operation, PlaceOperation) for _, operation in joined.operations)
    for seed in range(20):
        together = joined(sample, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        apart = sample
        for single in singles:
            apart = single(apart, rng)
        assert np.array_equal(together.labels, apart.labels)
        assert all(np.array_equal(a, b) for a, b in zip(together.regions, apart.regions, strict=True))
        for one, other in zip(together.objects, apart.objects, strict=True):
            assert np.allclose(one.box, other.box, atol=1e-3)
            assert one.mask is other.mask is None or np.array_equal(one.mask, other.mask)
        off = np.abs(together.image.astype(int) - apart.image)
        # Interpolated in parts or in whole: rounding, and the border's neighbours.
        assert off[2:-2, 2:-2].max() <= 2
        for name in ("fx", "fy", "cx", "cy", "d"):
            assert getattr(together.camera, name) == pytest.approx(getattr(apart.camera, name))


def test_what_a_crop_cut_off_comes_back_instead_of_a_colour(sample):
    joined = build_pipeline([{"op": "crop", "size": [40, 30]}, {"op": "rotate", "degrees": 30.0}])
    turned = joined(sample, np.random.default_rng(4))
    alone = build_pipeline([{"op": "crop", "size": [40, 30]}])(sample, np.random.default_rng(4))
    assert turned.labels.shape == alone.labels.shape == (30, 40)
    assert np.count_nonzero(turned.labels == 255) < np.count_nonzero(turned.labels == turned.labels[15, 20])


def test_samples_are_never_changed_in_place(sample, frames):
    everything = build_pipeline(
        [
            {"op": "composite", "backgrounds": str(frames), "ego_label": 12},
            {"op": "relabel", "outside_label": 12},
            {"op": "photometric"},
            {"op": "colour"},
            {"op": "flip", "probability": 1.0},
            {"op": "distort", "backgrounds": str(frames)},
            {"op": "crop", "size": [120, 20]},
        ]
    )
    before = pickle.dumps(sample)
    for seed in range(5):
        everything(sample, np.random.default_rng(seed))
    assert pickle.dumps(sample) == before


def test_the_same_random_numbers_give_the_same_bytes_in_another_process(sample, frames):
    pipeline = build_pipeline(
        [
            {"op": "distort", "backgrounds": str(frames)},
            {"op": "resize", "ratio": [0.5, 2.0], "stretch": 0.2},
            {"op": "crop", "size": [50, 40], "max_class_share": 0.5, "centre_class": 0.5},
            {"op": "rotate"},
            {"op": "photometric"},
            {"op": "colour"},
        ]
    )
    copy = pickle.loads(pickle.dumps(pipeline))
    assert isinstance(copy, Pipeline)
    for seed in range(5):
        one, other = (item(sample, np.random.default_rng(seed)) for item in (pipeline, copy))
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.labels, other.labels)


def test_labels_that_operations_write_are_known(frames):
    pipeline = build_pipeline(
        [
            {"op": "distort", "preset": "dacon2023"},
            {"op": "composite", "backgrounds": str(frames), "ego_label": 3},
            {"op": "relabel", "no_source_label": 5},
        ]
    )
    assert pipeline.written_labels["distort: ego_label"] == 12
    assert pipeline.written_labels["composite: ego_label"] == 3
    assert pipeline.written_labels["composite: outside_label"] == 255
    assert pipeline.written_labels["relabel: no_source_label"] == 5
    assert "relabel: ego_label" not in pipeline.written_labels


def test_the_documentation_names_every_option_and_its_example_works(picture_folders, frames):
    text = (Path(__file__).resolve().parents[3] / "docs" / "training_data.md").read_text()
    rows = text.split("| `op` |")[1].split("\n\n")[0].splitlines()[2:]
    documented: dict[str, set[str]] = {}
    current = ""
    for row in rows:
        cells = row.split("|")
        name = re.findall(r"`(\w+)`", cells[1])
        current = name[0] if name else current
        documented.setdefault(current, set()).update(re.findall(r"`(\w+)`", cells[2]))
    shipped = {name: set(parameters(cls)) for name, cls in module._SHIPPED.items()}
    assert documented == shipped
    example = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])["data"]
    example["sources"][0]["pipeline"][0]["backgrounds"] = str(frames)
    for number, source in enumerate(example["sources"]):
        source["dataset"] = picture_folders(3, name=f"set{number}")
    config = DataConfig.model_validate(example)
    stream = open_sources(config.sources, config.pipeline)
    assert {stream[number].sample.image.shape for number in range(4)} == {(512, 1024, 3)}
