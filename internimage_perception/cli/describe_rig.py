"""What a rig file holds: lenses, what they see, where they are mounted."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.geometry import CameraModel, Rig, RigCamera
from internimage_perception.geometry.poses import BODY_FROM_OPTICAL


@dataclass(frozen=True, slots=True)
class RigCameraDescription:
    """A camera of a rig; None where the file does not say.

    Attributes:
        model: of the lens.
        size: (columns, rows) of its images.
        field_of_view_deg: (horizontal, vertical), through the principal point, within the image.
        theta_max_deg: largest angle off the axis that the lens serves.
        valid_share: share of pixels that the lens serves.
        ego_share: share of pixels that show the vehicle itself.
        position_m: in the base frame.
        rpy_deg: roll, pitch, yaw of the camera's body axes (x where it looks, y left, z up).
    """

    name: str
    image_topic: str
    info_topic: str
    frame_id: str
    model: str | None
    size: tuple[int, int] | None
    field_of_view_deg: tuple[float, float] | None
    theta_max_deg: float | None
    valid_share: float | None
    ego_share: float | None
    position_m: tuple[float, float, float] | None
    rpy_deg: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class RigDescription:
    """A rig file, or the calibration file of another tool.

    Attributes:
        file_format: "rig", or the name of the other tool's format.
    """

    path: str
    file_format: str
    base_frame: str
    cameras: tuple[RigCameraDescription, ...]

    def to_dict(self) -> dict[str, object]:
        """Return plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def describe_rig(path: Path, rig: Rig, file_format: str = "rig") -> RigDescription:
    """Describe a rig and the file it came from."""
    return RigDescription(str(path), file_format, rig.base_frame, tuple(map(_describe, rig.cameras.values())))


def _describe(item: RigCamera) -> RigCameraDescription:
    lens, pose, ego = item.camera, item.base_from_camera, item.ego_mask
    theta_max = lens.theta_max if lens is not None else item.theta_max
    return RigCameraDescription(
        name=item.name,
        image_topic=item.image_topic,
        info_topic=item.info_topic,
        frame_id=item.frame_id,
        model=lens.model if lens is not None else None,
        size=(lens.width, lens.height) if lens is not None else None,
        field_of_view_deg=_field_of_view(lens) if lens is not None else None,
        theta_max_deg=math.degrees(theta_max) if theta_max is not None else None,
        valid_share=float(lens.valid_mask().mean()) if lens is not None else None,
        ego_share=float(ego.mean()) if ego is not None else None,
        position_m=_triple(pose[:3, 3]) if pose is not None else None,
        rpy_deg=_rpy_deg(pose) if pose is not None else None,
    )


def _field_of_view(lens: CameraModel) -> tuple[float, float]:
    """Return the angles between the image's borders, along the row and column of the principal point."""
    borders = (
        ((-0.5, lens.cy), (lens.width - 0.5, lens.cy)),
        ((lens.cx, -0.5), (lens.cx, lens.height - 0.5)),
    )
    rays, valid = lens.unproject(borders)
    angles = np.where(valid, np.arctan2(np.hypot(rays[..., 0], rays[..., 1]), rays[..., 2]), lens.theta_max)
    # A principal point outside the image leaves the axis out of the field of view.
    sides = np.array(
        ((lens.cx + 0.5, lens.width - 0.5 - lens.cx), (lens.cy + 0.5, lens.height - 0.5 - lens.cy))
    )
    horizontal, vertical = np.degrees((angles * np.sign(sides)).sum(axis=1)).tolist()
    return horizontal, vertical


def _rpy_deg(pose: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    r = (pose @ np.linalg.inv(BODY_FROM_OPTICAL))[:3, :3]
    pitch = math.atan2(-r[2, 0], math.hypot(r[0, 0], r[1, 0]))
    return _triple(np.degrees((math.atan2(r[2, 1], r[2, 2]), pitch, math.atan2(r[1, 0], r[0, 0]))))


def _triple(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z


def _lines(rig: RigDescription) -> Iterator[str]:
    what = "rig" if rig.file_format == "rig" else f"{rig.file_format} calibration"
    count = len(rig.cameras)
    yield f"{rig.path}: {what} of {count} camera{'' if count == 1 else 's'}, base frame {rig.base_frame}"
    for item in rig.cameras:
        yield f"camera {item.name}: {item.image_topic}, frame {item.frame_id or 'as in the images'}"
        if item.model is None or item.size is None or item.field_of_view_deg is None:
            yield f"  lens     {f'from {item.info_topic}' if item.info_topic else 'unknown'}"
        else:
            horizontal, vertical = item.field_of_view_deg
            yield (
                f"  lens     {item.model}, {item.size[0]}x{item.size[1]}, sees {horizontal:.1f} x "
                f"{vertical:.1f} degrees, up to {item.theta_max_deg:.1f} off its axis"
            )
            yield f"  pixels   {item.valid_share:.1%} served by the lens{_ego(item)}"
        if item.position_m is not None and item.rpy_deg is not None:
            position = _listed(item.position_m, 3)
            angles = _listed(item.rpy_deg, 1)
            yield f"  mounted  at ({position}) m, roll, pitch, yaw ({angles}) degrees"
        else:
            yield "  mounted  unknown"
        if item.info_topic:
            yield f"  info     {item.info_topic}"


def _ego(item: RigCameraDescription) -> str:
    return f", {item.ego_share:.1%} show the vehicle itself" if item.ego_share is not None else ""


def _listed(values: tuple[float, ...], digits: int) -> str:
    # Adding 0 turns a rounded -0.0 into 0.0.
    return ", ".join(f"{round(value, digits) + 0.0:.{digits}f}" for value in values)
