"""A calibration of another tool as a rig of this package."""

import re

from internimage_perception.geometry.calibration import opencv
from internimage_perception.geometry.calibration.calibration import Calibration
from internimage_perception.geometry.rig import Rig
from internimage_perception.geometry.rig_camera import RigCamera


def calibration_as_rig(calibration: Calibration) -> Rig:
    """Return the cameras of a calibration as a rig, to be completed by hand.

    The base frame is the first frame, by name, in which every camera's pose is known in metres: that of a
    camera, for most tools, not of the vehicle. Without one there are no poses. Cameras whose topic the
    file does not name get `/camera/NAME/image_raw`; characters that topics cannot have become underscores.
    """
    frames = [set(item.poses) for item in calibration.cameras.values()]
    # OpenCV's stereo files keep the unit of the calibration board.
    shared = [] if calibration.file_format == opencv.NAME else sorted(set.intersection(*frames))
    cameras: dict[str, RigCamera] = {}
    for item in calibration.cameras.values():
        name = re.sub(r"[^A-Za-z0-9_]", "_", item.name)
        if not re.match("[A-Za-z]", name):
            name = f"camera_{name}"
        while name in cameras:
            name += "_"
        cameras[name] = RigCamera(
            name=name,
            image_topic=item.image_topic or f"/camera/{name}/image_raw",
            camera=item.camera,
            base_from_camera=item.poses[shared[0]] if shared else None,
        )
    return Rig(cameras, shared[0]) if shared else Rig(cameras)
