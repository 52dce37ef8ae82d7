"""Label maps: complete, printable, changeable; unknown labels are said, not guessed."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml

from internimage_perception.data.datasets import LabelMap, load_label_map, shipped_label_maps
from internimage_perception.data.sample import IGNORED
from internimage_perception.errors import ConfigError, DatasetError
from internimage_perception.resources import share_path

DACON = [item["name"] for item in yaml.safe_load(share_path("config/classes.yaml").read_text())["classes"]]

# Every label of each set, as its authors number or name them.
COMPLETE = {
    "cityscapes_to_dacon12": range(34),
    "cityscapes_to_dacon13": range(34),
    "cityscapes_to_cityscapes19": range(34),
    "cityscapes_trainids_to_dacon12": [*range(19), 255],
    "cityscapes_trainids_to_cityscapes19": [*range(19), 255],
    "kitti360_to_dacon12": range(45),
    "kitti360_to_cityscapes19": range(45),
    "dacon_255_to_12": [*range(12), 255],
    "dacon_255_ignored": [*range(12), 255],
    "camvid11_to_dacon12": range(12),
    "camvid32_to_dacon12": range(32),
    "woodscape_to_dacon12": range(10),
    "woodscape_boxes_to_dacon12": range(5),
    "woodscape_instances_to_dacon12": range(43),
    "nuscenes_to_detection10": range(32),
    "nuscenes_to_dacon12": range(32),
    "coco_to_dacon12": sorted({*range(1, 91)} - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}),
}


def test_every_shipped_map_is_listed_here() -> None:
    assert set(shipped_label_maps()) == set(COMPLETE)


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_shipped_maps_name_every_label(name: str) -> None:
    label_map = load_label_map(name)
    assert [item.id for item in label_map.labels] == list(COMPLETE[name])
    assert {item.target for item in label_map.labels} <= {*range(len(label_map.classes)), IGNORED}
    if "dacon12" in name or name == "dacon_255_ignored":
        assert list(label_map.classes) == DACON[:12]
    elif "dacon13" in name or name == "dacon_255_to_12":
        assert list(label_map.classes) == DACON
    text = str(label_map)
    assert len(text.splitlines()) == 1 + len(label_map.labels)
    assert ("ignored" in text) == any(item.target == IGNORED for item in label_map.labels)


def test_cityscapes_as_proposed() -> None:
    """Train ids to DACON: the table of the task, by numbers."""
    wanted = [0, 1, 2, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10, 11, 11, 11, 11, 255, 255]
    train = load_label_map("cityscapes_trainids_to_dacon12")
    assert train.apply(np.arange(19, dtype=np.uint8)[None], "x")[0].tolist() == wanted
    # The raw ids of the train ids, in their order; all others are ignored.
    raw = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    every = np.arange(34, dtype=np.uint8)[None]
    for name in ("cityscapes_to_dacon12", "kitti360_to_dacon12"):
        found = load_label_map(name).apply(every, "x")[0]
        assert found[raw].tolist() == wanted and set(np.delete(found, raw).tolist()) == {255}
    with_background = load_label_map("cityscapes_to_dacon13").apply(every, "x")[0]
    assert (
        with_background[1:4].tolist() == [12, 12, 12] and np.delete(with_background, [1, 2, 3]).max() == 255
    )
    nineteen = load_label_map("cityscapes_to_cityscapes19").apply(every, "x")[0]
    assert nineteen[raw].tolist() == list(range(19))


def test_change_by_name_and_unknown_ids() -> None:
    changed = load_label_map(
        {
            "base": "cityscapes_to_dacon12",
            "change": {"truck": "ignore", "bicycle": "Rider"},
            "unknown": "ignore",
        }
    )
    values = np.array([[27, 28, 33, 200]], np.uint8)
    assert changed.apply(values, "x").tolist() == [[255, 11, 10, 255]]
    changed.apply(np.array([[200, 200, 77]], np.uint8), "x")
    assert changed.ignored == {"200": 3, "77": 1}
    with pytest.raises(DatasetError, match=r"f\.png holds label id 200 \(row 0, column 3; 1 pixels"):
        load_label_map("cityscapes_to_dacon12").apply(values, Path("f.png"))
    with pytest.raises(ConfigError, match="no label 'lorry' to change; there are unlabeled"):
        load_label_map({"base": "cityscapes_to_dacon12", "change": {"lorry": "ignore"}})
    with pytest.raises(ConfigError, match="'Lorry' is no class; write ignore or one of Road"):
        load_label_map({"base": "cityscapes_to_dacon12", "change": {"truck": "Lorry"}})


def test_colors() -> None:
    label_map = load_label_map("camvid32_to_dacon12")
    picture = np.array([[[128, 64, 128], [0, 0, 0], [64, 0, 128], [0, 64, 64]]], np.uint8)
    assert label_map.apply_colors(picture, "x").tolist() == [[0, 255, 11, 5]]
    picture[0, 2] = (64, 1, 128)
    with pytest.raises(DatasetError, match=r"l\.png has the colour \[64, 1, 128\] \(row 0, column 2"):
        label_map.apply_colors(picture, "l.png")
    lenient = label_map.changed({}, "ignore")
    assert lenient.apply_colors(picture, "x").tolist() == [[0, 255, 255, 5]]
    assert lenient.ignored == {"#400180": 1}
    with pytest.raises(ConfigError, match="has no colours"):
        load_label_map("dacon_255_to_12").apply_colors(picture, "x")


def test_colors_of_camvid_are_all_different_and_reach_their_class() -> None:
    label_map = load_label_map("camvid32_to_dacon12")
    colors = np.array([[item.color for item in label_map.labels]], np.uint8)
    assert len(np.unique(colors[0], axis=0)) == 32
    assert label_map.apply_colors(colors, "x")[0].tolist() == [item.target for item in label_map.labels]


def test_names_and_numbers_of_objects() -> None:
    label_map = load_label_map("nuscenes_to_detection10")
    assert label_map.target_of("vehicle.bus.bendy") == label_map.classes.index("bus")
    assert label_map.target_of("animal") == IGNORED and label_map.target_of("dragon") is None
    assert label_map.target_of_id(8) == 0 and label_map.target_of_id(99) is None
    lenient = label_map.changed({}, "ignore")
    assert lenient.target_of("dragon") == lenient.target_of_id(99) == IGNORED
    assert lenient.ignored == {"dragon": 1, "99": 1} and not label_map.ignored


def test_identity_keeps_ids_and_255() -> None:
    label_map = LabelMap.identity(["a", "b"])
    assert label_map.apply(np.array([[0, 1, 255]], np.uint8), "x").tolist() == [[0, 1, 255]]
    with pytest.raises(DatasetError, match="holds label id 2"):
        label_map.apply(np.array([[0, 2]], np.uint8), "x")


def test_pickled_maps_map_alike() -> None:
    label_map = load_label_map("woodscape_to_dacon12")
    values = np.arange(10, dtype=np.uint8)[None]
    before = label_map.apply(values, "x")
    assert (pickle.loads(pickle.dumps(label_map)).apply(values, "x") == before).all()


def test_own_file(tmp_path: Path) -> None:
    (tmp_path / "names.yaml").write_text("classes:\n- {id: 0, name: floor}\n- {id: 1, name: rest}\n")
    file = tmp_path / "mine.yaml"
    file.write_text(
        "classes: {file: names.yaml}\n"
        "labels:\n- {id: 3, name: tiles, to: floor}\n- {id: 9, name: sofa, to: 1}\n"
    )
    assert load_label_map(file).apply(np.array([[3, 9]], np.uint8), "x").tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "must be a mapping"),
        ("labels: {", "cannot be read as a label map"),
        ("classes: [a]\nlabels: []", "needs `labels:`"),
        ("classes: [a, a]\nlabels: [{name: x, to: a}]", "classes must be different names"),
        ("classes: 3\nlabels: [{name: x, to: a}]", "classes must be a list of names"),
        ("classes: {file: none.yaml}\nlabels: [{name: x, to: a}]", "none.yaml cannot be read"),
        ("classes: [a]\nlabels: [{name: x, to: b}]", "'b' is no class"),
        ("classes: [a]\nlabels: [{name: x, to: 1}]", "1 is no class"),
        ("classes: [a]\nlabels: [{name: x}]", r"labels\[0\] \(x\) needs `to:`"),
        ("classes: [a]\nlabels: [{to: a}]", r"labels\[0\] needs a name"),
        ("classes: [a]\nlabels: [{name: x, to: a}, {name: x, to: a}]", "the name x appears twice"),
        ("classes: [a]\nlabels: [{id: 1, name: x, to: a}, {name: y, to: a}]", "the id 1 appears twice"),
        ("classes: [a]\nlabels: [{id: -1, name: x, to: a}]", "id must be a whole number"),
        ("classes: [a]\nlabels: [{name: x, to: a, colour: [0, 0, 0]}]", "unknown key 'colour'"),
        ("classes: [a]\nlabels: [{name: x, to: a, color: [0, 0, 256]}]", "each from 0 to 255"),
        ("classes: [a]\nunknown: maybe\nlabels: [{name: x, to: a}]", "unknown must be error or ignore"),
    ],
)  # fmt: skip
def test_wrong_files_say_where(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_label_map(file)
    assert str(tmp_path) in str(caught.value)


def test_no_such_map() -> None:
    with pytest.raises(
        ConfigError, match=r"no label map 'cityscape'; give a \.yaml file, or one of these: camvid"
    ):
        load_label_map("cityscape")
