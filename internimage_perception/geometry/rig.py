"""`Rig`: the cameras of one vehicle, by name, in the frame of its base."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry.rig_camera import RigCamera, shared_topic
from internimage_perception.geometry.rig_file import read_rig, write_rig
from internimage_perception.geometry.yaml_section import Section, read_section


@dataclass(frozen=True, eq=False)
class Rig:
    """Named cameras of one vehicle; immutable.

    Attributes:
        cameras: name to camera, in the file's order.
        base_frame: frame of `base_from_camera`: x forward, y left, z up (REP-103).

    Raises:
        CalibrationError: no camera, a name that differs from its key, or a topic claimed twice.
    """

    cameras: Mapping[str, RigCamera]
    base_frame: str = "base_link"
    _visible: dict[tuple[str, int, int], npt.NDArray[np.bool_]] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        # A copy: later changes of the caller's mapping must not reach the caches.
        object.__setattr__(self, "cameras", dict(self.cameras))
        if not self.cameras:
            raise CalibrationError("a rig needs at least one camera")
        for name, camera in self.cameras.items():
            if name != camera.name:
                message = f"camera {camera.name!r} is filed under the name {name!r}"
                raise CalibrationError(message)
        if (shared := shared_topic(self.cameras.values())) is not None:
            message = f"camera {shared[0]!r}: {shared[1]}: {shared[2]}"
            raise CalibrationError(message)

    @classmethod
    def load(cls, path: str | Path) -> "Rig":
        """Read a rig file, see docs/camera_models.md. Raises CalibrationError naming file, line and key."""
        return cls.from_section(read_section(Path(path)))

    @classmethod
    def from_section(cls, top: Section) -> "Rig":
        """Read a rig file that was parsed already. Raises CalibrationError as `load` does."""
        base_frame, cameras = read_rig(top)
        return cls(cameras, base_frame)

    def save(self, path: str | Path) -> None:
        """Write a rig file that `load` reads back; ego masks become PNG files beside it.

        Comments and polygons of a file this rig was loaded from are not kept. Raises PerceptionError when
        the folder cannot be written.
        """
        write_rig(Path(path), self.base_frame, dict(self.cameras))

    def camera(self, name: str) -> RigCamera:
        """Return a camera by name. Raises CalibrationError listing the cameras there are."""
        if name not in self.cameras:
            message = f"the rig has no camera {name!r}; it has {', '.join(self.cameras)}"
            raise CalibrationError(message)
        return self.cameras[name]

    def with_info(self, name: str, message: object) -> "Rig":
        """Return the rig with the lens of camera `name` taken from a CameraInfo. Raises CalibrationError."""
        camera = self.camera(name).with_info(message)
        return dataclasses.replace(self, cameras={**self.cameras, name: camera})

    def visible_mask(self, name: str, width: int, height: int) -> npt.NDArray[np.bool_]:
        """Return `RigCamera.visible_mask` of camera `name`: bool (height, width), read-only, made once."""
        key = (name, width, height)
        if key not in self._visible:
            mask = self.camera(name).visible_mask(width, height)
            mask.flags.writeable = False
            self._visible[key] = mask
        return self._visible[key]
