"""What a camera delivers and what a task consumes: `Frame` and `FrameSet`."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from internimage_perception.inference.encodings import decode_compressed, decode_image

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One camera image as it arrived: a view of the message's bytes, never a copy.

    Attributes:
        camera: name of the camera in its rig.
        frame_id: coordinate frame of the message's header (the camera's optical frame).
        stamp_ns: the image's own stamp in nanoseconds; 0 when the driver set none.
        receive_ns: when it arrived (node: ROS clock; replay: the bag's receive time), nanoseconds.
        width: columns; 0 for a compressed image before decoding.
        height: rows; 0 for a compressed image before decoding.
        encoding: encoding of sensor_msgs/Image, or the `format` string of a CompressedImage.
        step: bytes per row of a raw image; 0 when compressed.
        data: all bytes, one-dimensional uint8.
        compressed: the bytes are a JPEG or PNG file.
        big_endian: byte order of 16-bit encodings.
    """

    camera: str
    frame_id: str
    stamp_ns: int
    receive_ns: int
    width: int
    height: int
    encoding: str
    step: int
    data: Bytes
    compressed: bool = False
    big_endian: bool = False

    def decode(self, channel_order: str = "rgb") -> npt.NDArray[np.uint8]:
        """Return the pixels, uint8 (height, width, 3), in `channel_order` ("rgb" or "bgr").

        A view of `data` where its layout already fits. Raises ImageError saying what does not fit.
        """
        if self.compressed:
            return decode_compressed(self.data, self.encoding, channel_order)
        return decode_image(
            self.data, self.width, self.height, self.encoding, self.step,
            big_endian=self.big_endian, channel_order=channel_order,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class FrameSet:
    """Frames of one rig that belong to one moment.

    Attributes:
        index: running number, from 0, of the sets a collector has formed.
        stamp_ns: reference time of the set (the anchor frame's, or the tick's), nanoseconds.
        frames: camera name to its frame, in the rig's order.
        missing: cameras of the rig without a frame in this set, in the rig's order.
        base_from_odom: ego pose at `stamp_ns`, 4x4, where odometry is known.
    """

    index: int
    stamp_ns: int
    frames: Mapping[str, Frame]
    missing: tuple[str, ...] = ()
    base_from_odom: npt.NDArray[np.float64] | None = None
