"""Image sets of published data: their own calibration files turned into rigs.

Every loader takes the set's folder and returns its rig (base frame as each set has it; poses where the set
gives them) and its pictures. Pictures of one moment that carry no time get one made up.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from internimage_perception.errors import CalibrationError
from internimage_perception.geometry import CameraModel, KannalaBrandtCamera, PinholeCamera, Rig, RigCamera
from internimage_perception.geometry.poses import invert, pose

Floats = npt.NDArray[np.float64]

_MOMENT_NS = 1_700_000_000_000_000_000
_CAMVID_FPS = 30
# Farther from the principal point, in pixels along a row, the pictures are black although the lens model goes
# on: there their brightness falls to half, in every camera of the set alike.
_NEOZHAOLIANG_RIM = 454.0
_OPENCALIB_RIM = 572.0
# x right, y forward, z up, as seen from x forward, y left, z up.
_BASE_FROM_OPENCALIB_GROUND = pose(rotation=[[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG or PNG file of one camera and when it was taken, nanoseconds."""

    camera: str
    path: Path
    stamp_ns: int


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Pictures of one rig."""

    rig: Rig
    pictures: tuple[Picture, ...]


def rig_camera(
    name: str, lens: CameraModel | None = None, base_from_camera: npt.ArrayLike | None = None
) -> RigCamera:
    """Return a rig camera with topics and frame named after it, its images compressed."""
    return RigCamera(
        name=name,
        image_topic=f"/{name}/image_raw/compressed",
        info_topic=f"/{name}/camera_info" if lens is not None else "",
        frame_id=f"{name}_optical",
        camera=lens,
        base_from_camera=None if base_from_camera is None else np.asarray(base_from_camera, np.float64),
    )


def _of_one_moment(cameras: Iterable[RigCamera], files: Mapping[str, Path]) -> ImageSet:
    rig = Rig({camera.name: camera for camera in cameras})
    return ImageSet(rig, tuple(Picture(name, files[name], _MOMENT_NS) for name in rig.cameras))


def jeyp4_rover_surround(folder: Path) -> ImageSet:
    """Read a rover's four fisheye cameras; the matrices take camera points to the ground below its axle."""
    content = yaml.safe_load((folder / "camerasParam.yaml").read_text(encoding="utf-8"))
    cameras = []
    for name in ("front", "left", "rear", "right"):
        values = content[f"{name}Camera"]["ros__parameters"]
        lens = _fisheye(
            np.reshape(values["intrinsic_matrix"], (3, 3)), values["distortion_coefficients"],
            (values["image_width"], values["image_height"]),
        )  # fmt: skip
        cameras.append(rig_camera(name, lens, np.reshape(values["transformation_matrix"], (4, 4))))
    return _of_one_moment(cameras, {camera.name: folder / f"{camera.name}.jpg" for camera in cameras})


def neozhaoliang_surround(folder: Path) -> ImageSet:
    """Read a car's four fisheye cameras over a chessboard cloth; OpenCV files without poses."""
    cameras = []
    for name in ("front", "left", "back", "right"):
        storage = cv2.FileStorage(str(folder / f"{name}.yaml"), cv2.FILE_STORAGE_READ)
        k, d, size = (storage.getNode(key).mat() for key in ("camera_matrix", "dist_coeffs", "resolution"))
        storage.release()
        cameras.append(
            rig_camera(name, _fisheye(k, d.ravel().tolist(), size.ravel().tolist(), _NEOZHAOLIANG_RIM))
        )
    return _of_one_moment(cameras, {camera.name: folder / f"{camera.name}.png" for camera in cameras})


def opencalib_surround(folder: Path) -> ImageSet:
    """Read one set of a car's four circular fisheye cameras, calibrated beside the set's folder."""
    content = _json(folder.parent / "calibration.json")
    size = content["_about"]["image_size"]
    cameras, files = [], {}
    for label in ("Front", "Left", "Back", "Right"):
        values, name = content["cameras"][label], label.lower()
        lens = _fisheye(np.array(values["K"]), values["D"], size, _OPENCALIB_RIM)
        base_from_camera = _BASE_FROM_OPENCALIB_GROUND @ invert(values["T_cam_from_ground"])
        cameras.append(rig_camera(name, lens, base_from_camera))
        files[name] = folder / f"{label}.jpg"
    return _of_one_moment(cameras, files)


def camvid_seq(folder: Path) -> ImageSet:
    """Read successive frames of one uncalibrated camera; their names count frames of a 30 Hz video."""
    files = sorted(path for path in folder.glob("*_f*.png") if not path.stem.endswith("_label"))
    numbers = [int(path.stem.rsplit("_f", 1)[1]) for path in files]
    pictures = (
        Picture("front", path, _MOMENT_NS + number * 1_000_000_000 // _CAMVID_FPS)
        for path, number in zip(files, numbers, strict=True)
    )
    return ImageSet(Rig({"front": rig_camera("front")}), tuple(pictures))


def kitti_000008(folder: Path) -> ImageSet:
    """Read KITTI's left colour camera of one frame; the base frame is the lidar's."""
    values = _json(folder / "frame.json")["frame"]["images"]["CAM2"]
    projection = np.array(values["cam2img"])
    lens = _pinhole(projection, (values["width"], values["height"]))
    # The fourth column moves the optical centre from the rectified reference camera to this one.
    baseline = pose(np.linalg.solve(projection[:3, :3], projection[:3, 3]))
    camera = rig_camera("front", lens, invert(baseline @ np.array(values["lidar2cam"])))
    picture = Picture("front", folder / values["img_path"], _MOMENT_NS)
    return ImageSet(Rig({"front": camera}, base_frame="velodyne"), (picture,))


def nuscenes_frame(folder: Path) -> ImageSet:
    """Read the six cameras of a nuScenes key frame, with their own times."""
    cameras, pictures = {}, []
    for label, values in _json(folder / "frame.json")["cameras"].items():
        name = label.removeprefix("CAM_").lower()
        lens = _pinhole(np.array(values["cam2img"]), (values["width"], values["height"]))
        cameras[name] = rig_camera(name, lens, values["cam2ego"])
        # The times are floats of microseconds; more digits than that are noise.
        stamp_ns = round(values["timestamp"] * 1e6) * 1000
        pictures.append(Picture(name, folder / values["file"], stamp_ns))
    return ImageSet(Rig(cameras), tuple(pictures))


LOADERS: Mapping[str, Callable[[Path], ImageSet]] = {
    "jeyp4_rover_surround": jeyp4_rover_surround,
    "neozhaoliang_surround": neozhaoliang_surround,
    "opencalib_surround/set*": opencalib_surround,
    "camvid_seq": camvid_seq,
    "kitti_000008": kitti_000008,
    "nuscenes_frame": nuscenes_frame,
}
"""Folder pattern to loader."""


def load_image_set(folder: Path, loader: Callable[[Path], ImageSet]) -> ImageSet:
    """Run a loader. Raises CalibrationError saying which folder's files do not fit, and how."""
    try:
        found = loader(folder)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, yaml.YAMLError, cv2.error) as error:
        text = f"{folder}: its calibration files cannot be used: {type(error).__name__}: {error}"
        raise CalibrationError(text) from error
    if not found.pictures:
        raise CalibrationError(f"{folder} holds no pictures")
    return found


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _fisheye(
    k: npt.NDArray[Any], d: Sequence[float], size: Sequence[float], rim: float | None = None
) -> CameraModel:
    lens = KannalaBrandtCamera(
        width=int(size[0]), height=int(size[1]), fx=k[0, 0], fy=k[1, 1], cx=k[0, 2], cy=k[1, 2], d=tuple(d)
    )
    if rim is None:
        return lens
    ray, reached = lens.unproject((lens.cx + rim, lens.cy))
    return dataclasses.replace(lens, theta_max=math.atan2(ray[0], ray[2])) if reached else lens


def _pinhole(k: npt.NDArray[Any], size: tuple[int, int]) -> CameraModel:
    return PinholeCamera(width=size[0], height=size[1], fx=k[0, 0], fy=k[1, 1], cx=k[0, 2], cy=k[1, 2])
