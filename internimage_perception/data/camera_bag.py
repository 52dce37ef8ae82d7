"""Write the images of a rig into a rosbag2 folder, as its drivers would have been recorded."""

import dataclasses
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.bags.types import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, make_header, make_message
from internimage_perception.bags.writer import SegmentedBagWriter
from internimage_perception.errors import BagError
from internimage_perception.geometry import CameraModel, Rig
from internimage_perception.geometry.camera_info import camera_to_info
from internimage_perception.geometry.poses import matrix_to_quaternion

_TF_STATIC = "/tf_static"


class CameraBagWriter(AbstractContextManager["CameraBagWriter"]):
    """Writes images, CameraInfo and `/tf_static` of a rig under the rig's topics and frames.

    A camera whose image topic ends in `/compressed` gets CompressedImage messages, every other one raw bgr8.

    Args:
        folder: the bag's folder; it must not hold a bag yet.
        rig: cameras with topics and frames; lens and pose where they are known.

    Raises:
        BagError: the folder cannot be written or holds something.
    """

    def __init__(self, folder: Path, rig: Rig) -> None:
        if folder.exists() and any(folder.iterdir()):
            raise BagError(f"{folder} is not empty; choose another folder for the bag")
        self._rig = rig
        self._writer = SegmentedBagWriter(folder)
        for camera in rig.cameras.values():
            compressed = camera.image_topic.endswith("/compressed")
            self._writer.add_topic(camera.image_topic, COMPRESSED_IMAGE if compressed else IMAGE)
            if camera.camera is not None and camera.info_topic:
                self._writer.add_topic(camera.info_topic, CAMERA_INFO)
        self._transforms_pending = any(item.base_from_camera is not None for item in rig.cameras.values())
        if self._transforms_pending:
            self._writer.add_topic(_TF_STATIC, "tf2_msgs/msg/TFMessage", latched=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    def write(
        self, camera: str, image: npt.NDArray[np.uint8] | bytes, stamp_ns: int, receive_ns: int
    ) -> None:
        """Write one image and its CameraInfo.

        Args:
            camera: name in the rig.
            image: uint8 RGB (height, width, 3), or the bytes of a JPEG or PNG file, kept as they are.
            stamp_ns: when it was taken, nanoseconds.
            receive_ns: when the recorder got it, nanoseconds.

        Raises:
            BagError: file bytes for a raw topic, or the disk refuses.
        """
        item = self._rig.camera(camera)
        if self._transforms_pending:
            self._writer.write(_TF_STATIC, static_transforms(self._rig, stamp_ns), receive_ns)
            self._transforms_pending = False
        header = make_header(stamp_ns, item.frame_id)
        if item.image_topic.endswith("/compressed"):
            message = compressed_image(header, image)
        elif isinstance(image, bytes):
            raise BagError(
                f"camera {camera}: {item.image_topic} takes pixels; end it in /compressed for files"
            )
        else:
            message = raw_image(header, image)
        self._writer.write(item.image_topic, message, receive_ns)
        if item.camera is not None and item.info_topic:
            self._writer.write(item.info_topic, camera_info(header, item.camera), receive_ns)


def camera_info(header: object, lens: CameraModel) -> object:
    """Return the sensor_msgs/CameraInfo of a lens; P repeats K, since no image is rectified here."""
    fields = dataclasses.asdict(camera_to_info(lens))
    arrays = {key: np.array(fields.pop(key), np.float64) for key in ("d", "k", "r", "p")}
    region = make_message(
        "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return make_message(
        CAMERA_INFO, header=header, **fields, **arrays, binning_x=0, binning_y=0, roi=region,
    )  # fmt: skip


def raw_image(header: object, image: npt.NDArray[np.uint8]) -> object:
    """Return the sensor_msgs/Image, bgr8, of an RGB image."""
    bgr = np.ascontiguousarray(image[..., ::-1])
    height, width = bgr.shape[:2]
    return make_message(
        IMAGE, header=header, height=height, width=width, encoding="bgr8", is_bigendian=0, step=3 * width,
        data=bgr.reshape(-1),
    )  # fmt: skip


def compressed_image(header: object, image: npt.NDArray[np.uint8] | bytes) -> object:
    """Return the sensor_msgs/CompressedImage of an RGB image (as JPEG) or of the bytes of a file."""
    if isinstance(image, bytes):
        data = np.frombuffer(image, np.uint8)
    else:
        data = np.asarray(cv2.imencode(".jpg", image[..., ::-1])[1], np.uint8).reshape(-1)
    form = "png" if data[:4].tobytes() == b"\x89PNG" else "jpeg"
    return make_message(COMPRESSED_IMAGE, header=header, format=form, data=data)


def static_transforms(rig: Rig, stamp_ns: int) -> object:
    """Return the tf2_msgs/TFMessage of the cameras whose pose is known."""
    transforms = []
    for item in rig.cameras.values():
        if (pose := item.base_from_camera) is None:
            continue
        x, y, z = pose[:3, 3].tolist()
        qx, qy, qz, qw = matrix_to_quaternion(pose[:3, :3]).tolist()
        transform = make_message(
            "geometry_msgs/msg/Transform",
            translation=make_message("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
            rotation=make_message("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
        )
        transforms.append(
            make_message(
                "geometry_msgs/msg/TransformStamped", header=make_header(stamp_ns, rig.base_frame),
                child_frame_id=item.frame_id, transform=transform,
            )
        )  # fmt: skip
    return make_message("tf2_msgs/msg/TFMessage", transforms=transforms)
