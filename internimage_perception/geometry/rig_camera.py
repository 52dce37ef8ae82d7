"""`RigCamera`: one camera of a vehicle: its topics, lens, pose and what of the vehicle it sees."""

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry.camera import CameraModel
from internimage_perception.geometry.camera_info import camera_from_info
from internimage_perception.geometry.poses import check_pose

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class RigCameraError(CalibrationError):
    """A value of a rig camera cannot be used; `key` names it ("" for the name), `detail` says why."""

    def __init__(self, camera: str, key: str, detail: str) -> None:
        super().__init__(": ".join(part for part in (f"camera {camera!r}", key, detail) if part))
        self.key = key
        self.detail = detail


@dataclass(frozen=True, eq=False, kw_only=True)
class RigCamera:
    """One camera of a rig. A two-dimensional task needs its name and image topic alone.

    Attributes:
        name: letters, digits and underscores, so that it can become part of a topic name.
        image_topic: topic of the images, raw or compressed.
        frame_id: optical frame; empty: whatever the images say.
        info_topic: topic of its CameraInfo; empty: none.
        camera: calibrated lens; none: from `info_topic`, see `with_info`.
        base_from_camera: pose of the optical frame in the rig's base frame, 4x4, metres.
        ego_mask: bool (camera height, camera width), true where the image shows the vehicle itself.
        theta_max: half field of view in radians for calibrations that arrive on `info_topic`.

    Raises:
        CalibrationError: the name cannot be used, the pose is not rigid, or the mask has another size than
            the camera.
    """

    name: str
    image_topic: str
    frame_id: str = ""
    info_topic: str = ""
    camera: CameraModel | None = None
    base_from_camera: npt.NDArray[np.float64] | None = None
    ego_mask: npt.NDArray[np.bool_] | None = None
    theta_max: float | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            detail = "name it with letters, digits and underscores, a letter first: topics are named after it"
            raise RigCameraError(self.name, "", detail)
        if self.base_from_camera is not None:
            try:
                pose = check_pose(self.base_from_camera)
            except CalibrationError as error:
                raise RigCameraError(self.name, "base_from_camera", str(error)) from error
            pose.flags.writeable = False
            object.__setattr__(self, "base_from_camera", pose)
        if self.ego_mask is not None:
            object.__setattr__(self, "ego_mask", self._checked_mask(self.ego_mask))

    def _checked_mask(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        if mask.ndim != 2 or mask.size == 0:
            raise RigCameraError(self.name, "ego_mask", f"must be (height, width), got {mask.shape}")
        if self.camera is not None and mask.shape != (self.camera.height, self.camera.width):
            detail = (
                f"is {mask.shape[1]} x {mask.shape[0]} pixels, but the camera {self.camera.width} x "
                f"{self.camera.height}; draw the mask on an unscaled image"
            )
            raise RigCameraError(self.name, "ego_mask", detail)
        copy = np.array(mask, np.bool_)
        copy.flags.writeable = False
        return copy

    def with_info(self, message: object) -> "RigCamera":
        """Return this camera with the lens of a CameraInfo message. Raises CalibrationError."""
        try:
            camera = camera_from_info(message, theta_max=self.theta_max)
        except CalibrationError as error:
            text = f"camera {self.name!r}: {error}"
            raise CalibrationError(text) from error
        return dataclasses.replace(self, camera=camera)

    def visible_mask(self, width: int, height: int) -> npt.NDArray[np.bool_]:
        """Return bool (height, width): where the lens sees something other than the vehicle itself.

        The masks of the full image are read at the nearest pixel to each output pixel's centre. Without
        lens and ego mask everything is visible.
        """
        visible = np.ones((height, width), np.bool_)
        if self.camera is not None:
            visible &= _nearest(self.camera.valid_mask(), width, height)
        if self.ego_mask is not None:
            visible &= ~_nearest(self.ego_mask, width, height)
        return visible


def _nearest(mask: npt.NDArray[np.bool_], width: int, height: int) -> npt.NDArray[np.bool_]:
    rows, columns = mask.shape
    # floor((i + 0.5) * rows / height) in whole numbers, which rounding cannot shift.
    v = (2 * np.arange(height) + 1) * rows // (2 * height)
    u = (2 * np.arange(width) + 1) * columns // (2 * width)
    sampled: npt.NDArray[np.bool_] = mask[v[:, np.newaxis], u]
    return sampled


def shared_topic(cameras: Iterable[RigCamera]) -> tuple[str, str, str] | None:
    """Return (camera, key, message) of the first topic that two entries claim, or None."""
    owners: dict[str, str] = {}
    for camera in cameras:
        for key, topic in (("image_topic", camera.image_topic), ("info_topic", camera.info_topic)):
            if not topic:
                continue
            if (owner := owners.get(topic)) is not None:
                return camera.name, key, f"{topic!r} is already the {owner}; every camera has its own topics"
            owners[topic] = f"{key} of camera {camera.name!r}"
    return None
