"""`augment` end to end: folders in, a dataset out that reads back; resumable, the same for any workers."""

import json
import shutil

import cv2
import numpy as np
import pytest
import yaml

from internimage_perception.cli.main import main
from internimage_perception.data.datasets import LabelMap, open_dataset
from internimage_perception.data.datasets.dataset import Entry, FileDataset
from internimage_perception.data.datasets.run_lengths import mask_of_counts
from internimage_perception.data.distortion import DistortionConfig
from internimage_perception.data.distortion.job import JobSpec, augment_dataset
from internimage_perception.data.distortion.output import run_lengths
from internimage_perception.errors import PerceptionError
from internimage_perception.geometry import KannalaBrandtCamera, camera_from_dict


@pytest.fixture
def pictures(tmp_path):
    """Three labelled pictures, one in a subfolder, with COCO objects."""
    rng = np.random.default_rng(0)
    annotations = {"images": [], "annotations": [], "categories": [{"id": 3, "name": "car"}]}
    for number, name in enumerate(("a", "b", "sub/c")):
        for kind in ("images", "labels"):
            (tmp_path / kind / name).parent.mkdir(parents=True, exist_ok=True)
        image = np.kron(rng.integers(0, 256, (8, 12, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), image)
        cv2.imwrite(str(tmp_path / "labels" / f"{name}.png"), rng.integers(0, 13, (64, 96)).astype(np.uint8))
        annotations["images"].append({"id": number, "file_name": f"{name}.png", "width": 96, "height": 64})
        annotations["annotations"].append(
            {"id": number + 1, "image_id": number, "category_id": 3, "bbox": [30, 20, 30, 20], "iscrowd": 0,
             "segmentation": [[30, 20, 60, 20, 60, 40, 30, 40]]}
        )  # fmt: skip
    (tmp_path / "objects.json").write_text(json.dumps(annotations))
    return tmp_path


def augment(folder, out, *words):
    words = ("--input", folder / "images", "--labels", folder / "labels", "--out", out, *words)
    return main(["augment", *map(str, words)])


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_folders_in_a_dataset_out(pictures, capsys):
    before = contents(pictures)
    out = pictures.parent / (pictures.name + "_out")
    words = ("--objects", pictures / "objects.json", "--copies", "2", "--seed", "5", "--preset", "lenses")
    assert augment(pictures, out, *words) == 0
    assert contents(pictures) == before
    printed = capsys.readouterr().out
    assert "6 samples" in printed
    assert "contact_sheet.jpg" in printed
    dataset = open_dataset(out / "dataset.yaml")
    assert list(dataset.names) == ["a_0", "a_1", "b_0", "b_1", "sub/c_0", "sub/c_1"]
    records = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert [record["name"] for record in records] == list(dataset.names)
    for sample, record in zip((dataset[index] for index in range(6)), records, strict=True):
        assert sample.image.shape == (64, 96, 3)
        assert sample.camera == camera_from_dict(record["camera"])
        np.testing.assert_array_equal(sample.regions.outside_lens, ~sample.camera.valid_mask())
        np.testing.assert_array_equal(sample.labels == 255, sample.regions.anywhere)
        assert record["map"]["source_size"] == [96, 64]
        (item,) = record["objects"]
        assert item["class_id"] == 0
        x0, y0, x1, y1 = item["box"]
        assert 0 <= x0 < x1 <= 96 and 0 <= y0 < y1 <= 64
    assert records[0]["camera"] != records[1]["camera"]
    sheet = cv2.imread(str(out / "contact_sheet.jpg"))
    assert sheet.shape[1] > 1000 and sheet.std() > 20


def test_workers_and_interruptions_change_no_byte(pictures, capsys):
    outs = [pictures.parent / f"{pictures.name}_{number}" for number in range(3)]
    for out, workers in zip(outs, (1, 2, 1), strict=True):
        assert augment(pictures, out, "--workers", str(workers), "--format", "jpg") == 0
    assert contents(outs[0]) == contents(outs[1])
    # As after a kill: a record is missing, half a picture lies around, the last files are not there.
    (outs[2] / ".records" / "b.json").unlink()
    (outs[2] / "images" / ".b.jpg.abc.part").write_bytes(b"half")
    (outs[2] / "samples.jsonl").unlink()
    (outs[2] / "contact_sheet.jpg").unlink()
    stamp = (outs[2] / "images" / "a.jpg").stat().st_mtime_ns
    capsys.readouterr()
    assert augment(pictures, outs[2], "--format", "jpg") == 0
    assert "going on behind 2 of 3" in capsys.readouterr().err
    assert contents(outs[2]) == contents(outs[0])
    assert (outs[2] / "images" / "a.jpg").stat().st_mtime_ns == stamp
    assert augment(pictures, outs[2], "--format", "jpg", "--seed", "1") == 1
    assert "other options" in capsys.readouterr().err
    # A sample does not depend on which others there are.
    (pictures / "images" / "a.png").unlink()
    (pictures / "labels" / "a.png").unlink()
    fewer = pictures.parent / f"{pictures.name}_fewer"
    assert augment(pictures, fewer, "--format", "jpg") == 0
    assert (fewer / "images" / "b.jpg").read_bytes() == (outs[0] / "images" / "b.jpg").read_bytes()


def test_nothing_is_written_where_pictures_are(pictures, capsys):
    before = contents(pictures)
    for out in (pictures / "images", pictures / "images" / "new", pictures, pictures / "labels"):
        assert augment(pictures, out) == 1
        assert "lie in each other" in capsys.readouterr().err
    file = pictures.parent / f"{pictures.name}.yaml"
    file.write_text(f"kind: folders\nimages: {pictures.name}/images\nlabels: {pictures / 'labels'}\n")
    for out, key in (("images/new", "images"), ("labels/new", "labels")):
        assert main(["augment", "--dataset", str(file), "--out", str(pictures / out)]) == 1
        assert f"{file}: {key} {pictures}" in capsys.readouterr().err
    link = pictures.parent / f"{pictures.name}_link"
    link.symlink_to(pictures / "images")
    assert augment(pictures, link / "new") == 1
    other = pictures.parent / f"{pictures.name}_other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    assert augment(pictures, other) == 1
    assert "other files" in capsys.readouterr().err
    assert contents(pictures) == before
    assert [path.name for path in other.iterdir()] == ["mine.txt"]


class Named(FileDataset):
    """Pictures under the given names."""

    def __init__(self, picture, names):
        super().__init__("named", [Entry(name, picture) for name in names], LabelMap.identity(["x"]))


@pytest.mark.parametrize("name", ["{}/images/a", "../../images/a", "sub/../../../images/a", "."])
def test_no_name_leads_out_of_the_folder(pictures, name):
    before = contents(pictures)
    dataset = Named(pictures / "images" / "a.png", ["good", name.format(pictures)])
    with pytest.raises(PerceptionError, match=r"images/a' leads out of|'\.' leads out of"):
        augment_dataset(dataset, pictures / "out", JobSpec(DistortionConfig()))
    assert contents(pictures) == before


def test_labels_that_the_dataset_has_no_class_for_are_refused(pictures, capsys):
    """They would make labels that the dataset in the folder cannot read back."""
    classes = pictures / "classes.yaml"
    names = [{"id": number, "name": f"class {number}"} for number in range(13)]
    for count, status in ((12, 1), (13, 0)):
        classes.write_text(yaml.safe_dump({"classes": names[:count]}))
        file = pictures / f"set_{count}.yaml"
        file.write_text("kind: folders\nimages: images\nlabels: labels\nclasses: classes.yaml\n")
        for labels in (pictures / "labels").rglob("*.png"):
            cv2.imwrite(str(labels), np.zeros((64, 96), np.uint8))
        out = pictures / f"out_{count}"
        words = ["augment", "--dataset", str(file), "--out", str(out), "--preset", "dacon2023"]
        assert main(words) == status
        printed = capsys.readouterr().err
        assert out.exists() != bool(status)
        assert ("outside_label is 12, but the dataset's labels have 12 classes" in printed) == bool(status)
    file = pictures / "bare.yaml"
    file.write_text("kind: folders\nimages: images\nclasses: [one]\n")
    words = ["augment", "--dataset", str(file), "--out", str(pictures / "bare"), "--preset", "dacon2023"]
    assert main(words) == 0


def test_an_unreadable_picture_is_named_and_left_out(pictures, capsys):
    data = (pictures / "images" / "b.png").read_bytes()
    (pictures / "images" / "b.png").write_bytes(data[: len(data) // 2])
    out = pictures.parent / f"{pictures.name}_out"
    assert augment(pictures, out) == 0
    printed = capsys.readouterr()
    assert "2 samples, 1 pictures left out" in printed.out
    assert "left out b" in printed.err and "truncated" in printed.err
    assert list(open_dataset(out / "dataset.yaml").names) == ["a", "sub/c"]
    # Repaired, it is made.
    (pictures / "images" / "b.png").write_bytes(data)
    assert augment(pictures, out) == 0
    assert len(open_dataset(out / "dataset.yaml")) == 3
    for name in ("a", "b", "sub/c"):
        (pictures / "images" / f"{name}.png").write_bytes(data[:50])
    assert augment(pictures, pictures.parent / f"{pictures.name}_none") == 1
    assert "none of 3 pictures" in capsys.readouterr().err


def test_the_seeds_preset_with_templates(pictures):
    frames = pictures.parent / f"{pictures.name}_frames"
    frames.mkdir()
    for name, shade in (("front", 77), ("rear", 99)):
        cv2.imwrite(str(frames / f"{name}.png"), np.full((45, 80, 3), shade, np.uint8))
        visible = np.zeros((45, 80), np.uint8)
        visible[8:-8, 10:-10] = 255
        cv2.imwrite(str(frames / f"{name}_visible.png"), visible)
    out = pictures.parent / f"{pictures.name}_out"
    assert augment(pictures, out, "--preset", "dacon2023", "--backgrounds", frames) == 0
    sample = open_dataset(out / "dataset.yaml")[0]
    # 64 rows: the last one seen is 51, less 5; 96 columns: 77, less 5.
    assert sample.image.shape == (46 - (64 - 46) + 1, 72 - (96 - 72) + 1, 3)
    assert sample.camera is None
    hidden = sample.regions.outside_lens
    assert 0.3 < hidden.mean() < 0.7
    assert (sample.labels[hidden] == 12).all()
    assert set(np.unique(sample.image[hidden])) <= {77, 99}


def test_a_configuration_in_yaml_and_a_calibrated_fisheye(pictures, capsys):
    lens = KannalaBrandtCamera(width=96, height=64, fx=30.0, fy=30.0, cx=47.5, cy=31.5, theta_max=1.7)
    other = KannalaBrandtCamera(width=96, height=64, fx=28.0, fy=28.0, cx=47.5, cy=31.5, theta_max=1.7)
    cameras = pictures.parent / f"{pictures.name}_dataset.yaml"
    rig = pictures / "cameras"
    for name in ("a", "b", "sub/c"):
        (rig / name).parent.mkdir(parents=True, exist_ok=True)
        (rig / f"{name}.yaml").write_text(yaml.safe_dump(lens.to_dict()))
    cameras.write_text(
        yaml.safe_dump(
            {
                "kind": "folders",
                "images": str(pictures / "images"),
                "labels": str(pictures / "labels"),
                "cameras": str(rig),
            }
        )
    )
    config = pictures.parent / f"{pictures.name}_config.yaml"
    config.write_text(
        yaml.safe_dump({"cameras": [other.to_dict()], "rotation_deg": [0, 0, 0], "size": [96, 64]})
    )
    out = pictures.parent / f"{pictures.name}_out"
    words = ["augment", "--dataset", str(cameras), "--out", str(out), "--config", str(config)]
    assert main(words) == 0
    (record, *_) = (json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines())
    assert camera_from_dict(record["camera"]) == other
    assert camera_from_dict(record["map"]["source_camera"]) == lens
    assert record["map"]["true_source"] is True
    capsys.readouterr()
    for changed, said in (
        ([*words, "--input", "x"], "--dataset says all"),
        (["augment", "--out", str(out)], "give --input"),
        ([*words, "--preset", "lenses"], ""),
        ([*words, "--copies", "0"], "--copies is 0"),
    ):
        assert main(changed) == 1
        assert said in capsys.readouterr().err
    config.write_text("preset: dacon2023\n")
    assert main([*words, "--preset", "fisheye"]) == 1
    assert "give one" in capsys.readouterr().err
    config.write_text("vignete: [0, 1]\n")
    assert main(words) == 1
    assert "did you mean 'vignette'" in capsys.readouterr().err


def test_raw_labels_are_kept(pictures, capsys):
    labels = np.full((64, 96), 201, np.uint8)
    cv2.imwrite(str(pictures / "labels" / "a.png"), labels)
    out = pictures.parent / f"{pictures.name}_out"
    assert augment(pictures, out, "--raw-labels") == 0
    assert set(np.unique(open_dataset(out / "dataset.yaml")[0].labels)) == {201, 255}
    shutil.rmtree(out)
    assert augment(pictures, out) == 0
    assert "left out a" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (8, 3)])
def test_run_lengths(shape):
    rng = np.random.default_rng(0)
    for share in (0.0, 0.3, 1.0):
        mask = rng.random(shape) < share
        np.testing.assert_array_equal(mask_of_counts(run_lengths(mask), *shape), mask)


def test_another_reading_of_the_same_pictures_is_another_augmentation(pictures, capsys):
    out = pictures.parent / (pictures.name + "_out")
    table = pictures / "table.yaml"
    labels = [{"id": number, "name": f"label {number}", "to": "road"} for number in range(13)]
    table.write_text(yaml.safe_dump({"source": "ours", "classes": ["road"], "labels": labels}))
    assert augment(pictures, out) == 0
    before = contents(out)
    for words in (("--raw-labels",), ("--label-map", table), ("--objects", pictures / "objects.json")):
        capsys.readouterr()
        assert augment(pictures, out, *words) == 1
        assert "other options" in capsys.readouterr().err
    assert contents(out) == before


def test_further_views_are_recorded(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    (folder / "wide.yaml").write_text(
        yaml.safe_dump({"preset": "fisheye", "views": 2, "source_focal": [0.4, 0.6]})
    )
    words = ("--config", folder / "wide.yaml", "--seed", "3")
    for workers in ("1", "2"):
        assert augment(pictures, folder / workers, *words, "--workers", workers) == 0
    assert contents(folder / "1") == contents(folder / "2")
    records = [json.loads(line) for line in (folder / "1" / "samples.jsonl").read_text().splitlines()]
    for record in records:
        views = record["map"]["views"]
        assert len(views) == 2 and {view["source"] for view in views} <= {"a", "b", "sub/c"}
        assert {view["kind"] for view in views} == {"lens"}
    # With objects a picture would show some that are not told.
    assert augment(pictures, folder / "no", *words, "--objects", pictures / "objects.json") == 1
    assert not (folder / "no" / "dataset.yaml").exists()
