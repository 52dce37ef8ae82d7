"""Kinds and options: checked before anything is read, from YAML, mappings and calls alike."""

import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from support.dataset_files import ids, picture, write

from internimage_perception.data.datasets import (
    Dataset,
    dataset_kinds,
    load_dataset,
    open_dataset,
    register_dataset,
    registry,
)
from internimage_perception.data.datasets.options import parameters
from internimage_perception.data.datasets.registry import dataset_class
from internimage_perception.data.sample import Sample
from internimage_perception.errors import ConfigError, DatasetError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    for index in range(3):
        write(tmp_path / "images" / f"{index}.png", picture(index))
        write(tmp_path / "labels" / f"{index}.png", ids([index, 12, 255]))
    return tmp_path


def test_yaml_mapping_and_call_open_the_same(pairs: Path) -> None:
    (pairs / "set.yaml").write_text("kind: folders\nimages: images\nlabels: labels\n")
    opened = [
        open_dataset(pairs / "set.yaml"),
        open_dataset({"kind": "folders", "images": str(pairs / "images"), "labels": pairs / "labels"}),
        load_dataset("folders", images=pairs / "images", labels=pairs / "labels"),
    ]
    for dataset in opened:
        assert isinstance(dataset, Dataset)
        assert list(dataset.names) == ["0", "1", "2"] and len(dataset) == 3 and len(dataset.classes) == 13
        assert (dataset[1].image == picture(1)).all() and (dataset[1].labels == ids([1, 12, 255])).all()
        assert dataset[-1].name == "2"
        with pytest.raises(IndexError):
            dataset[3]
        assert "3 pictures, 3 with labels, 13 classes" in dataset.description


def test_label_maps_in_yaml(pairs: Path) -> None:
    (pairs / "own.yaml").write_text(
        "classes: [a, b]\nunknown: ignore\nlabels: [{id: 0, name: x, to: b}, {id: 12, name: y, to: a}]\n"
    )
    (pairs / "set.yaml").write_text("kind: folders\nimages: images\nlabels: labels\nlabel_map: own.yaml\n")
    dataset = open_dataset(pairs / "set.yaml")
    assert dataset.classes == ("a", "b") and (dataset[0].labels == ids([1, 0, 255])).all()
    content = yaml.safe_load((pairs / "own.yaml").read_text())
    inline = load_dataset("folders", images=pairs / "images", labels=pairs / "labels", label_map=content)
    assert (inline[0].labels == ids([1, 0, 255])).all()


def test_other_processes_read_too(pairs: Path) -> None:
    dataset = pickle.loads(pickle.dumps(load_dataset("folders", images=pairs / "images")))
    assert (dataset[2].image == picture(2)).all() and dataset[2].labels is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("images: x", "`kind` is missing; it is one of bag, camvid"),
        ("kind: folder\nimages: x", "no kind of dataset is called 'folder'; known are bag"),
        ("kind: folders", "folders: the option images is missing: a path"),
        (
            "kind: folders\nimage: x",
            r"unknown option 'image' \(did you mean images\?\); known are images, labels",
        ),
        ("kind: folders\nimages: [x]", r"images must be a path, not \['x'\]"),
        ("kind: folders\nimages: x\nform: colours", "form must be ids or colors, not 'colours'"),
        ("kind: folders\nimages: x\nallow_unlabelled: 1", "allow_unlabelled must be true or false, not 1"),
        ("kind: folders\nimages: x\nclasses: [1]", r"classes must be a path or a list of texts, not \[1\]"),
        ("kind: street\nlength: many", "length must be a whole number, not 'many'"),
        ("- kind", "is not a dataset: it must be a mapping"),
    ],
)
def test_wrong_options_say_which(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "set.yaml").write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        open_dataset(tmp_path / "set.yaml")
    assert "set.yaml" in str(caught.value)


class Ramp:
    classes = ("all",)
    description = "ramps"

    def __init__(self, count: int, slope: float = 1.0) -> None:
        self.names = [str(index) for index in range(count)]
        self._slope = slope

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.names[index], np.full((2, 2, 3), index * self._slope, np.uint8))


def test_kinds_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_added", {})
    register_dataset("ramp", Ramp)
    assert "ramp" in dataset_kinds()
    assert load_dataset("ramp", count=4, slope=2)[3].image.max() == 6
    with pytest.raises(ConfigError, match="ramp: unknown option 'slop'"):
        load_dataset("ramp", count=4, slop=2)
    with pytest.raises(ConfigError, match="already"):
        register_dataset("coco", Ramp)


@pytest.mark.parametrize("kind", sorted(registry._SHIPPED))
def test_every_kind_has_checked_options(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"{kind}: unknown option 'no_such_option'; known are"):
        load_dataset(kind, no_such_option=1)


def test_the_documentation_lists_every_option() -> None:
    text = (ROOT / "docs" / "datasets.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|", text, re.MULTILINE))
    assert set(registry._SHIPPED) <= set(rows)
    for kind in registry._SHIPPED:
        listed = {
            item.split(":")[0] for item in re.findall("`([^`]*)`", re.sub(r"\([^)]*\)", "", rows[kind]))
        }
        known = set(parameters(dataset_class(kind)))
        assert listed == known - {"label_map"}
    examples = 0
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        for content in yaml.safe_load_all(block):
            if kind := content.pop("kind", None):
                assert set(content) <= set(parameters(dataset_class(kind)))
                examples += 1
    assert examples >= len(registry._SHIPPED)


def test_a_missing_folder_says_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "images_large" / "0.png", picture())
    message = r"no folder .*images/train, where pictures should be \(.* holds images_large\)"
    with pytest.raises(DatasetError, match=message):
        load_dataset("folders", images=tmp_path / "images" / "train")


def test_opening_needs_neither_torch_nor_the_bag_library(pairs: Path) -> None:
    code = (
        "import sys; from internimage_perception.data.datasets import load_dataset;"
        f"load_dataset('folders', images={str(pairs / 'images')!r})[0];"
        "print(sorted({'torch', 'rosbags', 'embreex'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.strip() == "[]"
