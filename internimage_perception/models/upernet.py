"""Segmentation heads: UPerHead (Xiao et al., ECCV 2018) and the FCN head that helps it in training."""

from collections.abc import Sequence

import torch
from torch import nn

from internimage_perception.models.layers import AveragePool, ChannelDropout, ConvUnit, resize

POOL_SCALES = (1, 2, 3, 6)


class UPerHead(nn.Module):
    """Pyramid pooling on the coarsest map, top-down sums, one fused map; mmsegmentation's wiring and keys.

    Args:
        widths: channels of the four feature maps, fine to coarse.
        channels: width of the head.
        num_classes: channels of the logits.
    """

    def __init__(self, widths: Sequence[int], channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv_seg = pixel_classifier(channels, num_classes)
        self.dropout = ChannelDropout(0.1)
        self.psp_modules = nn.ModuleList(
            nn.Sequential(AveragePool(scale), ConvUnit(widths[-1], channels, 1)) for scale in POOL_SCALES
        )
        self.bottleneck = ConvUnit(widths[-1] + len(POOL_SCALES) * channels, channels, 3)
        self.lateral_convs = nn.ModuleList(ConvUnit(width, channels, 1) for width in widths[:-1])
        self.fpn_convs = nn.ModuleList(ConvUnit(channels, channels, 3) for _ in widths[:-1])
        self.fpn_bottleneck = ConvUnit(len(widths) * channels, channels, 3)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Map four features (N, C, h, w) to logits (N, num_classes, h, w) of the finest one."""
        coarse = features[-1]
        pooled = [resize(module(coarse), coarse.shape[2:]) for module in self.psp_modules]
        maps = [lateral(feature) for lateral, feature in zip(self.lateral_convs, features[:-1], strict=True)]
        maps.append(self.bottleneck(torch.cat([coarse, *pooled], dim=1)))
        for index in range(len(maps) - 1, 0, -1):
            maps[index - 1] = maps[index - 1] + resize(maps[index], maps[index - 1].shape[2:])
        outputs = [conv(item) for conv, item in zip(self.fpn_convs, maps[:-1], strict=True)]
        outputs.append(maps[-1])
        size = outputs[0].shape[2:]
        fused = self.fpn_bottleneck(torch.cat([outputs[0], *(resize(o, size) for o in outputs[1:])], dim=1))
        return self.conv_seg(self.dropout(fused))


class FCNHead(nn.Module):
    """One 3x3 unit and a classifier on the third feature map: the auxiliary loss of UPerNet."""

    feature_index = 2

    def __init__(self, width: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv_seg = pixel_classifier(channels, num_classes)
        self.dropout = ChannelDropout(0.1)
        self.convs = nn.Sequential(ConvUnit(width, channels, 3))

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Map the features to logits (N, num_classes, h, w) at stride 16."""
        return self.conv_seg(self.dropout(self.convs(features[self.feature_index])))


def pixel_classifier(channels: int, num_classes: int) -> nn.Conv2d:
    """Return the last layer of a decode head, with small weights."""
    layer = nn.Conv2d(channels, num_classes, 1)
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
