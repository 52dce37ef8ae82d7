"""Bags for tests, made with the package's own writer."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from internimage_perception.bags.types import make_header, make_message
from internimage_perception.bags.writer import SegmentedBagWriter

T0 = 1_700_000_000_000_000_000
PERIOD = 100_000_000


def scene(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Return random pixels that a test can make again."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def expected_mask(pixels: np.ndarray) -> np.ndarray:
    """Return the answer of the brightness bundle."""
    return (pixels.astype(np.float32).mean(axis=2) // 20).astype(np.uint8)


def image(pixels: np.ndarray, stamp_ns: int, frame_id: str = "optical", encoding: str = "rgb8") -> object:
    """Return a sensor_msgs/Image."""
    return make_message(
        "sensor_msgs/msg/Image",
        header=make_header(stamp_ns, frame_id),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels[0].size,
        data=pixels.reshape(-1),
    )


def compressed(data: bytes, stamp_ns: int, frame_id: str = "optical") -> object:
    """Return a sensor_msgs/CompressedImage."""
    return make_message(
        "sensor_msgs/msg/CompressedImage",
        header=make_header(stamp_ns, frame_id),
        format="jpeg",
        data=np.frombuffer(data, np.uint8),
    )


def camera_info(width: int, height: int, focal: float, stamp_ns: int = T0) -> object:
    """Return the CameraInfo of an ideal f-theta lens in the middle of the image."""
    k = np.array([focal, 0, (width - 1) / 2, 0, focal, (height - 1) / 2, 0, 0, 1], np.float64)
    return make_message(
        "sensor_msgs/msg/CameraInfo",
        header=make_header(stamp_ns, "optical"),
        height=height,
        width=width,
        distortion_model="equidistant",
        d=np.zeros(4),
        k=k,
        r=np.eye(3).reshape(-1),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=make_message(
            "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        ),
    )


def write_bag(
    path: Path,
    *,
    cameras: Sequence[str] = ("front", "left"),
    frames: int = 6,
    skip: Callable[[str, int], bool] = lambda *_: False,
    focal: float | None = None,
    size: tuple[int, int] = (64, 48),
    storage: str = "mcap",
) -> Path:
    """Write `frames` rounds of raw images; camera k of round i shows scene(100 * i + k)."""
    with SegmentedBagWriter(path, storage=storage) as writer:
        for camera in cameras:
            writer.add_topic(f"/cam/{camera}/image_raw", "sensor_msgs/msg/Image")
            if focal is not None:
                writer.add_topic(f"/cam/{camera}/camera_info", "sensor_msgs/msg/CameraInfo")
        for index in range(frames):
            for k, camera in enumerate(cameras):
                if skip(camera, index):
                    continue
                stamp = T0 + index * PERIOD + k * 1_000_000
                receive = stamp + 5_000_000
                if focal is not None:
                    info = camera_info(*size, focal, stamp)
                    writer.write(f"/cam/{camera}/camera_info", info, receive - 1000)
                pixels = scene(100 * index + k, size[1], size[0])
                writer.write(f"/cam/{camera}/image_raw", image(pixels, stamp, f"{camera}_optical"), receive)
    return path
