"""The truth beside a recording: written by `internimage-perception scene`, format in docs/street.md."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.street.birds_eye import BirdsEye
from internimage_perception.data.street.objects2d import visible_objects
from internimage_perception.data.street.render import RenderedFrame
from internimage_perception.data.street.street import Moment
from internimage_perception.errors import BagError
from internimage_perception.files import atomic_path, write_text
from internimage_perception.geometry.poses import matrix_to_quaternion, matrix_to_rpy

DEPTH_UNIT_M = 0.005
"""Metres per step of a depth image; 0 stands for the sky, beyond 327 m, and outside the lens."""
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 3)


def write_truth(
    folder: Path, stamp_ns: int, moment: Moment, frames: Mapping[str, RenderedFrame], grid: BirdsEye
) -> None:
    """Write the truth of one set of images, each file atomically.

    Args:
        folder: the recording's `truth`.
        stamp_ns: of the images.
        moment: what was rendered.
        frames: by camera.
        grid: of the moment.

    Raises:
        PerceptionError: the folder cannot be written.
    """
    views = {}
    for name, frame in frames.items():
        found = visible_objects(frame.class_ids, frame.instance_ids)
        ids = np.array([0, *(item.instance_id for item in found)])
        numbers = np.searchsorted(ids, frame.instance_ids).astype(np.uint16)
        near = np.where(frame.depth < 65535 * DEPTH_UNIT_M, frame.depth, 0.0)
        _write_png(folder / "classes" / name / f"{stamp_ns}.png", frame.class_ids)
        _write_png(folder / "instances" / name / f"{stamp_ns}.png", numbers)
        _write_png(
            folder / "depth" / name / f"{stamp_ns}.png", np.rint(near / DEPTH_UNIT_M).astype(np.uint16)
        )
        views[name] = [
            {
                "number": number, "instance_id": item.instance_id, "class_id": item.class_id, "box": item.box,
                "pixels": item.pixels, "outlines": [outline.tolist() for outline in item.outlines],
            }
            for number, item in enumerate(found, 1)
        ]  # fmt: skip
    _write_png(folder / "bev" / "classes" / f"{stamp_ns}.png", grid.class_ids)
    _write_png(folder / "bev" / "visible" / f"{stamp_ns}.png", grid.visible.astype(np.uint8) * np.uint8(255))
    content = {"stamp_ns": stamp_ns, "time_s": moment.time_s, "ego": _ego(moment), "cameras": views,
               "objects_3d": _objects_3d(moment, frames)}  # fmt: skip
    write_text(folder / "objects" / f"{stamp_ns}.json", json.dumps(content) + "\n")


def _write_png(path: Path, image: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(np.asarray(cv2.imencode(".png", image, _PNG)[1]).tobytes())


def _ego(moment: Moment) -> dict[str, object]:
    pose = moment.street_from_base
    return {
        "position": pose[:3, 3].tolist(), "orientation_xyzw": matrix_to_quaternion(pose[:3, :3]).tolist(),
        "speed": moment.velocity, "yaw_rate": moment.yaw_rate,
    }  # fmt: skip


def _objects_3d(moment: Moment, frames: Mapping[str, RenderedFrame]) -> list[dict[str, object]]:
    pixels: dict[int, int] = {}
    for frame in frames.values():
        for number, count in zip(*np.unique(frame.instance_ids, return_counts=True), strict=True):
            pixels[int(number)] = pixels.get(int(number), 0) + int(count)
    result: list[dict[str, object]] = []
    for item in sorted(moment.objects, key=lambda item: item.instance_id):
        # The pose is that of the ground below the object's middle.
        centre = item.pose[:3, 3] + item.pose[:3, 2] * item.size[2] / 2
        result.append(
            {
                "instance_id": item.instance_id, "class_id": int(item.class_id), "centre": centre.tolist(),
                "size": list(item.size), "yaw": matrix_to_rpy(item.pose[:3, :3])[2],
                "velocity": item.velocity.tolist(), "pixels": pixels.get(item.instance_id, 0),
            }
        )  # fmt: skip
    return result


@dataclass(frozen=True)
class TruthReader:
    """Reads the truth of a recording made by `internimage-perception scene`.

    Attributes:
        folder: of the recording; its subfolder `truth` is read.
    """

    folder: Path

    def stamps(self) -> list[int]:
        """Return the stamps of all sets of images, nanoseconds, ascending."""
        return sorted(int(path.stem) for path in (self.folder / "truth" / "objects").glob("*.json"))

    def class_ids(self, camera: str, stamp_ns: int) -> npt.NDArray[np.uint8]:
        """Return the labels of an image, uint8 (height, width); 255 is to be ignored. Raises BagError."""
        return np.asarray(self._image(f"classes/{camera}", stamp_ns), np.uint8)

    def depth(self, camera: str, stamp_ns: int) -> npt.NDArray[np.float32]:
        """Return metres along the ray, float32 (height, width), NaN where unknown. Raises BagError."""
        steps = self._image(f"depth/{camera}", stamp_ns)
        return np.where(steps > 0, steps * np.float32(DEPTH_UNIT_M), np.float32(np.nan)).astype(np.float32)

    def instance_ids(self, camera: str, stamp_ns: int) -> npt.NDArray[np.int32]:
        """Return the instances of an image, int32 (height, width), 0 for none. Raises BagError."""
        views = self.objects(stamp_ns)["cameras"]
        found = views.get(camera, []) if isinstance(views, dict) else []
        table = np.array([0, *(item["instance_id"] for item in found)], np.int32)
        return table[self._image(f"instances/{camera}", stamp_ns)]

    def objects(self, stamp_ns: int) -> dict[str, object]:
        """Return boxes, outlines, 3-D boxes and the car's pose at a stamp. Raises BagError."""
        path = self.folder / "truth" / "objects" / f"{stamp_ns}.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BagError(f"{path} cannot be read: {error}; make the recording again") from error
        if not isinstance(content, dict):
            raise BagError(f"{path} is not the truth of a set of images; make the recording again")
        return content

    def birds_eye(self, stamp_ns: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Return class ids and visibility of the ground grid, both (rows along y, columns along x)."""
        class_ids = np.asarray(self._image("bev/classes", stamp_ns), np.uint8)
        return class_ids, self._image("bev/visible", stamp_ns) > 0

    def _image(self, kind: str, stamp_ns: int) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        path = self.folder / "truth" / kind / f"{stamp_ns}.png"
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
        if image is None:
            raise BagError(f"{path} is missing or damaged: there is no such truth for this camera and stamp")
        if image.dtype == np.uint16:
            return np.asarray(image, np.uint16)
        return np.asarray(image, np.uint8)
