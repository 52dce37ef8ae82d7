"""Truth that comes with published image sets, in this package's class ids."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.datasets.label_map_file import load_label_map
from internimage_perception.errors import PerceptionError
from internimage_perception.geometry import RigCamera
from internimage_perception.geometry.poses import invert, transform

Ids = npt.NDArray[np.uint8]

IGNORED = 255
ROAD = 0

# Bird's-eye masks of the opencalib sets: pixels per metre, and the pixel of the ground's origin.
_BIRD_SCALE = 421 / 6
_BIRD_ORIGIN = 500.0


@cache
def _camvid_targets() -> tuple[int, ...]:
    """Return this package's ids of CamVid's 11 classes and of "unlabelled", in the order of its ids."""
    return tuple(item.target for item in load_label_map("camvid11_to_dacon12").labels)


def camvid_classes() -> tuple[int, ...]:
    """Return the ids of the classes that CamVid labels; traffic light and background are not among them."""
    return tuple(sorted(item for item in _camvid_targets() if item != IGNORED))


def camvid_truth(picture: Path) -> Ids:
    """Return the class ids of a CamVid frame, uint8 (h, w), 255 where it is unlabelled.

    Raises PerceptionError when the label file is missing or holds another id.
    """
    path = picture.with_name(f"{picture.stem}_label.png")
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if labels is None or labels.ndim != 2:
        raise PerceptionError(f"cannot read {path}: a PNG with one channel of class ids is needed")
    targets = _camvid_targets()
    if (highest := int(labels.max())) >= len(targets):
        raise PerceptionError(f"{path} holds id {highest}; CamVid's ids end at {len(targets) - 1}")
    found: Ids = np.asarray(targets, np.uint8)[labels]
    return found


def opencalib_road(camera: RigCamera, mask_file: Path, class_ids: Ids) -> tuple[Ids, Ids]:
    """Draw a camera's mask as the bird's-eye view in which the opencalib sets give their road.

    Args:
        camera: lens and pose, as `image_sets.opencalib_surround` reads them.
        mask_file: `bev_road_mask_CAMERA.png`, 255 where there is road.
        class_ids: the camera's mask, uint8 (h, w), covering the whole image.

    Returns:
        The truth (0 road, 1 anything else, 255 not seen by this camera, or nearer than the file goes) and
        the mask's answers at the same ground points (its class ids), both uint8 in the size of the file.

    Raises:
        PerceptionError: the file cannot be read, or lens or pose are missing.
    """
    road = cv2.imread(str(mask_file), cv2.IMREAD_GRAYSCALE)
    if road is None:
        raise PerceptionError(f"cannot read {mask_file}")
    if camera.camera is None or camera.base_from_camera is None:
        raise PerceptionError(f"camera {camera.name} needs a lens and a pose")
    rows, columns = np.mgrid[: road.shape[0], : road.shape[1]].astype(np.float64)
    right, forward = (columns - _BIRD_ORIGIN) / _BIRD_SCALE, (_BIRD_ORIGIN - rows) / _BIRD_SCALE
    ground = np.stack([forward, -right, np.zeros_like(right)], axis=-1)
    pixels, valid = camera.camera.project(transform(invert(camera.base_from_camera), ground))
    seen = valid & camera.camera.in_image(pixels)
    # From the image's pixels to those of the mask, whose pixel centres lie otherwise.
    scale = np.array([class_ids.shape[1] / camera.camera.width, class_ids.shape[0] / camera.camera.height])
    with np.errstate(invalid="ignore"):
        nearest = np.floor((pixels + 0.5) * scale)
    nearest = np.where(seen[..., None], nearest, 0).astype(np.intp)
    answers = class_ids[
        nearest[..., 1].clip(0, class_ids.shape[0] - 1), nearest[..., 0].clip(0, class_ids.shape[1] - 1)
    ]
    is_road = road > 127
    truth = np.where(is_road, np.uint8(ROAD), np.uint8(1))
    # The files are cut off straight at some distance from the car, amid the road: nothing nearer is labelled.
    axis = np.zeros(2)
    looks = camera.base_from_camera[:2, 2]
    axis[np.argmax(np.abs(looks))] = np.sign(looks[np.argmax(np.abs(looks))])
    distance = ground[..., :2] @ axis
    cut = np.quantile(distance[is_road], 0.001) if is_road.any() else -np.inf
    return np.where(seen & (distance >= cut), truth, np.uint8(IGNORED)), answers
