"""The CUDA kernels' sources, compiled for the host: calls of them, and what they must give."""

import torch
from support import dcnv3_calls

from internimage_perception.native_files import search_path
from internimage_perception.ops import dcnv3
from internimage_perception.ops.native_cuda import dcnv3_cuda, dcnv3_cuda_backward

FOUND = [folder / "libdcnv3_cuda_on_host.so" for folder in search_path()]
PATH = next((path for path in FOUND if path.is_file()), None)
TYPES = (torch.float32, torch.float16, torch.bfloat16)
ROUNDING = {torch.float32: 2e-5, torch.float16: 3e-3, torch.bfloat16: 2e-2}
ORDERS = {"counted": 0, "backwards": 1, "scrambled": 2}
"""In which the host runs threads and blocks."""


def draw_call(seed, geometry, size, per_group, *, batch=2, dtype=torch.float32, spread=1.5, gated=False):
    """Return input, offset, mask logits, gate and the output's gradient."""
    call = dcnv3_calls.draw_call(
        seed, geometry, size, per_group, batch=batch, dtype=dtype, spread=spread, gated=gated
    )
    shape = (batch, *geometry.output_size(*size), geometry.group * per_group)
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1000), dtype=torch.float64)
    return *call, gradient.to(dtype)


def run(kernels, call, geometry, *, softmax=False, deterministic=False):
    """Return the result and all gradients of the kernels."""
    value, offset, mask, gate, gradient = call
    options = {"softmax": softmax, "gate": gate, "library": kernels}
    output = dcnv3_cuda(value, offset, mask, geometry, **options)
    needed = [True, True, True, gate is not None]
    found = dcnv3_cuda_backward(
        value, offset, mask, gradient, geometry, needed, deterministic=deterministic, **options
    )
    return [output, *found[: sum(needed)]]


def exact(call, geometry, *, softmax=False):
    """Return the reference's result and gradients for the same numbers, in float64."""
    *leaves, gradient = (None if tensor is None else tensor.double() for tensor in call)
    leaves = [None if leaf is None else leaf.requires_grad_() for leaf in leaves]
    output = dcnv3(
        *leaves[:3], kernel_size=geometry.kernel_size, stride=geometry.stride, padding=geometry.padding,
        dilation=geometry.dilation, group=geometry.group, offset_scale=geometry.offset_scale,
        remove_center=geometry.remove_center, softmax=softmax, gate=leaves[3], implementation="reference",
    )  # fmt: skip
    wanted = [leaf for leaf in leaves if leaf is not None]
    return [output.detach(), *torch.autograd.grad(output, wanted, gradient)]


def assert_close(found, wanted, share):
    """Compare in units of the largest number, gradients of positions where they are defined."""
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.shape == theirs.shape
        assert (mine.double() - theirs).abs().max() <= share * theirs.abs().max().clamp(min=1e-3)


def away_from_pixel_centres(call, geometry, size):
    """Nudge positions off pixel centres: there, gradients jump, and rounding would choose the side."""
    value, offset, *rest = call
    out_height, out_width = geometry.output_size(*size)
    grid = torch.tensor(geometry.grid(), dtype=torch.float64).flip(-1) * geometry.offset_scale
    center_y, center_x = geometry.center()
    x = torch.arange(out_width) * geometry.stride[1] - geometry.padding[1] + center_x
    y = torch.arange(out_height) * geometry.stride[0] - geometry.padding[0] + center_y
    base = torch.stack([x.expand(out_height, out_width), y[:, None].expand(out_height, out_width)], -1)
    shape = (*offset.shape[:3], geometry.group, geometry.points, 2)
    moves = offset.double().reshape(shape) * geometry.offset_scale
    position = base[None, :, :, None, None] + grid + moves
    near = (position - position.round()).abs() < 0.01
    nudged = torch.where(near, moves + 0.1, moves) / geometry.offset_scale
    return value, nudged.reshape(offset.shape).to(offset.dtype), *rest
