"""The lens that `predict` cuts its masks to."""

import argparse
import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from internimage_perception.cli.calibration_source import add_source_arguments, read_cameras
from internimage_perception.errors import ConfigError
from internimage_perception.geometry import Rig
from internimage_perception.inference.lens import LensMasks


class Lens:
    """What one camera sees, at any size of its pictures.

    Args:
        rig: with the camera.
        camera: its name.

    Raises:
        ConfigError: neither lens nor ego mask of the camera is known.
    """

    def __init__(self, rig: Rig, camera: str) -> None:
        known = rig.cameras[camera]
        size = None if known.camera is None else (known.camera.height, known.camera.width)
        if size is None and known.ego_mask is not None:
            size = known.ego_mask.shape[0], known.ego_mask.shape[1]
        if size is None:
            raise ConfigError(f"camera {camera} has no lens and no ego mask, which --lens is for")
        self._rig, self._camera = rig, camera
        self._last: tuple[tuple[int, int], npt.NDArray[np.uint8]] | None = None
        self.identity = hashlib.sha256(repr(size).encode() + self.blind(size).tobytes()).hexdigest()[:16]

    def blind(self, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Return uint8 (height, width): 255 where pictures of that size show nothing of the world, else 0.

        Raises CalibrationError when the calibration is for pictures of another shape.
        """
        if self._last is None or self._last[0] != size:
            blind = LensMasks(self._rig).blind(self._camera, size, size)
            assert blind is not None  # noqa: S101 - the camera is in the rig
            self._last = size, blind
        return self._last[1]


def add_lens_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that `read_lens` takes."""
    parser.add_argument(
        "--lens", type=Path, metavar="FILE",
        help="calibration or rig file of the pictures' camera: what it does not see becomes 255",
    )  # fmt: skip
    parser.add_argument("--lens-camera", metavar="NAME", help="which camera of the file, if it has several")
    add_source_arguments(parser)


def read_lens(options: argparse.Namespace) -> Lens | None:
    """Return the lens of the command line, if one is given. Raises PerceptionError."""
    if options.lens is None:
        for name in ("lens_camera", "source_model", "source_size"):
            if getattr(options, name) is not None:
                raise ConfigError(f"--{name.replace('_', '-')} has no meaning without --lens")
        return None
    rig, _ = read_cameras(options.lens, options)
    names = ", ".join(rig.cameras)
    camera = options.lens_camera
    if camera is None:
        if len(rig.cameras) != 1:
            raise ConfigError(f"{options.lens} has the cameras {names}; choose one by --lens-camera")
        (camera,) = rig.cameras
    if camera not in rig.cameras:
        raise ConfigError(f"{options.lens} has no camera {camera}; it has {names}")
    return Lens(rig, camera)
