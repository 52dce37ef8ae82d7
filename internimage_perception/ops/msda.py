"""Multi-scale deformable attention: one function, one node in exported graphs, several implementations."""

from collections.abc import Callable, Sequence

import torch

from internimage_perception.ops.choice import IMPLEMENTATIONS, choose
from internimage_perception.ops.geometry import OperatorError
from internimage_perception.ops.msda_reference import (
    ms_deform_attn_reference,
    ms_deform_attn_reference_backward,
)
from internimage_perception.ops.msda_shapes import check_shapes, read_levels
from internimage_perception.ops.native_cuda_msda import msda_cuda, msda_cuda_backward
from internimage_perception.ops.native_msda import msda_native, msda_native_backward

_FORWARD: dict[str, Callable[..., torch.Tensor]] = {"cpu": msda_native, "cuda": msda_cuda}
_BACKWARD: dict[str, Callable[..., list[torch.Tensor]]] = {
    "cpu": msda_native_backward,
    "cuda": msda_cuda_backward,
}
NATIVE_DEVICES = tuple(_FORWARD)
"""Kinds of device that have native kernels of attention."""


def ms_deform_attn(
    value: torch.Tensor,
    spatial_shapes: torch.Tensor,
    level_start_index: torch.Tensor,
    sampling_locations: torch.Tensor,
    attention_weights: torch.Tensor,
    *,
    softmax: bool = False,
    implementation: str = "auto",
) -> torch.Tensor:
    """Sum bilinear samples of several feature maps per query and head (Deformable DETR, ICLR 2021).

    With (x, y) = sampling_locations[b, q, h, l, p] * (width, height) of level l - 0.5, in pixels, where
    integers are pixel centres and pixels outside the level count as 0:

        out[b, q, h] = sum over l and p of attention_weights[b, q, h, l, p] * value[b, level l at (y, x), h]

    Samples at infinity count as 0, with gradient 0. A location, weight or gradient that is not a number makes
    what depends on it no number. Nothing outside the tensors is read.

    Args:
        value: (B, pixels, heads, channels), any floating type; pixels of all levels, row by row. Half types
            are sampled in float32.
        spatial_shapes: (levels, 2) int64, (height, width).
        level_start_index: (levels,) int64, first pixel of each level.
        sampling_locations: (B, Q, heads, levels, points, 2), (x, y), 0 to 1 from border to border. Keep them
            in float32 under autocast: bfloat16 is off by up to a pixel in a map 256 wide.
        attention_weights: (B, Q, heads, levels, points), used as they are unless `softmax`.
        softmax: `attention_weights` holds logits; take their softmax over a head's levels and points first.
        implementation: "auto" (fastest there is; one node in exported graphs), "native" or "reference". The
            environment variable INTERNIMAGE_PERCEPTION_OPS takes the same names and replaces "auto".

    Returns:
        (B, Q, heads * channels), in the type of `value`. B and Q may be 0.

    Raises:
        OperatorError: a shape, type, level or argument does not fit; the message names it.
        NativeError: the native kernels were asked for and cannot run.
    """
    check_shapes(value, spatial_shapes, level_start_index, sampling_locations, attention_weights)
    if implementation not in ("auto", *IMPLEMENTATIONS):
        names = ", ".join(("auto", *IMPLEMENTATIONS))
        raise OperatorError(f"ms_deform_attn: no implementation {implementation!r}; there are {names}")
    if softmax and torch.compiler.is_exporting():
        # In exported graphs the node is the plain operator, which other runtimes know.
        attention_weights, softmax = _softmax(attention_weights), False
    return _msda_op(
        value,
        spatial_shapes,
        level_start_index,
        sampling_locations,
        attention_weights,
        softmax,
        implementation,
    )


def _softmax(logits: torch.Tensor) -> torch.Tensor:
    return logits.flatten(-2).softmax(-1).unflatten(-1, logits.shape[-2:])


@torch.library.custom_op("internimage::ms_deform_attn", mutates_args=())
def _msda_op(
    value: torch.Tensor,
    spatial_shapes: torch.Tensor,
    level_start_index: torch.Tensor,
    sampling_locations: torch.Tensor,
    attention_weights: torch.Tensor,
    softmax: bool,
    implementation: str,
) -> torch.Tensor:
    check_shapes(value, spatial_shapes, level_start_index, sampling_locations, attention_weights)
    levels = read_levels(spatial_shapes, level_start_index, value.shape[1])
    tensors = (value, sampling_locations, attention_weights)
    if choose(implementation, *tensors, devices=NATIVE_DEVICES) == "native":
        kernels = _FORWARD[value.device.type]
        return kernels(value, levels, sampling_locations, attention_weights, softmax=softmax)
    if softmax:
        attention_weights = _softmax(attention_weights)
    return ms_deform_attn_reference(value, levels, sampling_locations, attention_weights)


@torch.library.custom_op("internimage::ms_deform_attn_backward", mutates_args=())
def _msda_backward_op(  # noqa: PLR0913, PLR0917 - the schema of the graph node
    value: torch.Tensor,
    spatial_shapes: torch.Tensor,
    level_start_index: torch.Tensor,
    sampling_locations: torch.Tensor,
    attention_weights: torch.Tensor,
    gradient: torch.Tensor,
    softmax: bool,
    implementation: str,
    needed: Sequence[bool],
) -> list[torch.Tensor]:
    """Return the gradients of value, locations and weights; an empty tensor for one that is not needed."""
    levels = read_levels(spatial_shapes, level_start_index, value.shape[1])
    tensors = (value, sampling_locations, attention_weights)
    if choose(implementation, *tensors, devices=NATIVE_DEVICES) == "native":
        kernels = _BACKWARD[value.device.type]
        return kernels(
            value, levels, sampling_locations, attention_weights, gradient, needed, softmax=softmax
        )
    weights = _softmax(attention_weights) if softmax else attention_weights
    found = ms_deform_attn_reference_backward(value, levels, sampling_locations, weights, gradient)
    if softmax:
        mean = (weights * found[2]).sum((-2, -1), keepdim=True)
        found[2] = weights * (found[2] - mean)
    return [tensor if need else tensor.new_empty(0) for tensor, need in zip(found, needed, strict=True)]


@_msda_op.register_fake
def _(
    value: torch.Tensor,
    spatial_shapes: torch.Tensor,
    level_start_index: torch.Tensor,
    sampling_locations: torch.Tensor,
    *_: object,
) -> torch.Tensor:
    del spatial_shapes, level_start_index
    return value.new_empty((value.shape[0], sampling_locations.shape[1], value.shape[2] * value.shape[3]))


@_msda_backward_op.register_fake
def _(  # noqa: PLR0913, PLR0917 - as in the schema
    value: torch.Tensor,
    spatial_shapes: torch.Tensor,
    level_start_index: torch.Tensor,
    sampling_locations: torch.Tensor,
    attention_weights: torch.Tensor,
    gradient: torch.Tensor,
    softmax: bool,
    implementation: str,
    needed: Sequence[bool],
) -> list[torch.Tensor]:
    del spatial_shapes, level_start_index, gradient, softmax, implementation
    return [
        tensor.new_empty(tensor.shape) if need else tensor.new_empty(0)
        for tensor, need in zip((value, sampling_locations, attention_weights), needed, strict=True)
    ]


class _Context(torch.autograd.function.FunctionCtx):
    """What the forward pass hands to the backward pass."""

    arguments: tuple[object, ...]
    needs_input_grad: tuple[bool, ...]
    saved_tensors: tuple[torch.Tensor, ...]


def _save(ctx: _Context, inputs: tuple[object, ...], output: torch.Tensor) -> None:
    del output
    ctx.save_for_backward(*(tensor for tensor in inputs[:5] if isinstance(tensor, torch.Tensor)))
    ctx.arguments = inputs[5:]


def _backward(ctx: _Context, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    wanted = ctx.needs_input_grad
    needed = [wanted[0], wanted[3], wanted[4]]
    found = torch.ops.internimage.ms_deform_attn_backward(
        *ctx.saved_tensors, gradient, *ctx.arguments, needed
    )
    value, location, weight = (tensor if need else None for tensor, need in zip(found, needed, strict=True))
    return value, None, None, location, weight, None, None


_msda_op.register_autograd(_backward, setup_context=_save)
