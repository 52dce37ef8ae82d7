"""The task: batches, lenses, and frames that cannot be used."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from internimage_perception.errors import BundleError
from internimage_perception.geometry import KannalaBrandtCamera, PinholeCamera, Rig, RigCamera
from internimage_perception.inference.backends import NullBackend
from internimage_perception.inference.bundle import Bundle, ClassSpec, InputSpec, OutputSpec
from internimage_perception.inference.frame_sizes import FrameSizes
from internimage_perception.inference.frames import Frame, FrameSet
from internimage_perception.inference.lens import LensMasks
from internimage_perception.inference.overlay import OverlayPainter, color_mask
from internimage_perception.inference.tasks import SegmentationTask

CLASSES = (ClassSpec(0, "road", (128, 64, 128)), ClassSpec(1, "sky", (70, 130, 180)))


class RedChannel:
    """A backend that answers the red channel, and remembers what it was asked."""

    name = "red"
    frame_sizes: FrameSizes | None = None

    def __init__(self, batches: bool) -> None:
        self.prefers_batch = batches
        self.calls: list[tuple[int, ...]] = []

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        self.calls.append(images.shape)
        return {"class_ids": images[..., 0].copy(), "confidence": images[..., 1].copy()}


def bundle(task: str = "segmentation", order: str = "rgb") -> Bundle:
    return Bundle(
        Path("nowhere"), "test", task, {}, CLASSES, InputSpec(8, 8, channel_order=order), OutputSpec("input")
    )


def frame(camera: str, pixels: np.ndarray, encoding: str = "rgb8") -> Frame:
    height, width = pixels.shape[:2]
    return Frame(camera, camera, 7, 9, width, height, encoding, 3 * width, pixels.reshape(-1))


def frame_set(**pixels: np.ndarray) -> FrameSet:
    return FrameSet(0, 7, {name: frame(name, value) for name, value in pixels.items()})


def random_image(seed: int, height: int = 6, width: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("batches", [True, False])
@pytest.mark.parametrize("threads", [True, False])
def test_each_camera_gets_its_own_mask(batches: bool, threads: bool) -> None:
    backend = RedChannel(batches)
    pixels = {"a": random_image(1), "b": random_image(2, 4, 4), "c": random_image(3)}
    with ThreadPoolExecutor(2) as pool:
        task = SegmentationTask(bundle(), backend, decoders=pool if threads else None)
        result = task.run(frame_set(**pixels))
    assert list(result.masks) == ["a", "b", "c"]
    for name, mask in result.masks.items():
        np.testing.assert_array_equal(mask.class_ids, pixels[name][..., 0])
        np.testing.assert_array_equal(mask.confidence, pixels[name][..., 1])
        assert (mask.image_height, mask.image_width) == pixels[name].shape[:2]
        assert mask.stamp_ns == 7
    assert sorted(backend.calls) == (
        [(1, 4, 4, 3), (2, 6, 8, 3)] if batches else [(1, 4, 4, 3), (1, 6, 8, 3), (1, 6, 8, 3)]
    )
    assert set(result.stages_ns) == {"decode", "infer", "finish"}


def test_channel_order_of_the_bundle() -> None:
    image = random_image(4)
    result = SegmentationTask(bundle(order="bgr"), RedChannel(False)).run(frame_set(a=image))
    np.testing.assert_array_equal(result.masks["a"].class_ids, image[..., 2])


def test_a_bad_frame_costs_only_its_camera() -> None:
    frames = {"a": frame("a", random_image(1)), "b": frame("b", random_image(2), "rgb9")}
    result = SegmentationTask(bundle(), RedChannel(True)).run(FrameSet(0, 7, frames))
    assert list(result.masks) == ["a"]
    assert "rgb9" in result.errors["b"]


@pytest.mark.parametrize("batches", [True, False])
def test_a_frame_of_a_size_that_is_not_taken_costs_only_its_camera(batches: bool) -> None:
    backend = RedChannel(batches)
    backend.frame_sizes = FrameSizes((6, 6, 6), (8, 8, 8), "the export x")
    pixels = {"a": random_image(1), "b": random_image(2, 4, 4), "c": random_image(3), "d": random_image(4)}
    result = SegmentationTask(bundle(), backend).run(frame_set(**pixels))
    assert list(result.masks) == ["a", "c", "d"]
    assert result.errors["b"].startswith("images of 4x4 pixels (width x height) do not fit the export x")
    assert {shape[1:] for shape in backend.calls} == {(6, 8, 3)}
    alone = SegmentationTask(bundle(), backend).run(frame_set(b=pixels["b"]))
    assert not alone.masks and list(alone.errors) == ["b"]


def test_a_compressed_frame_of_another_size_is_found_out_once_decoded() -> None:
    backend = RedChannel(True)
    backend.frame_sizes = FrameSizes((6, 6, 6), (8, 8, 8), "the export x")
    good, data = cv2.imencode(".png", random_image(1, 12, 16))
    assert good
    big = Frame("b", "b", 7, 9, 0, 0, "png", 0, data.reshape(-1), compressed=True)
    result = SegmentationTask(bundle(), backend).run(
        FrameSet(0, 7, {"a": frame("a", random_image(1)), "b": big})
    )
    assert list(result.masks) == ["a"]
    assert "images of 16x12 pixels" in result.errors["b"]


def test_lens_and_ego_body_are_cut_out_at_any_size() -> None:
    lens = KannalaBrandtCamera(width=80, height=60, fx=10.0, fy=10.0, cx=39.5, cy=29.5, theta_max=1.5)
    ego = np.zeros((60, 80), bool)
    ego[40:] = True
    rig = Rig({"a": RigCamera(name="a", image_topic="/a", camera=lens, ego_mask=ego)})
    for scale in (1, 2):
        image = np.full((60 * scale, 80 * scale, 3), 1, np.uint8)
        mask = (
            SegmentationTask(bundle(), RedChannel(False), LensMasks(rig)).run(frame_set(a=image)).masks["a"]
        )
        y, x = np.mgrid[: 60 * scale, : 80 * scale]
        radius = np.hypot((x + 0.5) / scale - 40.0, (y + 0.5) / scale - 30.0)
        outside = (radius > 15.8) | (y >= 40 * scale + 1)
        inside = (radius < 14.2) & (y < 40 * scale - 1)
        assert (mask.class_ids[outside] == 255).all() and (mask.confidence[outside] == 0).all()
        assert (mask.class_ids[inside] == 1).all() and (mask.confidence[inside] == 1).all()


def test_calibration_of_another_shape_is_an_error_of_that_camera() -> None:
    lenses = LensMasks()
    lenses.learn("a", PinholeCamera(width=640, height=480, fx=300.0, fy=300.0, cx=320.0, cy=240.0))
    result = SegmentationTask(bundle(), RedChannel(False), lenses).run(frame_set(a=random_image(1, 10, 10)))
    assert not result.masks
    assert "10x10" in result.errors["a"] and "640x480" in result.errors["a"]


def test_camera_info_does_not_replace_the_rig_file() -> None:
    lens = KannalaBrandtCamera(width=80, height=60, fx=10.0, fy=10.0, cx=39.5, cy=29.5)
    other = KannalaBrandtCamera(width=80, height=60, fx=20.0, fy=20.0, cx=39.5, cy=29.5)
    rig = Rig(
        {"a": RigCamera(name="a", image_topic="/a", camera=lens), "b": RigCamera(name="b", image_topic="/b")}
    )
    lenses = LensMasks(rig)
    assert not lenses.learn("a", other) and lenses.models["a"] == lens
    assert lenses.learn("b", other) and not lenses.learn("b", other)
    assert lenses.learn("b", lens) and lenses.models["b"] == lens


def test_bundle_of_another_task_is_refused() -> None:
    with pytest.raises(BundleError, match="detection"):
        SegmentationTask(bundle("detection"), RedChannel(False))


def test_null_backend_answers_the_bundles_size() -> None:
    sized = Bundle(Path("x"), "t", "segmentation", {}, CLASSES, InputSpec(8, 8), OutputSpec((5, 7)))
    answer = NullBackend(sized).run(np.zeros((2, 20, 30, 3), np.uint8))
    assert answer["class_ids"].shape == answer["confidence"].shape == (2, 5, 7)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_overlay_mixes_image_and_colour(order: str) -> None:
    image = np.full((40, 80, 3), 100, np.uint8)
    ids = np.zeros((10, 20), np.uint8)
    ids[:, 10:] = 1
    ids[5:] = 255
    picture = OverlayPainter(CLASSES, width=80).paint(image, ids, order)
    colors = {0: CLASSES[0].color, 1: CLASSES[1].color}
    for column, spec in ((10, 0), (70, 1)):
        wanted = np.array(colors[spec][:: 1 if order == "rgb" else -1]) / 2 + 50
        np.testing.assert_allclose(picture[5, column], wanted, atol=1)
    np.testing.assert_allclose(picture[35, 40], 50, atol=1)
    assert OverlayPainter(CLASSES, width=40).paint(image, ids).shape == (20, 40, 3)
    np.testing.assert_array_equal(color_mask(ids, CLASSES)[0, 15], CLASSES[1].color)
    assert not color_mask(ids, CLASSES)[9].any()
