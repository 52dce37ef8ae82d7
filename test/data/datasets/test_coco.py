"""COCO's JSON: boxes and outlines in this package's pixels, both kinds of run lengths, crowds."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dataset_files import HEIGHT, WIDTH, picture, write

from internimage_perception.data.datasets import load_dataset
from internimage_perception.data.datasets.run_lengths import decode_counts, mask_of_counts
from internimage_perception.errors import DatasetError


def annotation(number: int, category: int, box: list, image: int = 1, **more: object) -> dict:
    return {"id": number, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0, **more}


def save(folder: Path, annotations: list[dict] | None, images: int = 2) -> Path:
    content = {
        "images": [
            {"id": i + 1, "file_name": f"val/{i}.png", "width": WIDTH, "height": HEIGHT}
            for i in range(images)
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
    }
    for index in range(images):
        write(folder / "images" / "val" / f"{index}.png", picture(index))
    if annotations is not None:
        content["annotations"] = annotations
    file = folder / "instances.json"
    file.write_text(json.dumps(content))
    return file


def test_boxes_and_outlines(tmp_path: Path) -> None:
    outline = [[1.0, 2.0, 3.0, 2.0, 3.0, 5.0], [5, 0, 6, 0, 6, 1]]
    file = save(
        tmp_path,
        [
            annotation(7, 3, [3, 5, 1, 1], segmentation=outline),
            annotation(8, 18, [0.0, 0.0, 8.0, 6.0]),
            annotation(9, 1, [2.0, 2.0, 0.0, 3.0]),
        ],
    )
    dataset = load_dataset("coco", annotations=file, images=tmp_path / "images")
    assert dataset.classes == ("person", "car", "dog") and list(dataset.names) == ["val/0", "val/1"]
    assert "2 pictures with 3 objects" in dataset.description
    car, dog = dataset[0].objects
    # COCO's box [3, 5, 1, 1] is the pixel in column 3 and row 5.
    assert car.box.tolist() == [2.5, 4.5, 3.5, 5.5] and car.class_id == 1 and car.instance_id == 7
    assert [part.tolist() for part in car.polygons] == [
        [[0.5, 1.5], [2.5, 1.5], [2.5, 4.5]], [[4.5, -0.5], [5.5, -0.5], [5.5, 0.5]],
    ]  # fmt: skip
    assert dog.box.tolist() == [-0.5, -0.5, 7.5, 5.5] and dog.mask is None and not dog.crowd
    assert dataset[1].objects == () and dataset[1].labels is None
    again = pickle.loads(pickle.dumps(dataset))
    assert again[0].objects[0].box.tolist() == car.box.tolist()


def test_categories_by_name(tmp_path: Path) -> None:
    file = save(tmp_path, [annotation(1, 18, [0, 0, 1, 1]), annotation(2, 3, [0, 0, 1, 1])])
    dataset = load_dataset("coco", annotations=file, images=tmp_path / "images", label_map="coco_to_dacon12")
    assert [item.class_id for item in dataset[0].objects] == [11]
    with pytest.raises(DatasetError, match="has the category 'dog', which is not in the label map"):
        load_dataset("coco", annotations=file, label_map="nuscenes_to_detection10")


def test_pictures_of_another_size_than_annotated_are_refused(tmp_path: Path) -> None:
    """Boxes of a resized picture would lie elsewhere."""
    file = save(tmp_path, [annotation(1, 3, [0, 0, 1, 1])])
    content = json.loads(file.read_text())
    content["images"][0] |= {"width": 2 * WIDTH, "height": 2 * HEIGHT}
    del content["images"][1]["width"]
    file.write_text(json.dumps(content))
    dataset = load_dataset("coco", annotations=file, images=tmp_path / "images")
    message = rf"val/0\.png has {WIDTH}x{HEIGHT} pixels, .*instances\.json is for {2 * WIDTH}x{2 * HEIGHT}"
    with pytest.raises(DatasetError, match=message):
        dataset[0]
    assert dataset[1].objects == ()


def test_names_stay_below_the_folder_of_pictures(tmp_path: Path) -> None:
    """Whatever the file names: results are written under these names."""
    file = save(tmp_path, [annotation(1, 3, [0, 0, 1, 1])])
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = str(tmp_path / "images" / "val" / "0.png")
    content["images"][1]["file_name"] = "../images/val/1.png"
    file.write_text(json.dumps(content))
    below = load_dataset("coco", annotations=file, images=tmp_path / "images")
    assert list(below.names) == ["val/0", "val/1"] and len(below[0].objects) == 1
    (tmp_path / "other").mkdir()
    beside = load_dataset("coco", annotations=file, images=tmp_path / "other")
    assert list(beside.names) == ["images/val/0", "images/val/1"]
    assert beside[1].image.shape == (HEIGHT, WIDTH, 3)


# Texts and counts published with other implementations of the format.
KNOWN = {
    "061M": [0, 6, 1, 3], "061": [0, 6, 1], "061K": [0, 6, 1, 1], "061O": [0, 6, 1, 5], "0610": [0, 6, 1, 6],
    "011101010": [0, 1, 1, 2, 1, 3, 1, 4, 1], "0PP1": [0, 1024],
}  # fmt: skip


@pytest.mark.parametrize("text", sorted(KNOWN))
def test_known_run_lengths(text: str) -> None:
    assert decode_counts(text) == decode_counts(text.encode()) == KNOWN[text]


def encoded(counts: list[int]) -> str:
    """Write counts as COCO does: straight from the format's description, the reverse of what is tested."""
    text = ""
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            group, value = value & 0x1F, value >> 5
            more = value != (-1 if group & 0x10 else 0)
            text += chr(48 + group + (32 if more else 0))
    return text


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=30))
def test_run_lengths_come_back(counts: list[int]) -> None:
    assert decode_counts(encoded(counts)) == counts


@given(st.integers(0, 2**40))
def test_masks_come_back(bits: int) -> None:
    mask = np.array([bits >> i & 1 for i in range(40)], bool).reshape(5, 8)
    flat = [False, *mask.T.reshape(-1).tolist()]
    edges = [0, *(i for i in range(40) if flat[i] != flat[i + 1]), 40]
    counts = np.diff(edges).tolist()
    assert (mask_of_counts(counts, 5, 8) == mask).all()
    assert (mask_of_counts(decode_counts(encoded(counts)), 5, 8) == mask).all()


def test_masks_and_crowds(tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[1:3, 2] = True
    # Columns first: 2 columns of 6 and one pixel before the two.
    counts = [13, 2, HEIGHT * WIDTH - 15]
    plain = {"size": [HEIGHT, WIDTH], "counts": counts}
    short = {"size": [HEIGHT, WIDTH], "counts": encoded(counts)}
    file = save(
        tmp_path,
        [
            annotation(1, 1, [2, 1, 1, 2], segmentation=short),
            annotation(2, 1, [2, 1, 1, 2], segmentation=plain, iscrowd=1),
        ],
    )
    one, crowd = load_dataset("coco", annotations=file, images=tmp_path / "images")[0].objects
    assert (one.mask == mask).all() and (crowd.mask == mask).all() and one.polygons == ()
    assert (one.crowd, crowd.crowd) == (False, True)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (annotation(5, 3, [0, 0, -1, 1]), r"annotation 5 of 0\.png cannot be used: .* negative size"),
        (annotation(5, 3, [0, 0, 1]), "must be 4 numbers"),
        (annotation(5, 3, [0, 0, 1, "x"]), "annotation 5"),
        (annotation(5, 9, [0, 0, 1, 1]), "KeyError: 9"),
        (
            annotation(5, 3, [0, 0, 1, 1], segmentation={"size": [6, 8], "counts": [1]}),
            "the runs cover 1 pixels",
        ),
        (annotation(5, 3, [0, 0, 1, 1], segmentation={"size": [6, 8], "counts": "P"}), "end within a number"),
        (
            annotation(5, 3, [0, 0, 1, 1], segmentation={"size": [6, 8], "counts": "!"}),
            "cannot be in run lengths",
        ),
        (annotation(5, 3, [0, 0, 1, 1], segmentation={"size": [6, 8], "counts": [50, -2]}), "the length -2"),
        (
            annotation(5, 3, [0, 0, 1, 1], segmentation={"size": [3, 4], "counts": [12]}),
            "mask is for 4x3 pixels",
        ),
        (annotation(5, 3, [0, 0, 1, 1], segmentation=[[1, 2, 3]]), "annotation 5"),
        (annotation(5, 3, [0, 0, 1, 1], segmentation="x"), "neither polygons nor run lengths"),
    ],
)
def test_wrong_objects_spoil_their_picture_alone(tmp_path: Path, entry: dict, message: str) -> None:
    dataset = load_dataset("coco", annotations=save(tmp_path, [entry]), images=tmp_path / "images")
    with pytest.raises(DatasetError, match=message) as caught:
        dataset[0]
    assert "instances.json" in str(caught.value) and dataset[1].objects == ()


def test_wrong_files(tmp_path: Path) -> None:
    for content, message in (
        ("{", "no COCO file of objects: JSONDecodeError"),
        ("[]", "no COCO file of objects: TypeError"),
        ('{"images": []}', "KeyError: 'categories'"),
        ('{"images": [], "categories": [], "annotations": [{"image_id": 4}]}', "KeyError: 4"),
    ):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(DatasetError, match=rf"a\.json.*{message}"):
            load_dataset("coco", annotations=tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"images": [], "categories": []}')
    with pytest.raises(DatasetError, match="there are no samples"):
        load_dataset("coco", annotations=tmp_path / "a.json")


def test_missing_pictures_and_files_without_annotations(tmp_path: Path) -> None:
    dataset = load_dataset("coco", annotations=save(tmp_path, None), images=tmp_path / "images")
    assert dataset[0].objects is None
    (tmp_path / "images" / "val" / "1.png").unlink()
    with pytest.raises(DatasetError, match=r"val/1\.png cannot be read: No such file"):
        dataset[1]


@pytest.mark.shared
def test_real_annotations(shared_data: Path) -> None:
    """Boxes of nuScenes and KITTI; KITTI's are those of its own file."""
    dataset = load_dataset("coco", annotations=shared_data / "coco_style_annotations.json")
    assert len(dataset) == 7 and "90 objects" in dataset.description
    sample = dataset[6]
    assert sample.image.shape == (375, 1242, 3) and len(sample.objects) == 6
    frame = json.loads((shared_data / "kitti_000008" / "frame.json").read_text())["frame"]
    wanted = sorted(item["bbox"] for item in frame["instances"] if item["bbox_label"] >= 0)
    found = sorted((item.box + 0.5).tolist() for item in sample.objects)
    assert np.allclose(found, wanted, atol=0.01)
    assert {dataset.classes[item.class_id] for item in sample.objects} == {"car"}
