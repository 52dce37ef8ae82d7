"""How `predict` runs a model: the deployed graph as the node does, or the official evaluation."""

import argparse
import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from internimage_perception.cli.backend_options import add_backend_arguments, check_threads
from internimage_perception.errors import BackendError, ConfigError, ImageError
from internimage_perception.evaluation.segmentation import nearest
from internimage_perception.inference.backends import Backend, create_backend
from internimage_perception.inference.bundle import Bundle
from internimage_perception.inference.frames import Frame, FrameSet
from internimage_perception.inference.tasks.segmentation import SegmentationTask

Bytes = npt.NDArray[np.uint8]

DEPLOYED, WHOLE, SLIDE = "deployed", "whole", "slide"
_EXACT = ("scale", "ratios", "flip", "multiple", "crop", "stride")
_CAMERA = "picture"
_SMALLEST, _LARGEST = 32, 16384
_RATIOS = (0.1, 10.0)


class Network(Protocol):
    """Labels pictures.

    Attributes:
        described: what decides the answers beside the bundle, as plain values.
    """

    described: dict[str, object]

    def label(self, image: Bytes) -> tuple[Bytes, Bytes]:
        """Return class ids and confidence (probability times 255) of a picture, uint8, at its own size.

        Args:
            image: uint8 RGB (height, width, 3).

        Raises:
            PerceptionError: the picture cannot be labelled.
        """
        ...


class DeployedNetwork:
    """The bundle's own graph, run by the task that nodes run; masks are taken to the picture's size.

    A mask of another size than the picture is enlarged or reduced without blending: each pixel takes the
    mask's pixel in which its centre lies.
    """

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self._task = SegmentationTask(bundle, backend)
        self.described: dict[str, object] = {"mode": DEPLOYED, "backend": backend.name}

    def label(self, image: Bytes) -> tuple[Bytes, Bytes]:
        """See `Network.label`."""
        height, width = image.shape[:2]
        data = np.ascontiguousarray(image).reshape(-1)
        frame = Frame(_CAMERA, "", 0, 0, width, height, "rgb8", 3 * width, data)
        result = self._task.run(FrameSet(0, 0, {_CAMERA: frame}))
        if (mask := result.masks.get(_CAMERA)) is None:
            raise ImageError(result.errors[_CAMERA])
        return nearest(mask.class_ids, width, height), nearest(mask.confidence, width, height)


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that `create_network` takes."""
    parser.add_argument(
        "--mode", choices=(DEPLOYED, WHOLE, SLIDE), default=DEPLOYED,
        help="deployed: the bundle's graph, as nodes run it (default); whole, slide: the official evaluation "
        "of the picture at once, or in windows (needs torch)",
    )  # fmt: skip
    add_backend_arguments(parser)
    exact = parser.add_argument_group("whole and slide")
    exact.add_argument(
        "--scale", metavar="LONGxSHORT",
        help="sides that pictures are resized to fit in, such as 2048x1024 (default: their own size)",
    )  # fmt: skip
    exact.add_argument(
        "--ratios", nargs="+", type=float, metavar="R", help="factors on that, averaged (default 1)"
    )
    exact.add_argument("--flip", action="store_true", help="average with the picture flipped left to right")
    exact.add_argument(
        "--multiple", type=int, metavar="N", help="stretch sides to multiples of N (default 1)"
    )
    exact.add_argument("--crop", metavar="HxW", help="slide: size of the windows")
    exact.add_argument("--stride", metavar="HxW", help="slide: steps from window to window")


def create_network(options: argparse.Namespace, bundle: Bundle) -> Network:
    """Return the network of the command line.

    Raises:
        ConfigError: options that exclude each other or are out of range.
        BackendError: what the mode needs is not installed, or refuses the model.
    """
    check_threads(options)
    threads = options.threads or None
    given = [name for name in _EXACT if getattr(options, name) not in (None, False)]
    if options.mode == DEPLOYED:
        if given:
            raise ConfigError(
                f"--{given[0]} is for --mode whole or slide; a deployed graph has sizes of its own"
            )
        return DeployedNetwork(bundle, create_backend(options.backend, bundle, threads=threads))
    if options.backend not in ("auto", "torch"):
        raise ConfigError(f"--mode {options.mode} runs in torch, not in {options.backend}")
    windows = [name for name in ("crop", "stride") if name in given]
    if options.mode == SLIDE and len(windows) != 2:
        raise ConfigError("--mode slide needs --crop and --stride, such as 1024x1024 and 512x512")
    if options.mode == WHOLE and windows:
        raise ConfigError(f"--{windows[0]} is for --mode slide")
    try:
        from internimage_perception.cli.predict_exact import ExactNetwork  # noqa: PLC0415 - needs torch
        from internimage_perception.models.inference_modes import EvaluationMode, Window  # noqa: PLC0415
    except ImportError as error:
        raise BackendError(
            f"--mode {options.mode} runs in torch, and {error.name} is missing; install it: pip install "
            "torch safetensors, or take --mode deployed"
        ) from error
    mode = EvaluationMode(
        window=Window(_sides("crop", options.crop), _sides("stride", options.stride, 1)) if windows else None,
        scale=_sides("scale", options.scale) if options.scale else None,
        ratios=_ratios(options.ratios or (1.0,)),
        flip=options.flip,
        multiple=_multiple(options.multiple),
    )
    return ExactNetwork(bundle, mode, threads=threads)


def _sides(name: str, text: str, smallest: int = _SMALLEST) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", text, re.ASCII)
    if match is None or not all(smallest <= int(side) <= _LARGEST for side in match.groups()):
        raise ConfigError(f"--{name} is {text!r}; write two sides of {smallest} to {_LARGEST} pixels as AxB")
    return int(match[1]), int(match[2])


def _ratios(given: Sequence[float]) -> tuple[float, ...]:
    for ratio in given:
        if not _RATIOS[0] <= ratio <= _RATIOS[1]:
            raise ConfigError(f"--ratios has {ratio:g}; they must be {_RATIOS[0]:g} to {_RATIOS[1]:g}")
    return tuple(given)


def _multiple(given: int | None) -> int:
    if given is not None and not 1 <= given <= 1024:
        raise ConfigError(f"--multiple is {given}; it must be 1 to 1024")
    return given or 1
