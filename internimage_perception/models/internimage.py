"""InternImage backbone (Wang et al., CVPR 2023): all variants, with the official state-dict keys."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from internimage_perception.models.config import InternImageConfig
from internimage_perception.models.layers import DropPath, layer_norm
from internimage_perception.ops import DCNv3
from internimage_perception.ops.linear import Linear


class Stem(nn.Module):
    """Image (N, 3, H, W) to tokens (N, ceil(H/4), ceil(W/4), channels)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels // 2, 3, stride=2, padding=1)
        self.norm1 = layer_norm(channels // 2, first="first", last="first")
        self.act = nn.GELU()
        self.conv2 = nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1)
        self.norm2 = layer_norm(channels, first="first")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embed the image."""
        return self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))


class Downsample(nn.Module):
    """(N, H, W, C) to (N, ceil(H/2), ceil(W/2), 2C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False)
        self.norm = layer_norm(2 * channels, first="first")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Halve the map."""
        return self.norm(self.conv(x.permute(0, 3, 1, 2)))


class MLP(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Linear(channels, hidden)
        self.fc2 = Linear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., channels) to the same shape."""
        return self.fc2(self.fc1.gelu(x))


class Block(nn.Module):
    """DCNv3 and MLP, each a residual branch; where the norms are depends on the variant."""

    def __init__(self, config: InternImageConfig, channels: int, group: int, drop_path: float) -> None:
        super().__init__()
        self.post_norm = config.post_norm
        # With a layer scale the official network leaves these norms unused.
        self.between_norms = config.res_post_norm and not config.post_norm and config.layer_scale is None
        self.norm1 = layer_norm(channels)
        self.dcn = DCNv3(
            channels,
            dw_kernel_size=config.dw_kernel_size,
            group=group,
            offset_scale=config.offset_scale,
            center_feature_scale=config.center_feature_scale,
            remove_center=config.remove_center,
        )
        self.drop_path = DropPath(drop_path)
        self.norm2 = layer_norm(channels)
        self.mlp = MLP(channels, int(channels * config.mlp_ratio))
        self.gamma1: nn.Parameter | None = None
        self.gamma2: nn.Parameter | None = None
        if config.layer_scale is not None:
            self.gamma1 = nn.Parameter(torch.full((channels,), config.layer_scale))
            self.gamma2 = nn.Parameter(torch.full((channels,), config.layer_scale))
        if config.res_post_norm:
            self.res_post_norm1 = layer_norm(channels)
            self.res_post_norm2 = layer_norm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, H, W, channels) to the same shape."""
        y = self.norm1(self.dcn(x)) if self.post_norm else self.dcn(self.norm1(x))
        if self.between_norms:
            y = self.res_post_norm1(y)
        x = x + self.drop_path(y if self.gamma1 is None else self.gamma1 * y)
        y = self.norm2(self.mlp(x)) if self.post_norm else self.mlp(self.norm2(x))
        if self.between_norms:
            y = self.res_post_norm2(y)
        return x + self.drop_path(y if self.gamma2 is None else self.gamma2 * y)


class Stage(nn.Module):
    """Blocks of one resolution, their norm, and the way down to the next stage."""

    def __init__(self, config: InternImageConfig, index: int, drop_paths: list[float]) -> None:
        super().__init__()
        channels = config.widths[index]
        self.with_cp = config.with_cp
        self.blocks = nn.ModuleList(
            Block(config, channels, config.groups[index], drop_path) for drop_path in drop_paths
        )
        self.norm = layer_norm(channels) if not config.post_norm or config.center_feature_scale else None
        self.post_norm_of: dict[int, int] = {}
        if config.level2_post_norm and index == 2:
            self.post_norm_of = {block: n for n, block in enumerate(config.level2_post_norm_block_ids)}
            self.post_norms = nn.ModuleList(layer_norm(channels) for _ in self.post_norm_of)
        self.downsample = Downsample(channels) if index < 3 else None

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return this stage's map and the next stage's input, both channels last."""
        for index, block in enumerate(self.blocks):
            x = checkpoint(block, x, use_reentrant=False) if self.with_cp and self.training else block(x)
            if index in self.post_norm_of:
                x = self.post_norms[self.post_norm_of[index]](x)
        if self.norm is not None:
            x = self.norm(x)
        return x, x if self.downsample is None else self.downsample(x)


class InternImage(nn.Module):
    """Backbone with dense features.

    Attributes:
        config: what it was built from.
        widths: channels of the returned maps.
    """

    def __init__(self, config: InternImageConfig) -> None:
        super().__init__()
        self.config = config
        self.widths = tuple(config.widths[index] for index in config.out_indices)
        self.patch_embed = Stem(config.channels)
        total = sum(config.depths)
        drop_paths = [config.drop_path_rate * block / max(1, total - 1) for block in range(total)]
        self.levels = nn.ModuleList()
        for index, depth in enumerate(config.depths):
            self.levels.append(Stage(config, index, drop_paths[:depth]))
            del drop_paths[:depth]
        self.apply(initialise_linear)
        for module in self.modules():
            if isinstance(module, DCNv3):
                module.reset_parameters()

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map images (N, 3, H, W), any size, to the maps of `out_indices`, (N, C, h, w) at strides 4 to 32.

        A map's size is ceil(H / stride) x ceil(W / stride).
        """
        maps = self.stage_maps(x)
        return [maps[index].permute(0, 3, 1, 2) for index in sorted(set(self.config.out_indices))]

    def stage_maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map images (N, 3, H, W) to the maps of all four stages, channels last."""
        x = self.patch_embed(x)
        maps: list[torch.Tensor] = []
        for stage in self.levels:
            feature, x = stage(x)
            maps.append(feature)
        return maps


def initialise_linear(module: nn.Module) -> None:
    """Give a linear layer the official starting weights; leaves other modules alone."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
