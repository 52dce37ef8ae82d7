"""Rigs: visible masks, calibrations that arrive later, saving and loading."""

import math
import pickle
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry import KannalaBrandtCamera, PinholeCamera, Rig, RigCamera
from internimage_perception.geometry.poses import BODY_FROM_OPTICAL, pose, rpy_to_matrix

LENS = KannalaBrandtCamera(
    width=320,
    height=240,
    fx=70.0,
    fy=71.0,
    cx=158.0,
    cy=121.5,
    d=(0.02, 0.0, 0.0, 0.0),
    theta_max=math.radians(95),
)


def ego() -> np.ndarray:
    mask = np.zeros((240, 320), bool)
    mask[200:, 40:280] = True
    return mask


def camera(name: str = "front", **changes: object) -> RigCamera:
    return RigCamera(**({"name": name, "image_topic": f"/{name}/image_raw"} | changes))


def test_visible_is_the_lens_minus_the_vehicle() -> None:
    rig = Rig({"front": camera(camera=LENS, ego_mask=ego())})
    visible = rig.visible_mask("front", 320, 240)
    np.testing.assert_array_equal(visible, LENS.valid_mask() & ~ego())
    assert rig.visible_mask("front", 320, 240) is visible
    assert not visible.flags.writeable
    assert LENS.valid_mask()[210, 160]
    assert not visible[210, 160]


@pytest.mark.parametrize(("width", "height"), [(160, 120), (640, 480), (100, 77), (333, 239), (1, 1)])
def test_visible_mask_reads_the_nearest_pixel_at_any_size(width: int, height: int) -> None:
    rig = Rig({"front": camera(camera=LENS, ego_mask=ego())})
    full = rig.visible_mask("front", 320, 240)
    mask = rig.visible_mask("front", width, height)
    assert mask.shape == (height, width)
    for row in range(0, height, 7):
        for column in range(0, width, 5):
            # Nearest to the centre of the output pixel in the full image; ties go either way.
            v, u = (row + 0.5) * 240 / height - 0.5, (column + 0.5) * 320 / width - 0.5
            near = {bool(full[y, x]) for y in _nearest(v, 240) for x in _nearest(u, 320)}
            assert bool(mask[row, column]) in near


def _nearest(position: float, size: int) -> set[int]:
    return {min(max(round(position + shift), 0), size - 1) for shift in (-1e-9, 1e-9)}


def test_without_lens_everything_but_the_vehicle_is_visible() -> None:
    rig = Rig({"front": camera(), "rear": camera("rear", ego_mask=ego())})
    assert rig.visible_mask("front", 50, 40).all()
    np.testing.assert_array_equal(rig.visible_mask("rear", 320, 240), ~ego())


def test_lens_from_camera_info_keeps_the_field_of_view_of_the_rig() -> None:
    rig = Rig({"front": camera(theta_max=math.radians(60), ego_mask=ego())})
    message = SimpleNamespace(
        width=320, height=240, distortion_model="equidistant", d=LENS.d, k=(70, 0, 158, 0, 71, 121.5, 0, 0, 1)
    )
    assert rig.visible_mask("front", 320, 240)[0, 0]
    calibrated = rig.with_info("front", message)
    lens = calibrated.cameras["front"].camera
    assert lens is not None
    assert lens.theta_max == math.radians(60)
    assert not calibrated.visible_mask("front", 320, 240)[0, 0]
    assert rig.cameras["front"].camera is None
    message.width = 640
    with pytest.raises(
        CalibrationError, match="camera 'front': ego_mask: is 320 x 240 pixels, but the camera 640"
    ):
        rig.with_info("front", message)
    message.k = (0,) * 9
    with pytest.raises(CalibrationError, match=r"camera 'front'.*uncalibrated"):
        rig.with_info("front", message)


def test_save_and_load_give_the_same_rig(tmp_path: Path) -> None:
    base_from_camera = pose((3.6, 0.05, 0.7), rpy_to_matrix(0.1, 0.4, -0.05)) @ BODY_FROM_OPTICAL
    pinhole = PinholeCamera(
        width=64, height=48, fx=50.5, fy=50.25, cx=31.0, cy=24.0, d=(0.1, 0.2, 0.003, 0.004)
    )
    rig = Rig(
        {
            "front": camera(
                frame_id="front_optical", info_topic="/front/camera_info", camera=LENS, ego_mask=ego(),
                base_from_camera=base_from_camera,
            ),
            "rear": camera("rear", camera=pinhole),
            "left": camera("left", theta_max=1.2345678901234567),
        },
        base_frame="rear_axle",
    )  # fmt: skip
    path = tmp_path / "new" / "rig.yaml"
    rig.save(path)
    again = Rig.load(path)
    assert list(again.cameras) == ["front", "rear", "left"]
    assert again.base_frame == "rear_axle"
    for name, expected in rig.cameras.items():
        actual = again.cameras[name]
        assert actual.camera == expected.camera
        assert (actual.image_topic, actual.info_topic) == (expected.image_topic, expected.info_topic)
        assert (actual.frame_id, actual.theta_max) == (expected.frame_id, expected.theta_max)
    np.testing.assert_allclose(again.cameras["front"].base_from_camera, base_from_camera, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(again.cameras["front"].ego_mask, ego())
    assert again.cameras["rear"].ego_mask is None
    assert again.cameras["rear"].base_from_camera is None
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["rig.yaml", "rig_front_ego.png"]


def test_rigs_are_copied_between_processes() -> None:
    rig = pickle.loads(pickle.dumps(Rig({"front": camera(camera=LENS, ego_mask=ego())})))
    np.testing.assert_array_equal(rig.visible_mask("front", 320, 240), LENS.valid_mask() & ~ego())


def test_later_changes_of_the_callers_objects_do_not_reach_the_rig() -> None:
    mask, cameras = ego(), {}
    cameras["front"] = camera(ego_mask=mask)
    rig = Rig(cameras)
    cameras.clear()
    mask[:] = True
    assert rig.visible_mask("front", 320, 240).any()
    with pytest.raises(ValueError, match="read-only"):
        rig.cameras["front"].ego_mask[0, 0] = True


def test_poses_are_made_exactly_rigid() -> None:
    rounded = pose((1, 2, 3), rpy_to_matrix(0.3, 0.2, 0.1)).round(4)
    fixed = camera(base_from_camera=rounded).base_from_camera
    np.testing.assert_allclose(fixed[:3, :3] @ fixed[:3, :3].T, np.eye(3), atol=1e-15)
    np.testing.assert_array_equal(fixed[:3, 3], (1, 2, 3))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: Rig({}), "at least one camera"),
        (lambda: Rig({"a": camera("b")}), "camera 'b' is filed under the name 'a'"),
        (lambda: camera("front left"), "camera 'front left': name it with letters"),
        (lambda: camera("2nd"), "a letter first"),
        (lambda: camera(base_from_camera=np.eye(4) * 2), "camera 'front': base_from_camera: the last row"),
        (lambda: camera(ego_mask=np.zeros((3, 3, 3), bool)), r"ego_mask: must be \(height, width\)"),
        (
            lambda: camera(ego_mask=np.zeros((9, 9), bool), camera=LENS),
            "is 9 x 9 pixels, but the camera 320 x 240",
        ),
        (lambda: Rig({"front": camera()}).camera("rear"), "the rig has no camera 'rear'; it has front"),
        (
            lambda: Rig({"a": camera("a"), "b": camera("b", image_topic="/a/image_raw")}),
            "camera 'b': image_topic: '/a/image_raw' is already the image_topic of camera 'a'",
        ),
        (
            lambda: Rig({"a": camera("a", info_topic="/i"), "b": camera("b", info_topic="/i")}),
            "camera 'b': info_topic: '/i' is already the info_topic of camera 'a'",
        ),
    ],
)
def test_rigs_that_cannot_be_say_why(build, reason: str) -> None:
    with pytest.raises(CalibrationError, match=reason):
        build()


def test_example_rig_loads() -> None:
    rig = Rig.load(Path(__file__).resolve().parents[2] / "config" / "rigs" / "example_four_fisheye.yaml")
    assert list(rig.cameras) == ["front", "left", "rear", "right"]
    looks = {"front": (1, 0), "left": (0, 1), "rear": (-1, 0), "right": (0, -1)}
    for name, entry in rig.cameras.items():
        assert entry.camera is not None
        assert entry.base_from_camera is not None
        assert entry.camera.theta_max > math.radians(90)
        axis = entry.base_from_camera[:3, 2]
        assert axis[:2] @ looks[name] > 0.5
        assert axis[2] < 0.0
        # The image is upright: its downward direction points down.
        assert entry.base_from_camera[2, 1] < -0.5
        visible = rig.visible_mask(name, 320, 240)
        assert 0.3 < visible.mean() < 0.95


def test_grey_alpha_and_colour_masks(tmp_path: Path) -> None:
    pixels = np.zeros((24, 32, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[:5, :, 1] = 1
    cv2.imwrite(str(tmp_path / "ego.png"), pixels)
    cv2.imwrite(str(tmp_path / "deep.png"), pixels[..., 1].astype(np.uint16))
    text = "cameras:\n  a: {image_topic: /a, ego_mask: ego.png}\n  b: {image_topic: /b, ego_mask: deep.png}\n"
    (tmp_path / "rig.yaml").write_text(text)
    rig = Rig.load(tmp_path / "rig.yaml")
    for name in ("a", "b"):
        np.testing.assert_array_equal(rig.cameras[name].ego_mask, np.arange(24)[:, None] < np.full(32, 5))
