"""Messages that say where the car is: tf and nav_msgs/Odometry."""

import numpy as np
import numpy.typing as npt

from internimage_perception.bags.types import make_header, make_message
from internimage_perception.data.street.street import Motion
from internimage_perception.geometry.poses import matrix_to_quaternion

Floats = npt.NDArray[np.float64]

ODOM_FRAME = "odom"
ODOM_TYPE = "nav_msgs/msg/Odometry"


def transform_message(stamp_ns: int, base_frame: str, odom_from_base: Floats) -> object:
    """Return the tf2_msgs/TFMessage of the car's pose in `odom`."""
    x, y, z = odom_from_base[:3, 3].tolist()
    translation = make_message("geometry_msgs/msg/Vector3", x=x, y=y, z=z)
    transform = make_message(
        "geometry_msgs/msg/Transform", translation=translation, rotation=_quaternion(odom_from_base)
    )
    stamped = make_message(
        "geometry_msgs/msg/TransformStamped",
        header=make_header(stamp_ns, ODOM_FRAME),
        child_frame_id=base_frame,
        transform=transform,
    )
    return make_message("tf2_msgs/msg/TFMessage", transforms=[stamped])


def odometry_message(stamp_ns: int, base_frame: str, motion: Motion) -> object:
    """Return the odometry: pose in `odom`, velocity in the car's own axes; exact, so covariances are 0."""
    x, y, z = motion.street_from_base[:3, 3].tolist()
    position = make_message("geometry_msgs/msg/Point", x=x, y=y, z=z)
    pose = make_message(
        "geometry_msgs/msg/Pose", position=position, orientation=_quaternion(motion.street_from_base)
    )
    twist = make_message(
        "geometry_msgs/msg/Twist",
        linear=make_message("geometry_msgs/msg/Vector3", x=motion.speed, y=0.0, z=0.0),
        angular=make_message("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=motion.yaw_rate),
    )
    exact = np.zeros(36)
    return make_message(
        ODOM_TYPE,
        header=make_header(stamp_ns, ODOM_FRAME),
        child_frame_id=base_frame,
        pose=make_message("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=exact),
        twist=make_message("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=exact),
    )


def _quaternion(pose: Floats) -> object:
    x, y, z, w = matrix_to_quaternion(pose[:3, :3]).tolist()
    return make_message("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
