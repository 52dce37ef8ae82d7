"""The segmentation network and its exact offline inference (mmsegmentation's `whole` and `slide`)."""

import torch
from torch import nn

from internimage_perception.models.config import DECODE_HEADS, SegmentorConfig
from internimage_perception.models.inference_modes import Size, Window, finish, slide_logits
from internimage_perception.models.internimage import InternImage
from internimage_perception.models.layers import resize
from internimage_perception.models.segformer import SegformerHead
from internimage_perception.models.upernet import FCNHead, UPerHead

_HEADS: dict[str, type[UPerHead | SegformerHead]] = {"upernet": UPerHead, "segformer": SegformerHead}


class Segmentor(nn.Module):
    """InternImage with a decode head: normalised images in, logits out.

    Attributes:
        config: what it was built from.
    """

    def __init__(self, config: SegmentorConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = InternImage(config.backbone)
        head = _HEADS[DECODE_HEADS[config.kind]]
        self.decode_head = head(self.backbone.widths, config.head_channels, config.num_classes)
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

    def head_logits(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return both heads' own logits, at strides 4 and 16; None without an auxiliary head."""
        features = self.backbone(images)
        auxiliary = None if self.auxiliary_head is None else self.auxiliary_head(features)
        return self.decode_head(features), auxiliary

    def forward_train(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the logits of both heads at the image's size; None without an auxiliary head."""
        main, auxiliary = self.head_logits(images)
        size = images.shape[2:]
        return resize(main, size), None if auxiliary is None else resize(auxiliary, size)

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
        return finish(self(images), original_size, valid_size)

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
        return finish(logits, original_size, valid_size)

    def slide_logits(self, images: torch.Tensor, *, crop_size: Size, stride: Size) -> torch.Tensor:
        """Return averaged logits (N, num_classes, H, W) of windows `crop_size` every `stride` pixels.

        The last window of a row or column is moved back to the border. Raises ConfigError when windows
        would leave gaps.
        """
        return slide_logits(self, images, Window(crop_size, stride))
