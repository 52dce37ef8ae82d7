"""3-D boxes of nuScenes, and what they cover in a picture."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from internimage_perception.geometry import PinholeCamera
from internimage_perception.geometry.poses import invert, pose, quaternion_to_matrix, transform

Floats = npt.NDArray[np.float64]

# Nearer than this to the image plane, metres, nothing is projected.
_NEAR = 0.1
# Corners of a cube, and its six sides by their corners in turn.
_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_SIDES = ((0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5))


@dataclass(frozen=True, slots=True, eq=False)
class Box3D:
    """An annotated object.

    Attributes:
        class_id: of the dataset's classes.
        base_from_box: pose of its centre, 4x4, metres; x forward along its length, y left, z up.
        size: length, width, height in metres.
        instance_id: the same object in every picture of the dataset, from 1.
        num_lidar_pts: lidar points in it.
        num_radar_pts: radar points in it.
    """

    class_id: int
    base_from_box: Floats
    size: Floats
    instance_id: int
    num_lidar_pts: int
    num_radar_pts: int


def record_pose(translation: npt.ArrayLike, rotation: npt.ArrayLike) -> Floats:
    """Return the 4x4 pose of a record: metres, and a quaternion in nuScenes' order w, x, y, z."""
    return pose(translation, quaternion_to_matrix(np.roll(np.asarray(rotation, np.float64), -1)))


def box_in_picture(box: Box3D, lens: PinholeCamera, base_from_camera: Floats) -> Floats | None:
    """Return x0, y0, x1, y1 around what an undistorted picture shows of a box; None: nothing.

    Sides are cut where they leave the picture, before they are projected: boxes that reach behind the camera
    come out right. What hides the object is not known.
    """
    corners = transform(invert(base_from_camera) @ box.base_from_box, _CORNERS * box.size)
    left, top = -0.5, -0.5
    right, bottom = lens.width - 0.5, lens.height - 0.5
    # Inside are points p with normal p >= distance; those of the picture's border pass through the camera.
    planes = (
        ((0.0, 0.0, 1.0), _NEAR),
        ((lens.fx, 0.0, lens.cx - left), 0.0),
        ((-lens.fx, 0.0, right - lens.cx), 0.0),
        ((0.0, lens.fy, lens.cy - top), 0.0),
        ((0.0, -lens.fy, bottom - lens.cy), 0.0),
    )
    kept = []
    for side in _SIDES:
        points = corners[list(side)]
        for normal, distance in planes:
            points = _cut(points, np.array(normal), distance)
        kept.append(points)
    points = np.concatenate(kept)
    if not len(points):
        return None
    u = lens.fx * points[:, 0] / points[:, 2] + lens.cx
    v = lens.fy * points[:, 1] / points[:, 2] + lens.cy
    found = np.array([u.min(), v.min(), u.max(), v.max()])
    return found if (found[2:] > found[:2]).all() else None


def _cut(points: Floats, normal: Floats, distance: float) -> Floats:
    """Return the part of a flat polygon on the inner side of a plane (Sutherland and Hodgman, 1974)."""
    if not len(points):
        return points
    heights = points @ normal - distance
    kept = []
    for index, height in enumerate(heights):
        before = heights[index - 1]
        if (before >= 0.0) != (height >= 0.0):
            share = before / (before - height)
            kept.append(points[index - 1] + share * (points[index] - points[index - 1]))
        if height >= 0.0:
            kept.append(points[index])
    return np.array(kept, np.float64).reshape(-1, 3)
