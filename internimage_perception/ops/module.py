"""The DCNv3 layer of InternImage: projections, offsets and mask around the operator."""

import torch
from torch import nn
from torch.nn import functional

from internimage_perception.ops.dcnv3 import dcnv3
from internimage_perception.ops.geometry import OperatorError
from internimage_perception.ops.linear import Linear

_ACTIVATIONS: dict[str, type[nn.Module]] = {"GELU": nn.GELU, "ReLU": nn.ReLU, "SiLU": nn.SiLU}


class ToChannelsLast(nn.Module):
    """(N, C, H, W) to (N, H, W, C), a view."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Move the channels to the end."""
        return x.permute(0, 2, 3, 1)


class DCNv3(nn.Module):
    """Deformable convolution v3 layer (InternImage, CVPR 2023), channels last.

    State-dict keys and arithmetic are those of the official layer: values come from `input_proj`; offsets
    and softmaxed mask come from a depthwise convolution of the layer's input, LayerNorm and activation.

    Args:
        channels: width of the map.
        kernel_size: side of the sampling grid.
        dw_kernel_size: side of the depthwise convolution; default `kernel_size`.
        stride: only 1: offsets are predicted at the input's resolution.
        pad: zeros around the map; must keep the size, `dilation * (kernel_size - 1) / 2`.
        dilation: spacing of the grid.
        group: groups of channels with offsets of their own; divides `channels`.
        offset_scale: factor on grid and offsets.
        act_layer: "GELU", "ReLU" or "SiLU".
        norm_layer: only "LN".
        center_feature_scale: blend each group with its value at the centre by a learned gate.
        remove_center: the grid lacks its central point.

    Raises:
        OperatorError: an argument is none of these.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the official layer's arguments
        self,
        channels: int = 64,
        kernel_size: int = 3,
        dw_kernel_size: int | None = None,
        stride: int = 1,
        pad: int = 1,
        dilation: int = 1,
        group: int = 4,
        offset_scale: float = 1.0,
        act_layer: str = "GELU",
        norm_layer: str = "LN",
        *,
        center_feature_scale: bool = False,
        remove_center: bool = False,
    ) -> None:
        super().__init__()
        _check(channels, group, act_layer, norm_layer)
        if stride != 1 or 2 * pad != dilation * (kernel_size - 1):
            message = (
                f"DCNv3 predicts its offsets at the input's resolution, so the output must keep that size: "
                f"stride 1 and 2*pad = dilation*(kernel_size-1); got stride {stride}, pad {pad}, "
                f"dilation {dilation}, kernel_size {kernel_size}"
            )
            raise OperatorError(message)
        self.channels = channels
        self.kernel_size = kernel_size
        self.pad = pad
        self.dilation = dilation
        self.group = group
        self.offset_scale = offset_scale
        self.center_feature_scale = center_feature_scale
        self.remove_center = remove_center
        self.points = kernel_size * kernel_size - int(remove_center)
        side = dw_kernel_size or kernel_size
        if center_feature_scale:
            self.center_feature_scale_proj_weight = nn.Parameter(torch.zeros(group, channels))
            self.center_feature_scale_proj_bias = nn.Parameter(torch.zeros(group))
        self.dw_conv = nn.Sequential(
            nn.Conv2d(channels, channels, side, padding=(side - 1) // 2, groups=channels),
            nn.Sequential(ToChannelsLast(), nn.LayerNorm(channels, eps=1e-6)),
            _ACTIVATIONS[act_layer](),
        )
        self.offset = Linear(channels, group * self.points * 2)
        self.mask = Linear(channels, group * self.points)
        self.input_proj = Linear(channels, channels)
        self.output_proj = Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as a plain average over the grid: zero offsets, equal mask, centre gate at one half."""
        for layer in (self.offset, self.mask):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.input_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        if self.center_feature_scale:
            nn.init.zeros_(self.center_feature_scale_proj_weight)
            nn.init.zeros_(self.center_feature_scale_proj_bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, H, W, channels) to the same shape."""
        value = self.input_proj(x)
        query = self.dw_conv(x.permute(0, 3, 1, 2))
        gate = None
        if self.center_feature_scale:
            gate = functional.linear(
                query, self.center_feature_scale_proj_weight, self.center_feature_scale_proj_bias
            ).sigmoid()
        y = dcnv3(
            value, self.offset(query), self.mask(query), kernel_size=self.kernel_size, padding=self.pad,
            dilation=self.dilation, group=self.group, offset_scale=self.offset_scale,
            remove_center=self.remove_center, softmax=True, gate=gate,
        )  # fmt: skip
        return self.output_proj(y)


def _check(channels: int, group: int, act_layer: str, norm_layer: str) -> None:
    if group < 1 or channels % group:
        message = f"DCNv3: channels {channels} is not a multiple of group {group}"
        raise OperatorError(message)
    if act_layer not in _ACTIVATIONS:
        message = f"DCNv3: act_layer {act_layer!r} is not one of {', '.join(_ACTIVATIONS)}"
        raise OperatorError(message)
    if norm_layer != "LN":
        message = f"DCNv3: norm_layer {norm_layer!r} is not supported, only 'LN'"
        raise OperatorError(message)
