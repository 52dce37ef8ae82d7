"""Rig files: the YAML form of a rig, read with errors that name file, line, camera and key."""

import math
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from internimage_perception.files import write_bytes, write_text
from internimage_perception.geometry import poses
from internimage_perception.geometry.camera import CameraModel, CameraParameterError, theta_max_entry
from internimage_perception.geometry.camera_registry import camera_from_dict, camera_keys
from internimage_perception.geometry.rig_camera import RigCamera, RigCameraError, shared_topic
from internimage_perception.geometry.yaml_section import Section

_ROTATIONS = ("rotation", "rpy_deg", "matrix")
# cv2 draws with 32-bit coordinates that carry 4 fractional bits.
_SUBPIXEL_BITS = 4
_FARTHEST_PIXEL = 1e6


def read_rig(top: Section) -> tuple[str, dict[str, RigCamera]]:
    """Return the base frame and the cameras of a file, in its order. Raises CalibrationError."""
    top.restrict("base_frame", "cameras")
    base_frame = top.text("base_frame", "base_link")
    entries = top.section("cameras")
    sections = {name: entries.section(name, f"camera {name!r}") for name in entries}
    if not sections:
        raise top.error("cameras", "is empty; name at least one camera")
    cameras = {name: _camera(name, section) for name, section in sections.items()}
    if (shared := shared_topic(cameras.values())) is not None:
        name, key, message = shared
        raise sections[name].error(key, message)
    return base_frame, cameras


def write_rig(file: Path, base_frame: str, cameras: dict[str, RigCamera]) -> None:
    """Write a rig file and, beside it, one PNG per ego mask. Each file is replaced atomically."""
    entries: dict[str, dict[str, object]] = {}
    for name, camera in cameras.items():
        entry: dict[str, object] = {"image_topic": camera.image_topic}
        if camera.info_topic:
            entry["info_topic"] = camera.info_topic
        if camera.frame_id:
            entry["frame_id"] = camera.frame_id
        if camera.theta_max is not None:
            entry.update(theta_max_entry(camera.theta_max))
        if camera.camera is not None:
            entry["camera"] = camera.camera.to_dict()
        if (pose := camera.base_from_camera) is not None:
            entry["base_from_camera"] = {
                "translation": pose[:3, 3].tolist(),
                "rotation": poses.matrix_to_quaternion(pose[:3, :3]).tolist(),
                "optical": True,
            }
        if camera.ego_mask is not None:
            image = file.with_name(f"{file.stem}_{name}_ego.png")
            write_bytes(image, cv2.imencode(".png", camera.ego_mask.astype(np.uint8) * 255)[1].tobytes())
            entry["ego_mask"] = image.name
        entries[name] = entry
    document = {"base_frame": base_frame, "cameras": entries}
    write_text(file, yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=110))


def _camera(name: str, section: Section) -> RigCamera:
    section.restrict(
        "image_topic", "info_topic", "frame_id", "camera", "base_from_camera", "ego_mask", "ego_polygons",
        "theta_max", "theta_max_deg",
    )  # fmt: skip
    camera = _lens(section.section("camera")) if "camera" in section else None
    pose = _pose(section.section("base_from_camera")) if "base_from_camera" in section else None
    mask = _ego_mask(section, camera)
    try:
        return RigCamera(
            name=name,
            image_topic=section.text("image_topic"),
            frame_id=section.text("frame_id", ""),
            info_topic=section.text("info_topic", ""),
            camera=camera,
            base_from_camera=pose,
            ego_mask=mask,
            theta_max=_theta_max(section, camera),
        )
    except RigCameraError as error:
        raise section.error(error.key, error.detail) from error


def _lens(section: Section) -> CameraModel:
    model = section.text("model")
    try:
        known = camera_keys(model)
        section.restrict(*known)
        values: dict[str, object] = {
            key: section.numbers(key) if section.is_list(key) else section.number(key)
            for key in section
            if key != "model"
        }
        return camera_from_dict({"model": model, **values})
    except CameraParameterError as error:
        raise section.error(error.key, str(error)) from error


def _theta_max(section: Section, camera: CameraModel | None) -> float | None:
    keys = [key for key in ("theta_max", "theta_max_deg") if key in section]
    if not keys:
        return None
    if camera is not None:
        raise section.error(keys[0], "is for a calibration from info_topic; move it into the camera block")
    if len(keys) > 1:
        raise section.error(keys[0], "give theta_max_deg or theta_max (radians), not both")
    value = section.number(keys[0])
    if value <= 0.0:
        raise section.error(keys[0], f"must be greater than 0, not {value}")
    return math.radians(value) if keys[0] == "theta_max_deg" else value


def _pose(section: Section) -> npt.NDArray[np.float64]:
    """Return base_from_optical, whichever of the notations is used."""
    section.restrict("translation", "optical", *_ROTATIONS)
    given = [key for key in _ROTATIONS if key in section]
    if len(given) != 1:
        raise section.error(given[1] if given else "", f"give exactly one of {', '.join(_ROTATIONS)}")
    key = given[0]
    try:
        if key == "matrix":
            if "translation" in section:
                raise section.error("translation", "the matrix already contains it")
            pose = poses.check_pose(section.rows("matrix", 4, 4))
        elif key == "rotation":
            pose = poses.pose(rotation=poses.quaternion_to_matrix(section.numbers("rotation", 4)))
        else:
            roll, pitch, yaw = (math.radians(angle) for angle in section.numbers("rpy_deg", 3))
            pose = poses.pose(rotation=poses.rpy_to_matrix(roll, pitch, yaw))
    except poses.PoseError as error:
        raise section.error(key, str(error)) from error
    if key != "matrix":
        pose[:3, 3] = section.numbers("translation", 3)
    return pose if section.flag("optical", default=True) else pose @ poses.BODY_FROM_OPTICAL


def _ego_mask(section: Section, camera: CameraModel | None) -> npt.NDArray[np.bool_] | None:
    mask = None
    if "ego_mask" in section:
        mask = _read_mask(section, section.file.parent / section.text("ego_mask"))
    if "ego_polygons" in section:
        if camera is None:
            raise section.error("ego_polygons", "needs the camera block, which tells the image's size")
        drawn = _draw(section, camera)
        if mask is not None and mask.shape != drawn.shape:
            return mask  # RigCamera refuses it with the sizes.
        mask = drawn if mask is None else mask | drawn
    return mask


def _read_mask(section: Section, image: Path) -> npt.NDArray[np.bool_]:
    try:
        data = np.frombuffer(image.read_bytes(), np.uint8)
    except OSError as error:
        raise section.error("ego_mask", f"cannot read {image}: {error.strerror or error}") from error
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if pixels is None:
        raise section.error("ego_mask", f"{image} is not an image that can be read; use PNG")
    # Transparency is no colour: an opaque black pixel stays outside the mask.
    colours = pixels[..., :3] if pixels.ndim == 3 else pixels[..., np.newaxis]
    mask: npt.NDArray[np.bool_] = (colours != 0).any(axis=-1)
    return mask


def _draw(section: Section, camera: CameraModel) -> npt.NDArray[np.bool_]:
    canvas = np.zeros((camera.height, camera.width), np.uint8)
    polygons = section.value("ego_polygons")
    for polygon in polygons if isinstance(polygons, list) else [None]:
        try:
            corners = np.array(polygon, np.float64)
        except (TypeError, ValueError):
            corners = np.empty(0)
        if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
            raise section.error(
                "ego_polygons", "must be a list of polygons, each a list of at least 3 [u, v]"
            )
        if not (np.abs(corners) <= _FARTHEST_PIXEL).all():
            raise section.error("ego_polygons", f"a corner is farther than {_FARTHEST_PIXEL:g} pixels away")
        fixed = np.rint(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(canvas, [fixed], (1,), shift=_SUBPIXEL_BITS)
    return canvas.astype(np.bool_)
