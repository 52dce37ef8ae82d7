"""`predict` end to end: the node's answers, the official evaluation's answers."""

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import yaml
from support.predictions import NANO, ROOT, contents, flat_folder, predict, rows, save, street_folder

from internimage_perception.data.datasets.pictures import read_ids
from internimage_perception.evaluation.segmentation import nearest
from internimage_perception.inference.backends import create_backend
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.frames import Frame, FrameSet
from internimage_perception.inference.tasks import SegmentationTask


@pytest.fixture
def street(recipe, tmp_path):
    return street_folder(tmp_path / "in", recipe)


@pytest.fixture
def flat(tmp_path):
    return flat_folder(tmp_path / "flat")


def node_mask(path, bundle, backend="auto"):
    """What a node makes of the file's bytes as a compressed image."""
    task = SegmentationTask(bundle, create_backend(backend, bundle))
    data = np.frombuffer(path.read_bytes(), np.uint8)
    frame = Frame("front", "front_optical", 5, 7, 0, 0, "jpeg", 0, data, compressed=True)
    return task.run(FrameSet(0, 5, {"front": frame})).masks["front"]


def test_deployed_answers_are_the_node_s(street, tmp_path, capsys):
    before = contents(street)
    out = tmp_path / "out"
    assert predict(out, street, "--confidence") == 0
    assert contents(street) == before
    bundle = Bundle.load(NANO)
    for name, file, height, width in (("a", "a.jpg", 120, 200), ("sub/b.c", "sub/b.c.png", 96, 128)):
        mask = node_mask(street / file, bundle)
        ids = cv2.imread(str(out / "ids" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        assert ids.dtype == np.uint8
        np.testing.assert_array_equal(ids, nearest(mask.class_ids, width, height))
        confidence = cv2.imread(str(out / "confidence" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(confidence, nearest(mask.confidence, width, height))
        table = np.array([spec.color for spec in bundle.classes], np.uint8)
        color = cv2.imread(str(out / "color" / f"{name}.png"))
        np.testing.assert_array_equal(color[..., ::-1], table[ids])
        # The colours' numbers are the class ids: the file is a label picture too.
        np.testing.assert_array_equal(read_ids(out / "color" / f"{name}.png"), ids)
        assert len(np.unique(ids)) > 1
    found = rows(out)
    assert [(row["id"], row["ids_path"]) for row in found] == [
        ("a", "ids/a.png"),
        ("sub/b.c", "ids/sub/b.c.png"),
    ]
    assert [(out / row["img_path"]).resolve() for row in found] == [
        street / "a.jpg",
        street / "sub" / "b.c.png",
    ]
    said = capsys.readouterr()
    assert "2 pictures labelled (" in said.out and str(out / "ids") in said.out
    # The list is one of pictures, too.
    assert predict(tmp_path / "again", out / "predictions.csv", "--no-color") == 0
    assert contents(tmp_path / "again" / "ids") == contents(out / "ids")
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "ids",
        "predict.json",
        "predictions.csv",
    ]


def test_real_frames_are_labelled_as_by_the_node(shared_data, tmp_path):
    file = shared_data / "fisheye" / "jeyp4_rover_surround" / "left.jpg"
    assert predict(tmp_path / "out", file, "--no-color") == 0
    mask = node_mask(file, Bundle.load(NANO))
    np.testing.assert_array_equal(
        read_ids(tmp_path / "out" / "ids" / "left.png"),
        nearest(mask.class_ids, mask.image_width, mask.image_height),
    )


def test_every_pixel_is_that_of_the_graph(brightness_bundle, tmp_path):
    """Known answers, of pictures of all kinds: colours, grey, 16 bits, with a palette."""
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (33, 47, 3), dtype=np.uint8)
    deep = rng.integers(0, 1 << 16, (20, 31, 3), dtype=np.uint16)
    grey = rng.integers(0, 256, (17, 12), dtype=np.uint8)
    one = np.array([[[250, 7, 100]]], np.uint8)
    for name, pixels in {"colors": colors, "deep": deep, "grey": grey, "one": one}.items():
        save(tmp_path / "in" / f"{name}.png", pixels)
    assert predict(tmp_path / "out", tmp_path / "in", "--confidence", model=brightness_bundle) == 0
    expected = {
        "colors": colors, "deep": (deep >> 8).astype(np.uint8), "grey": np.repeat(grey[..., None], 3, 2),
        "one": one,
    }  # fmt: skip
    for name, pixels in expected.items():
        ids = read_ids(tmp_path / "out" / "ids" / f"{name}.png")
        np.testing.assert_array_equal(ids, np.floor(pixels.mean(2, dtype=np.float32) / 20))
        confidence = read_ids(tmp_path / "out" / "confidence" / f"{name}.png")
        np.testing.assert_array_equal(confidence, pixels[..., 2])


@pytest.fixture
def one_thread():
    """PyTorch with one thread: several wait for each other on a busy machine."""
    import torch  # noqa: PLC0415 - slow to import

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        (["--mode", "whole"], {}),
        (["--mode", "whole", "--scale", "160x96", "--multiple", "32", "--flip"],
         {"scale": (160, 96), "multiple": 32, "flip": True}),
        (["--mode", "slide", "--crop", "64x96", "--stride", "48x64", "--ratios", "0.75", "1.25"],
         {"window": ((64, 96), (48, 64)), "ratios": (0.75, 1.25)}),
    ],
    ids=["whole", "scale", "slide"],
)  # fmt: skip
def test_exact_modes_are_the_official_evaluation(street, tmp_path, words, mode, one_thread):
    torch = one_thread

    from internimage_perception.models import load_checkpoint, load_config, load_weights  # noqa: PLC0415
    from internimage_perception.models.inference_modes import (  # noqa: PLC0415
        EvaluationMode,
        Window,
        probabilities,
    )
    from internimage_perception.models.segmentor import Segmentor  # noqa: PLC0415

    bundle = Bundle.load(NANO)
    model = Segmentor(load_config(bundle.architecture)).eval()
    load_weights(model, load_checkpoint(bundle.file("weights.safetensors")))
    if "window" in mode:
        mode = mode | {"window": Window(*mode["window"])}
    assert predict(tmp_path / "out", street, *words, "--confidence") == 0
    for file, name in (("a.jpg", "a"), ("sub/b.c.png", "sub/b.c")):
        image = cv2.imread(str(street / file))[..., ::-1]
        with torch.no_grad():
            answer = probabilities(model, image, EvaluationMode(**mode)).numpy()
        np.testing.assert_array_equal(read_ids(tmp_path / "out" / "ids" / f"{name}.png"), answer.argmax(0))
        confidence = read_ids(tmp_path / "out" / "confidence" / f"{name}.png")
        np.testing.assert_allclose(confidence, answer.max(0) * 255, atol=0.51)


def test_exact_modes_normalise_by_the_bundle_s_statistics(street, tiny_bundle, tmp_path, one_thread):
    torch = one_thread

    from internimage_perception.models import load_checkpoint, load_config, load_weights  # noqa: PLC0415
    from internimage_perception.models.segmentor import Segmentor  # noqa: PLC0415

    copy = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, copy)
    values = yaml.safe_load((copy / "model.yaml").read_text())
    values["input"] |= {"mean": [20.0, 90.0, 200.0], "std": [25.0, 60.0, 130.0]}
    (copy / "model.yaml").write_text(yaml.safe_dump(values))
    assert predict(tmp_path / "out", street / "a.jpg", "--mode", "whole", "--confidence", model=copy) == 0
    bundle = Bundle.load(copy)
    model = Segmentor(load_config(bundle.architecture)).eval()
    load_weights(model, load_checkpoint(bundle.file("weights.safetensors")))
    image = cv2.imread(str(street / "a.jpg"))[..., ::-1].astype(np.float32)
    normal = (image - np.float32([20, 90, 200])) / np.float32([25, 60, 130])
    with torch.no_grad():
        answer = model(torch.from_numpy(normal.transpose(2, 0, 1).copy())[None]).softmax(1)[0].numpy()
    confidence = read_ids(tmp_path / "out" / "confidence" / "a.png")
    np.testing.assert_allclose(confidence, answer.max(0) * 255, atol=0.6)


def test_a_list_names_the_masks_by_id(flat, brightness_bundle, tmp_path):
    assert predict(tmp_path / "out", flat / "list.csv", model=brightness_bundle) == 0
    assert [row["id"] for row in rows(tmp_path / "out")] == [f"F_{number}" for number in range(6)]
    for number in range(6):
        assert (read_ids(tmp_path / "out" / "ids" / f"F_{number}.png") == number).all()


def test_it_needs_neither_torch_nor_ros(street, tmp_path):
    absent = ("torch", "onnx", "safetensors", "scipy", "rclpy", "PIL")
    words = ["predict", str(street), "--model", "nano", "--out", str(tmp_path / "out")]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        "from internimage_perception.cli.main import main\n"
        f"assert main({words}) == 0\n"
        f"sys.exit(main({[*words, '--mode', 'whole']}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1, done.stderr
    assert "2 pictures labelled" in done.stdout
    assert "--mode whole runs in torch" in done.stderr
    assert json.loads((tmp_path / "out" / "predict.json").read_text())["network"] == {
        "mode": "deployed", "backend": "onnxruntime-cpu",
    }  # fmt: skip
