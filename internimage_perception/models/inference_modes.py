"""The official evaluation of a segmentor: whole or sliding inference, several scales, flips.

An image is resized for the network, the logits go back to that size and from there to the image's own, in
two bilinear steps; views of one image are averaged as probabilities, at the image's size. mmsegmentation
evaluates so, and published scores are made so. The deployed graph (`models.deployed`) makes one step instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from internimage_perception.errors import ConfigError
from internimage_perception.models.layers import resize

Size = tuple[int, int]
"""(height, width) in pixels."""
Network = Callable[[torch.Tensor], torch.Tensor]
"""Normalised images (N, 3, H, W) to logits (N, num_classes, H, W)."""

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
"""Statistics of ImageNet in RGB order, 0 to 255, which all official networks use."""


@dataclass(frozen=True, slots=True)
class Window:
    """Sliding inference: windows of `crop_size` every `stride` pixels, (height, width).

    The last window of a row or column is moved back to the border.

    Raises:
        ConfigError: windows would leave gaps.
    """

    crop_size: Size
    stride: Size

    def __post_init__(self) -> None:
        """Raise ConfigError for windows that leave gaps."""
        (height, width), (down, right) = self.crop_size, self.stride
        if min(self.stride) < 1 or down > height or right > width:
            message = f"stride {self.stride} must be positive and at most crop_size {self.crop_size}"
            raise ConfigError(message)


@dataclass(frozen=True, slots=True)
class EvaluationMode:
    """How an image is shown to a segmentor, and how often.

    Attributes:
        window: None: the whole image at once.
        scale: longest and shortest side the image is resized to fit in, its proportions kept, such as
            (2048, 1024) for Cityscapes; None: its own size.
        ratios: factors on `scale`, a view each; the official multi-scale test takes 0.5 to 1.75 in
            steps of 0.25.
        flip: show each view from left to right too.
        multiple: the resized sides are stretched to multiples of this (32 in the Mask2Former networks).
    """

    window: Window | None = None
    scale: tuple[int, int] | None = None
    ratios: tuple[float, ...] = (1.0,)
    flip: bool = False
    multiple: int = 1

    def __post_init__(self) -> None:
        """Raise ConfigError for values no view can be made from."""
        if not self.ratios or min(self.ratios) <= 0 or min(self.scale or (1,)) < 1 or self.multiple < 1:
            message = (
                f"scale {self.scale}, ratios {self.ratios} and multiple {self.multiple} must be positive, "
                "with at least one ratio"
            )
            raise ConfigError(message)

    def sizes(self, image: Size) -> list[Size]:
        """Return the size of each view of an image, before flips."""
        height, width = image
        sizes: list[Size] = []
        for ratio in self.ratios:
            scale = self.scale or (max(image), min(image))
            long, short = (int(side * ratio) for side in scale)
            factor = min(max(long, short) / max(image), min(long, short) / min(image))
            resized = int(height * factor + 0.5), int(width * factor + 0.5)
            sizes.append((self._stretch(resized[0]), self._stretch(resized[1])))
        return sizes

    def _stretch(self, side: int) -> int:
        return max(1, -(-side // self.multiple)) * self.multiple


def whole_logits(model: Network, images: torch.Tensor, window: Window | None = None) -> torch.Tensor:
    """Return logits (N, num_classes, H, W) of one pass, or of windows where there are some."""
    return model(images) if window is None else slide_logits(model, images, window)


def slide_logits(model: Network, images: torch.Tensor, window: Window) -> torch.Tensor:
    """Return logits (N, num_classes, H, W) averaged over the windows that see a pixel."""
    height, width = images.shape[2:]
    total: torch.Tensor | None = None
    count = images.new_zeros((1, 1, height, width))
    for rows in _spans(height, window.crop_size[0], window.stride[0]):
        for columns in _spans(width, window.crop_size[1], window.stride[1]):
            logits = model(images[..., rows, columns])
            if total is None:
                total = logits.new_zeros((*logits.shape[:2], height, width))
            total[..., rows, columns] += logits
            count[..., rows, columns] += 1
    assert total is not None  # noqa: S101 - there is a window for every image
    return total / count


def finish(logits: torch.Tensor, original_size: Size | None, valid_size: Size | None) -> torch.Tensor:
    """Return class probabilities: padding cut off, then resized to the image's own size, then softmax.

    Args:
        logits: (N, num_classes, H, W).
        original_size: (height, width) before the image was resized; None: as the logits.
        valid_size: part of the logits, from the top left, that is no padding; None: all.
    """
    if valid_size is not None:
        logits = logits[..., : valid_size[0], : valid_size[1]]
    if original_size is not None:
        logits = resize(logits, original_size)
    return logits.softmax(dim=1)


def prepare(
    image: npt.NDArray[np.uint8], size: Size, *, mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> torch.Tensor:
    """Return an RGB image, uint8 (H, W, 3), as float32 (1, 3, height, width), resized and normalised.

    Resized in whole numbers by OpenCV, as official evaluation does.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        message = f"an image must be uint8 (H, W, 3), got {image.dtype} {image.shape}"
        raise ConfigError(message)
    if image.shape[:2] != size:
        image = np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR), np.uint8)
    values = (image - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1), np.float32))[None]


def probabilities(
    model: Network, image: npt.NDArray[np.uint8], mode: EvaluationMode, *, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Return class probabilities (num_classes, H, W) of an image, averaged over the views of `mode`.

    Args:
        model: segmentor in evaluation mode, on `device`.
        image: uint8 (H, W, 3), RGB.
        mode: the views.
        device: where to compute.

    Raises:
        ConfigError: the image is none.
    """
    original = (image.shape[0], image.shape[1])
    total: torch.Tensor | None = None
    views = 0
    for size in mode.sizes(original):
        images = prepare(image, size).to(device)
        for flipped in (False, True) if mode.flip else (False,):
            shown = images.flip(3) if flipped else images
            with torch.inference_mode():
                answer = finish(whole_logits(model, shown, mode.window), original, None)
                answer = answer.flip(3) if flipped else answer
                total = answer if total is None else total + answer
            views += 1
    assert total is not None  # noqa: S101 - a mode has at least one view
    return (total / views)[0]


def _spans(size: int, crop: int, stride: int) -> list[slice]:
    count = max(size - crop + stride - 1, 0) // stride + 1
    ends = (min(index * stride + crop, size) for index in range(count))
    return [slice(max(end - crop, 0), end) for end in ends]
