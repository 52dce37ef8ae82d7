"""Rigid poses: conversions against each other and against hand-computed cases."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from internimage_perception.geometry import poses

ANGLE = st.floats(-math.pi, math.pi)


def test_rpy_is_about_fixed_axes_in_the_order_roll_pitch_yaw() -> None:
    quarter = math.pi / 2
    np.testing.assert_allclose(poses.rpy_to_matrix(0, 0, quarter) @ (1, 0, 0), (0, 1, 0), atol=1e-15)
    np.testing.assert_allclose(poses.rpy_to_matrix(0, quarter, 0) @ (1, 0, 0), (0, 0, -1), atol=1e-15)
    np.testing.assert_allclose(poses.rpy_to_matrix(quarter, 0, 0) @ (0, 1, 0), (0, 0, 1), atol=1e-15)
    # Roll first, then yaw about the axis that stayed: y goes to z and remains there.
    np.testing.assert_allclose(poses.rpy_to_matrix(quarter, 0, quarter) @ (0, 1, 0), (0, 0, 1), atol=1e-15)


def test_optical_frame_of_rep_103() -> None:
    rotation = poses.BODY_FROM_OPTICAL[:3, :3]
    np.testing.assert_array_equal(rotation @ (0, 0, 1), (1, 0, 0))  # looks forward
    np.testing.assert_array_equal(rotation @ (1, 0, 0), (0, -1, 0))  # right in the image is right
    np.testing.assert_array_equal(rotation @ (0, 1, 0), (0, 0, -1))  # down in the image is down
    np.testing.assert_allclose(poses.matrix_to_quaternion(rotation), (-0.5, 0.5, -0.5, 0.5), atol=1e-15)
    np.testing.assert_allclose(
        poses.rpy_to_matrix(math.radians(-90), 0, math.radians(-90)), rotation, atol=1e-15
    )


@given(ANGLE, st.floats(-1.57, 1.57), ANGLE)
def test_rpy_matrix_quaternion_round_trip(roll: float, pitch: float, yaw: float) -> None:
    matrix = poses.rpy_to_matrix(roll, pitch, yaw)
    np.testing.assert_allclose(poses.rpy_to_matrix(*poses.matrix_to_rpy(matrix)), matrix, atol=1e-12)
    quaternion = poses.matrix_to_quaternion(matrix)
    assert quaternion[3] >= 0.0
    np.testing.assert_allclose(poses.quaternion_to_matrix(quaternion), matrix, atol=1e-14)


def test_gimbal_lock_still_gives_the_same_rotation() -> None:
    for pitch in (math.pi / 2, -math.pi / 2):
        matrix = poses.rpy_to_matrix(0.4, pitch, -0.7)
        np.testing.assert_allclose(poses.rpy_to_matrix(*poses.matrix_to_rpy(matrix)), matrix, atol=1e-12)


@given(ANGLE, st.floats(-1.5, 1.5), ANGLE, st.tuples(*[st.floats(-50, 50)] * 3))
def test_invert_and_transform(roll: float, pitch: float, yaw: float, t: tuple[float, ...]) -> None:
    pose = poses.pose(t, poses.rpy_to_matrix(roll, pitch, yaw))
    np.testing.assert_allclose(pose @ poses.invert(pose), np.eye(4), atol=1e-12)
    points = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(poses.transform(pose, points)[1], t, atol=1e-12)
    back = poses.transform(poses.invert(pose), poses.transform(pose, points))
    np.testing.assert_allclose(back, points, atol=1e-11)


def test_invert_takes_many_poses() -> None:
    stack = np.stack([poses.pose((1, 2, 3), poses.rpy_to_matrix(0.1, 0.2, 0.3)), poses.pose((4, 5, 6))])
    np.testing.assert_allclose(poses.invert(stack), np.linalg.inv(stack), atol=1e-14)


def test_rounded_matrices_become_exact_rotations() -> None:
    exact = poses.rpy_to_matrix(0.3, -0.2, 2.0)
    result = poses.nearest_rotation(exact.round(4))
    np.testing.assert_allclose(result @ result.T, np.eye(3), atol=1e-15)
    np.testing.assert_allclose(result, exact, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: poses.quaternion_to_matrix((0, 0, 0, 0)), "length 0"),
        (lambda: poses.quaternion_to_matrix((1, 1, 0, 0)), "must be 1"),
        (lambda: poses.quaternion_to_matrix((0, 0, math.nan, 1)), "not finite"),
        (lambda: poses.quaternion_to_matrix((0, 0, 1)), "needs 4 numbers, got 3"),
        (lambda: poses.nearest_rotation(np.eye(3) * 1.1), "not a rotation"),
        (lambda: poses.nearest_rotation(np.diag((1.0, 1.0, -1.0))), "mirrors"),
        (lambda: poses.check_pose(np.vstack((np.eye(4)[:3], (0, 0, 0.5, 1)))), "last row"),
        (lambda: poses.check_pose(np.eye(3)), "4 x 4"),
    ],
)
def test_what_is_no_pose_says_why(call: Callable[[], object], reason: str) -> None:
    with pytest.raises(poses.PoseError, match=reason):
        call()
