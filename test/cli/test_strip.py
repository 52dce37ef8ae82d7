"""The picture strip: which moments and cameras it shows, with and without truth."""

import cv2
import numpy as np
import pytest
from support.bags import PERIOD, T0, expected_mask, scene, write_bag

from internimage_perception.bags.replay import Replay, ReplayOptions
from internimage_perception.cli.replayed import Replayed
from internimage_perception.cli.strip import write_strip
from internimage_perception.errors import ImageError
from internimage_perception.evaluation.truth import TruthFolder
from internimage_perception.inference.bundle import Bundle

HEAD, HEIGHT, GAP, WIDTH = 30, 360, 6, 480


@pytest.fixture(scope="module")
def bundle(brightness_bundle):
    return Bundle.load(brightness_bundle)


@pytest.fixture(scope="module")
def replayed(bundle, tmp_path_factory):
    """A replay of two cameras, six images each; `left` lost its second one."""
    folder = tmp_path_factory.mktemp("strip")
    bag = write_bag(folder / "bag", skip=lambda camera, index: (camera, index) == ("left", 1))
    out = folder / "replay"
    Replay(ReplayOptions(bags=[bag], bundle=bundle.root, out=out, backend="onnxruntime")).run()
    return Replayed(out, [bag], bundle)


def read(path):
    return cv2.imread(str(path))[..., ::-1].astype(float)


def panel(strip, row, column):
    """Return a panel at the size of the images, below its label; JPEG smears their noise."""
    top, left = HEAD + row * (HEIGHT + GAP), column * (WIDTH + GAP)
    shown = strip[top : top + HEIGHT, left : left + WIDTH]
    return cv2.resize(shown, (64, 48), interpolation=cv2.INTER_AREA)[8:]


def painted(pixels, ids, classes):
    colors = np.array([spec.color for spec in classes])[ids]
    return ((pixels + colors) / 2)[8:]


def test_one_moment_is_the_middle_one(replayed, bundle, tmp_path):
    assert write_strip(tmp_path / "strip.jpg", replayed, bundle.classes)
    strip = read(tmp_path / "strip.jpg")
    assert strip.shape[1] == 2 * WIDTH + GAP
    # front has six masks, left five, without its second: both show the fourth.
    for row, number in enumerate((300, 301)):
        pixels = scene(number)
        assert np.abs(panel(strip, row, 0) - pixels[8:]).mean() < 20
        assert (
            np.abs(panel(strip, row, 1) - painted(pixels, expected_mask(pixels), bundle.classes)).mean() < 20
        )


def test_moments_are_spread_and_the_truth_is_beside_them(replayed, bundle, tmp_path):
    folder = tmp_path / "truth" / "classes" / "front"
    folder.mkdir(parents=True)
    for index in range(6):
        ids = np.full((48, 64), index, np.uint8)
        cv2.imwrite(str(folder / f"{T0 + index * PERIOD}.png"), ids)
    truth = TruthFolder([tmp_path / "truth"])
    assert write_strip(tmp_path / "strip.jpg", replayed, bundle.classes, truth=truth, moments=3)
    strip = read(tmp_path / "strip.jpg")
    assert strip.shape[1] == 3 * WIDTH + 2 * GAP
    for row, (camera, index) in enumerate([(0, 1), (1, 0), (0, 3), (1, 3), (0, 5), (1, 5)]):
        pixels = scene(100 * index + camera)
        assert np.abs(panel(strip, row, 0) - pixels[8:]).mean() < 20, row
        labels = np.full((48, 64), index)
        # left has no truth: its place stays white.
        wanted = painted(pixels, labels, bundle.classes) if camera == 0 else np.full((40, 64, 3), 255.0)
        assert np.abs(panel(strip, row, 2) - wanted).mean() < 20, row


def test_more_moments_than_masks_show_each_mask_once(replayed, bundle, tmp_path):
    assert write_strip(tmp_path / "strip.jpg", replayed, bundle.classes, moments=50)
    rows = (read(tmp_path / "strip.jpg").shape[0] - HEAD) // (HEIGHT + GAP)
    assert rows == 11


def test_truth_that_does_not_fit_is_named(replayed, bundle, tmp_path):
    folder = tmp_path / "truth" / "classes" / "front"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / f"{T0 + 3 * PERIOD}.png"), np.full((48, 64), 77, np.uint8))
    with pytest.raises(ImageError, match="holds id 77"):
        write_strip(tmp_path / "x.jpg", replayed, bundle.classes, truth=TruthFolder([tmp_path / "truth"]))
    assert not (tmp_path / "x.jpg").exists()
