"""`Calibration`: the cameras of a calibration file of another tool."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry.camera import CameraModel


@dataclass(frozen=True, eq=False, kw_only=True)
class CalibratedCamera:
    """One camera of a calibration file.

    Attributes:
        name: as in the file, or the file's name without its ending.
        camera: the lens, of the raw image. No format tells the field of view: narrow it with
            `dataclasses.replace(camera, theta_max=...)`.
        image_topic: topic of its images; empty where the file names none.
        poses: by the name of a frame, the pose of the camera's optical frame in that frame, 4x4: takes
            points of the camera to the frame. In metres, but for OpenCV's stereo files, which keep the unit
            of the calibration board.
    """

    name: str
    camera: CameraModel
    image_topic: str = ""
    poses: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Calibration:
    """The cameras of one calibration file, by name, in the file's order.

    Attributes:
        file_format: name of the format, for people.
        cameras: at least one.
    """

    file_format: str
    cameras: Mapping[str, CalibratedCamera]

    def camera(self, name: str) -> CalibratedCamera:
        """Return a camera by name. Raises CalibrationError listing the cameras there are."""
        if name not in self.cameras:
            message = f"the calibration has no camera {name!r}; it has {', '.join(self.cameras)}"
            raise CalibrationError(message)
        return self.cameras[name]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the caller knows and the file may leave open.

    Attributes:
        stem: name of the file without its ending, for a camera without a name.
        model: `model` of the camera class, or empty.
        size: (width, height) in pixels, or None.
    """

    stem: str
    model: str = ""
    size: tuple[int, int] | None = None
