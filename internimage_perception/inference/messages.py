"""Make a `Frame` of an image message, whoever made the message: rclpy, rosbags, or anything alike."""

from typing import Protocol, cast

from internimage_perception.errors import ImageError
from internimage_perception.inference.encodings import byte_view
from internimage_perception.inference.frames import Frame


class _Stamp(Protocol):
    sec: int
    nanosec: int


class _Header(Protocol):
    stamp: _Stamp
    frame_id: str


class _Image(Protocol):
    """Fields of sensor_msgs/Image."""

    header: _Header
    width: int
    height: int
    encoding: str
    is_bigendian: int
    step: int
    data: object


class _CompressedImage(Protocol):
    """Fields of sensor_msgs/CompressedImage."""

    header: _Header
    format: str
    data: object


def frame_from_message(message: object, camera: str, receive_ns: int) -> Frame:
    """Return the frame that views the bytes of `message`, without copying or checking its pixels.

    Args:
        message: a sensor_msgs/Image or CompressedImage of rclpy or rosbags (ROS 1 bags too), or any object
            with their fields; `data` is any buffer (array.array, ndarray, bytes).
        camera: name of the camera in its rig.
        receive_ns: when the message arrived, nanoseconds.

    Raises:
        ImageError: the object is no image message, or its data is no buffer.
    """
    try:
        if hasattr(message, "encoding"):
            return _raw_frame(cast("_Image", message), camera, receive_ns)
        if hasattr(message, "format"):
            return _compressed_frame(cast("_CompressedImage", message), camera, receive_ns)
    except AttributeError as error:
        text = f"camera {camera}: {type(message).__name__} lacks a field of an image message: {error}"
        raise ImageError(text) from error
    except ImageError as error:
        text = f"camera {camera}: {error}"
        raise ImageError(text) from error
    text = f"camera {camera}: expected sensor_msgs/Image or CompressedImage, got {type(message).__name__}"
    raise ImageError(text)


def stamp_ns(stamp: _Stamp) -> int:
    """Return a builtin_interfaces/Time in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def _raw_frame(message: _Image, camera: str, receive_ns: int) -> Frame:
    return Frame(
        camera=camera,
        frame_id=message.header.frame_id,
        stamp_ns=stamp_ns(message.header.stamp),
        receive_ns=receive_ns,
        width=message.width,
        height=message.height,
        encoding=message.encoding,
        step=message.step,
        data=byte_view(message.data),
        big_endian=bool(message.is_bigendian),
    )


def _compressed_frame(message: _CompressedImage, camera: str, receive_ns: int) -> Frame:
    return Frame(
        camera=camera,
        frame_id=message.header.frame_id,
        stamp_ns=stamp_ns(message.header.stamp),
        receive_ns=receive_ns,
        width=0,
        height=0,
        encoding=message.format,
        step=0,
        data=byte_view(message.data),
        compressed=True,
    )
