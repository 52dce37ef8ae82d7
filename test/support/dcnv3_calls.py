"""Calls of DCNv3 to try kernels with: geometries, random tensors, and the C interface's parameters."""

import ctypes

import torch

from internimage_perception.ops import DCNv3Geometry
from internimage_perception.ops.native_library import Params


def geometry_of(**arguments):
    return DCNv3Geometry.make(
        **{"stride": 1, "padding": 1, "dilation": 1, "offset_scale": 1.0, "remove_center": False} | arguments
    )


def draw_call(seed, geometry, size, per_group, *, batch=2, dtype=torch.float64, spread=2.0, gated=False):
    """Return input, offset, mask logits and gate."""
    generator = torch.Generator().manual_seed(seed)
    out = geometry.output_size(*size)
    samples = geometry.group * geometry.points

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    value = normal(batch, *size, geometry.group * per_group).to(dtype)
    offset = (normal(batch, *out, samples * 2) * spread).to(dtype)
    mask = normal(batch, *out, samples).to(dtype)
    gate = normal(batch, *out, geometry.group).sigmoid().to(dtype) if gated else None
    return value, offset, mask, gate


def c_call(**changes):
    """Return a small valid call of the C interface, with some fields changed."""
    ones = dict.fromkeys(("batch", "stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w"), 1)
    sizes = {"height": 4, "width": 5, "out_height": 4, "out_width": 5, "kernel_h": 3, "kernel_w": 3}
    rest = {"struct_size": ctypes.sizeof(Params), "group": 2, "group_channels": 3, "offset_scale": 1.0}
    return Params(**(ones | sizes | rest | changes))
