"""The segmentation network and its exact offline inference (mmsegmentation's `whole` and `slide`)."""

import torch
from torch import nn

from internimage_perception.errors import ConfigError
from internimage_perception.models.config import SegmentorConfig
from internimage_perception.models.internimage import InternImage
from internimage_perception.models.layers import resize
from internimage_perception.models.upernet import FCNHead, UPerHead

Size = tuple[int, int]
"""(height, width) in pixels."""


class Segmentor(nn.Module):
    """InternImage with UPerHead: normalised images in, logits out.

    Attributes:
        config: what it was built from.
    """

    def __init__(self, config: SegmentorConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = InternImage(config.backbone)
        self.decode_head = UPerHead(self.backbone.widths, config.head_channels, config.num_classes)
        self.auxiliary_head: FCNHead | None = None
        if config.aux_channels is not None:
            width = self.backbone.widths[FCNHead.feature_index]
            self.auxiliary_head = FCNHead(width, config.aux_channels, config.num_classes)

    def low_logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to the head's own logits (N, num_classes, ceil(H/4), ceil(W/4))."""
        return self.decode_head(self.backbone(images))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to logits (N, num_classes, H, W)."""
        return resize(self.low_logits(images), images.shape[2:])

    def forward_train(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the logits of both heads at the image's size; None without an auxiliary head."""
        features = self.backbone(images)
        size = images.shape[2:]
        auxiliary = None if self.auxiliary_head is None else resize(self.auxiliary_head(features), size)
        return resize(self.decode_head(features), size), auxiliary

    def whole(
        self, images: torch.Tensor, *, original_size: Size | None = None, valid_size: Size | None = None
    ) -> torch.Tensor:
        """Return class probabilities (N, num_classes, h, w) from one pass over the whole image.

        Args:
            images: (N, 3, H, W), normalised.
            original_size: (h, w) before the image was resized; default: the images' size. The logits go
                there in a second bilinear step, as in the official evaluation.
            valid_size: part of `images`, from the top left, that is no padding.
        """
        return _finish(self(images), original_size, valid_size)

    def slide(
        self,
        images: torch.Tensor,
        *,
        crop_size: Size,
        stride: Size,
        original_size: Size | None = None,
        valid_size: Size | None = None,
    ) -> torch.Tensor:
        """Return class probabilities from overlapping windows, their logits averaged; else like `whole`."""
        logits = self.slide_logits(images, crop_size=crop_size, stride=stride)
        return _finish(logits, original_size, valid_size)

    def slide_logits(self, images: torch.Tensor, *, crop_size: Size, stride: Size) -> torch.Tensor:
        """Return averaged logits (N, num_classes, H, W) of windows `crop_size` every `stride` pixels.

        The last window of a row or column is moved back to the border. Raises ConfigError when windows
        would leave gaps.
        """
        if min(stride) < 1 or stride[0] > crop_size[0] or stride[1] > crop_size[1]:
            message = f"stride {stride} must be positive and at most crop_size {crop_size}"
            raise ConfigError(message)
        batch, _, height, width = images.shape
        total = images.new_zeros((batch, self.config.num_classes, height, width))
        count = images.new_zeros((1, 1, height, width))
        for rows in _windows(height, crop_size[0], stride[0]):
            for columns in _windows(width, crop_size[1], stride[1]):
                total[..., rows, columns] += self(images[..., rows, columns])
                count[..., rows, columns] += 1
        return total / count


def _windows(size: int, crop: int, stride: int) -> list[slice]:
    count = max(size - crop + stride - 1, 0) // stride + 1
    ends = (min(index * stride + crop, size) for index in range(count))
    return [slice(max(end - crop, 0), end) for end in ends]


def _finish(logits: torch.Tensor, original_size: Size | None, valid_size: Size | None) -> torch.Tensor:
    if valid_size is not None:
        logits = logits[..., : valid_size[0], : valid_size[1]]
    if original_size is not None:
        logits = resize(logits, original_size)
    return logits.softmax(dim=1)
