"""The light decode head of the official SegFormer-style networks: one linear map per stage, fused once."""

from collections.abc import Sequence

import torch
from torch import nn

from internimage_perception.models.layers import ChannelDropout, ConvUnit, resize
from internimage_perception.models.upernet import pixel_classifier


class SegformerHead(nn.Module):
    """All-MLP decoder in the manner of SegFormer (Xie et al., NeurIPS 2021), with the official keys.

    Args:
        widths: channels of the four feature maps, fine to coarse.
        channels: width of the head (256 in the official networks).
        num_classes: channels of the logits.
    """

    def __init__(self, widths: Sequence[int], channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv_seg = pixel_classifier(channels, num_classes)
        self.dropout = ChannelDropout(0.1)
        self.convs = nn.ModuleList(ConvUnit(width, channels, 1) for width in widths)
        self.fusion_conv = ConvUnit(len(widths) * channels, channels, 1)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Map four features (N, C, h, w) to logits (N, num_classes, h, w) of the finest one."""
        size = features[0].shape[2:]
        maps = [conv(feature) for conv, feature in zip(self.convs, features, strict=True)]
        fused = self.fusion_conv(torch.cat([maps[0], *(resize(item, size) for item in maps[1:])], dim=1))
        return self.conv_seg(self.dropout(fused))
