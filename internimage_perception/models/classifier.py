"""Image classification with InternImage: the convolution head of T to XL, the attention head of H and G."""

import torch
from torch import nn
from torch.nn import functional

from internimage_perception.errors import ConfigError
from internimage_perception.models.config import ClassifierConfig
from internimage_perception.models.internimage import InternImage, initialise_linear
from internimage_perception.models.layers import layer_norm

_HEAD_SCALE = 1.5
"""Width of the convolution head over that of the coarsest map."""


class CrossAttention(nn.Module):
    """Multi-head attention of queries to tokens, without residual.

    Args:
        channels: width of queries and tokens.
        heads: divides `channels`.
        outputs: width of the answer.
    """

    def __init__(self, channels: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_bias = nn.Parameter(torch.zeros(channels))
        self.k_bias = nn.Parameter(torch.zeros(channels))
        self.v_bias = nn.Parameter(torch.zeros(channels))
        self.q = nn.Linear(channels, channels, bias=False)
        self.k = nn.Linear(channels, channels, bias=False)
        self.v = nn.Linear(channels, channels, bias=False)
        self.proj = nn.Linear(channels, outputs)

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Map queries (N, Q, C) and tokens (N, T, C) to (N, Q, outputs)."""
        q = self._split(functional.linear(query, self.q.weight, self.q_bias))
        k = self._split(functional.linear(key, self.k.weight, self.k_bias))
        v = self._split(functional.linear(value, self.v.weight, self.v_bias))
        weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).flatten(2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, heads, tokens, channels of a head)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class AttentionPool(nn.Module):
    """One vector of a map: its mean attends to all its places."""

    def __init__(self, channels: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.norm1_q = layer_norm(channels)
        self.norm1_k = layer_norm(channels)
        self.norm1_v = layer_norm(channels)
        self.cross_dcn = CrossAttention(channels, heads, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to (N, outputs)."""
        tokens = x.flatten(2).transpose(1, 2)
        query = self.norm1_q(tokens.mean(dim=1, keepdim=True))
        return self.cross_dcn(query, self.norm1_k(tokens), self.norm1_v(tokens)).squeeze(1)


class Classifier(InternImage):
    """InternImage with a classification head: normalised images in, logits out.

    It is a backbone with more behind it, in the names of its weights too: those of the backbone have no
    prefix, as in the ImageNet checkpoints.

    Attributes:
        classifier: what it was built from; `config` is its backbone's part.
    """

    def __init__(self, classifier: ClassifierConfig) -> None:
        super().__init__(classifier.backbone)
        self.classifier = classifier
        *_, fine, coarse = classifier.backbone.widths
        if classifier.use_clip_projector:
            width, factor, heads, outputs = classifier.clip_dims
            self.dcnv3_head_x4 = nn.Sequential(
                nn.Conv2d(coarse, width * factor**2, 1), nn.PixelShuffle(factor)
            )
            self.dcnv3_head_x3 = nn.Conv2d(fine, width, 1)
            self.clip_projector = AttentionPool(width, heads, outputs)
            self.fc_norm = layer_norm(outputs)
            self.clip_projector.apply(initialise_linear)
        else:
            outputs = int(coarse * _HEAD_SCALE)
            self.conv_head = nn.Sequential(
                nn.Conv2d(coarse, outputs, 1, bias=False), nn.Sequential(nn.BatchNorm2d(outputs)), nn.GELU()
            )
        self.head = nn.Linear(outputs, classifier.num_classes)
        initialise_linear(self.head)

    def pre_logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, H, W) to the vectors (N, C) that the last linear layer sees.

        Raises ConfigError when an attention head is given a size whose map at stride 16 has an odd side.
        """
        *_, fine, coarse = self.stage_maps(images)
        fine, coarse = fine.permute(0, 3, 1, 2), coarse.permute(0, 3, 1, 2)
        if not self.classifier.use_clip_projector:
            return self.conv_head(coarse).mean(dim=(2, 3))
        if fine.shape[2] % 2 or fine.shape[3] % 2:
            size, sides = tuple(images.shape[2:]), tuple(fine.shape[2:])
            message = (
                f"images of {size} pixels give a map of {sides} at stride 16; the attention head needs even "
                "sides there, such as multiples of 32 pixels give"
            )
            raise ConfigError(message)
        return self.fc_norm(self.clip_projector(self.dcnv3_head_x4(coarse) + self.dcnv3_head_x3(fine)))

    # A backbone answers maps, a classifier one vector: all it shares is everything up to there.
    def forward(self, images: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Map images (N, 3, H, W) to logits (N, num_classes)."""
        return self.head(self.pre_logits(images))
