"""Backgrounds: masks from labelme, from pictures, or found in the frames themselves."""

import json

import cv2
import numpy as np
import pytest

from internimage_perception.data.datasets.pictures import regions_picture
from internimage_perception.data.distortion import Background, BackgroundBank, visible_regions
from internimage_perception.data.distortion.auto_regions import find_regions
from internimage_perception.data.distortion.background_files import load_backgrounds
from internimage_perception.data.distortion.labelme import read_labelme
from internimage_perception.data.sample import Regions
from internimage_perception.errors import DatasetError

WIDTH, HEIGHT = 120, 90


def drawn(path, shapes, **extra):
    values = {"shapes": shapes, "imageWidth": WIDTH, "imageHeight": HEIGHT, **extra}
    path.write_text(json.dumps(values))
    return path


def rectangle(label, left, top, right, bottom):
    """Covers the pixels from (left, top) to before (right, bottom): labelme counts from pixels' corners."""
    return {"label": label, "points": [[left, top], [right, bottom]], "shape_type": "rectangle"}


def test_labelme_regions(tmp_path):
    path = drawn(
        tmp_path / "a.json", [rectangle("visible", 10, 5, 110, 80), rectangle("ego_body", 10, 60, 110, 80)]
    )
    regions = read_labelme(path, WIDTH, HEIGHT)
    expected_visible, expected_ego = np.zeros((2, HEIGHT, WIDTH), bool)
    expected_visible[5:60, 10:110] = True
    expected_ego[60:80, 10:110] = True
    # The raster's own border may take a pixel more.
    for mask, expected in ((regions.ego_body, expected_ego), (~regions.anywhere, expected_visible)):
        grown = cv2.dilate(expected.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        shrunk = cv2.erode(expected.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert not (mask & ~grown).any() and not (shrunk & ~mask).any()
    assert not (regions.outside_lens & regions.ego_body).any()
    polygon = {"label": "anything", "points": [[0, 0], [60, 0], [60, 90], [0, 90]]}
    other = read_labelme(drawn(tmp_path / "b.json", [polygon]), WIDTH, HEIGHT)
    assert not other.outside_lens[:, :60].any() and other.outside_lens[:, 61:].all()
    circle = {"label": "outside_lens", "points": [[60, 45], [60, 65]], "shape_type": "circle"}
    round_ = read_labelme(drawn(tmp_path / "c.json", [circle]), WIDTH, HEIGHT)
    assert round_.outside_lens.sum() == pytest.approx(np.pi * 400, rel=0.1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "labelme"),
        ('{"shapes": []}', "no shapes"),
        ('{"shapes": 3}', "labelme"),
        ('{"shapes": [{"label": "visible", "points": [[1, 2]]}]}', "no area"),
        ('{"shapes": [{"label": "visible", "points": [[1, 2], [3, 4], ["x", 1]]}]}', "labelme"),
        (json.dumps({"shapes": [rectangle("car", 0, 0, 5, 5), rectangle("bus", 0, 0, 5, 5)]}), "bus, car"),
        (
            json.dumps({"shapes": [rectangle("visible", 0, 0, 5, 5)], "imageWidth": 7, "imageHeight": 7}),
            "7x7",
        ),
    ],
)
def test_labelme_files_that_say_nothing(tmp_path, content, words):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(DatasetError, match=words) as caught:
        read_labelme(path, WIDTH, HEIGHT)
    assert "a.json" in str(caught.value)


def test_a_folder_of_frames_with_masks(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    drawn(tmp_path / "a.json", [rectangle("visible", 10, 5, 110, 80)])
    regions = Regions.none(HEIGHT, WIDTH)
    regions.ego_body[70:] = True
    regions.outside_lens[:, :7] = True
    regions.ego_body[:, :7] = False
    cv2.imwrite(str(tmp_path / "b_regions.png"), regions_picture(regions))
    visible = np.full((HEIGHT, WIDTH), 255, np.uint8)
    visible[:9] = 0
    cv2.imwrite(str(tmp_path / "c_visible.png"), visible)
    bank = load_backgrounds(tmp_path)
    assert [frame.name for frame in bank.frames] == ["a", "b", "c"]
    np.testing.assert_array_equal(bank.frames[1].regions.ego_body, regions.ego_body)
    np.testing.assert_array_equal(bank.frames[1].regions.outside_lens, regions.outside_lens)
    np.testing.assert_array_equal(bank.frames[2].regions.outside_lens, visible == 0)
    cv2.imwrite(str(tmp_path / "d.png"), rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(DatasetError, match="at least 5"):
        load_backgrounds(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds no"):
        load_backgrounds(tmp_path / "empty")


def test_the_bank_fits_and_chooses():
    rng = np.random.default_rng(0)
    visible = rng.random((10, 20)) < 0.5
    frames = [
        Background(str(n), np.full((10, 20, 3), n, np.uint8), visible_regions(visible)) for n in range(3)
    ]
    bank = BackgroundBank(frames)
    fitted = bank.fitted(2, 40, 20)
    assert bank.fitted(2, 40, 20) is fitted
    np.testing.assert_array_equal(
        fitted.regions.outside_lens, np.kron(~visible, np.ones((2, 2))).astype(bool)
    )
    assert (fitted.image == 2).all()
    assert bank.fitted(1, 20, 10).image is frames[1].image
    assert [bank.choose(name, "suffix", rng) for name in ("a_0004", "b/7.x", "TRAIN_2")] == [1, 1, 2]
    drawn_numbers = {bank.choose("a_0004", "random", rng) for _ in range(50)}
    assert drawn_numbers == {0, 1, 2}
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    bank.choose("a_1", "suffix", one)
    bank.choose("a_1", "random", other)
    assert one.random() == other.random()
    with pytest.raises(ValueError, match="at least one"):
        BackgroundBank([])
    with pytest.raises(ValueError, match="size"):
        BackgroundBank([Background("x", np.zeros((4, 4, 3), np.uint8), frames[0].regions)])


def drive(count=8, width=320, height=200):
    """Frames of a lens with a black rim: a scene that moves, asphalt that looks the same, and a bonnet."""
    rows, columns = np.mgrid[:height, :width]
    lens = np.hypot(columns - 158, rows - 98) < 140
    bonnet = lens & (rows > 190 - 30 * np.cos((columns - 160) / 100))
    rng = np.random.default_rng(3)
    frames = []
    for _ in range(count):
        # Blocks whose edges lie elsewhere in each frame.
        left, top = rng.integers(0, 10, 2)
        blocks = rng.integers(20, 250, (height // 10 + 1, width // 10 + 1, 3))
        image = np.kron(blocks, np.ones((10, 10, 1)))[top : top + height, left : left + width]
        # The road rises and falls, and leans.
        asphalt = rows > 95 + rng.uniform(-12, 12) + (columns - 160) * rng.uniform(-0.1, 0.1)
        image[asphalt] = 70.0 + rng.normal(0.0, 4.0, (int(asphalt.sum()), 1))
        image[asphalt & (np.abs(columns - 160 - rng.integers(-60, 60)) < 4)] = 220.0
        image[bonnet] = np.array([150.0, 160.0, 190.0]) - 0.2 * (rows[bonnet] - 120)[:, None]
        image = image * rng.uniform(0.8, 1.2) + rng.normal(0.0, 3.0, image.shape)
        image[~lens] = rng.uniform(0.0, 6.0, (int((~lens).sum()), 3))
        # Glare on the rim of one frame.
        frames.append(np.clip(image, 0, 255).astype(np.uint8))
    frames[0][90:110, 5:15] = 200
    return frames, lens, bonnet


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_rim_and_bonnet_are_found():
    frames, lens, bonnet = drive()
    regions = find_regions(frames)
    assert iou(regions.outside_lens, ~lens) > 0.95
    assert iou(regions.ego_body, bonnet) > 0.85
    assert not (regions.outside_lens & regions.ego_body).any()
    # At another size the same.
    large = [np.asarray(cv2.resize(frame, (960, 600), interpolation=cv2.INTER_CUBIC)) for frame in frames]
    assert iou(find_regions(large).outside_lens[::3, ::3], ~lens) > 0.93


def test_a_plain_camera_has_neither():
    rng = np.random.default_rng(0)
    frames = [
        np.kron(rng.integers(0, 256, (12, 16, 3)), np.ones((10, 10, 1))).astype(np.uint8) for _ in range(6)
    ]
    assert not find_regions(frames).anywhere.any()
    with pytest.raises(ValueError, match="4 frames"):
        find_regions(frames[:4])
    black = [np.zeros((60, 80, 3), np.uint8)] * 5
    assert find_regions(black).outside_lens.all()


def test_frames_without_masks_get_those_found(tmp_path):
    frames, lens, _ = drive()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame[..., ::-1])
    bank = load_backgrounds(tmp_path)
    assert len(bank) == len(frames)
    assert iou(bank.frames[0].regions.outside_lens, ~lens) > 0.95
