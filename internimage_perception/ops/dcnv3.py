"""The DCNv3 operator: one function, one node in exported graphs, several implementations."""

from collections.abc import Callable, Sequence
from typing import cast

import torch

from internimage_perception.ops.choice import IMPLEMENTATIONS, choose
from internimage_perception.ops.geometry import DCNv3Geometry, IntPair, OperatorError
from internimage_perception.ops.native import dcnv3_native, dcnv3_native_backward
from internimage_perception.ops.native_cuda import dcnv3_cuda, dcnv3_cuda_backward
from internimage_perception.ops.reference import dcnv3_reference

_FORWARD: dict[str, Callable[..., torch.Tensor]] = {"cpu": dcnv3_native, "cuda": dcnv3_cuda}
_BACKWARD: dict[str, Callable[..., list[torch.Tensor]]] = {
    "cpu": dcnv3_native_backward,
    "cuda": dcnv3_cuda_backward,
}
NATIVE_DEVICES = tuple(_FORWARD)
"""Kinds of device that have native kernels of DCNv3."""


def implementations() -> tuple[str, ...]:
    """Return the names that `dcnv3(implementation=...)` takes."""
    return ("auto", *IMPLEMENTATIONS)


def dcnv3(  # noqa: PLR0913 - the operator's own arguments
    input: torch.Tensor,  # noqa: A002 - PyTorch's name for it
    offset: torch.Tensor,
    mask: torch.Tensor,
    *,
    kernel_size: IntPair,
    stride: IntPair = 1,
    padding: IntPair = 1,
    dilation: IntPair = 1,
    group: int,
    offset_scale: float = 1.0,
    remove_center: bool = False,
    softmax: bool = False,
    gate: torch.Tensor | None = None,
    implementation: str = "auto",
) -> torch.Tensor:
    """Deformable convolution v3: sum each group's bilinear samples at learned positions (InternImage, 2023).

    Output pixel (i, j) of group g, with points p = (column a, row b) counted down the columns:

        x = j*stride_w - pad_w + cx + offset_scale * (a*dilation_w - cx + offset[i, j, g, p, 0])
        y = i*stride_h - pad_h + cy + offset_scale * (b*dilation_h - cy + offset[i, j, g, p, 1])
        out[i, j, g] = sum over p of mask[i, j, g, p] * input[y, x, g]

    in pixels, where integers are pixel centres, (cy, cx) is the grid's centre and pixels outside count as 0,
    positions at infinity too. A position that is not a number gives an output that is none.

    Args:
        input: (N, H, W, group * channels), any floating type; half types are sampled in float32.
        offset: (N, Ho, Wo, group * points * 2), points = kernel height * width (less 1 with remove_center).
        mask: (N, Ho, Wo, group * points), used as it is unless `softmax`.
        kernel_size: one number or (height, width), like stride, padding and dilation.
        stride: step between output pixels.
        padding: zeros around the map.
        dilation: spacing of the grid.
        group: number of channel groups.
        offset_scale: factor on grid and offsets.
        remove_center: leave the central point out of the sum.
        softmax: `mask` holds logits; take their softmax over the points of a group first.
        gate: (N, Ho, Wo, group), blends with the input at the same pixel, out * (1 - gate) + input * gate
            (the centre feature scale of InternImage-H and G); the map must keep its size.
        implementation: "auto" (fastest there is; one node in exported graphs) or one of `implementations()`.
            The environment variable INTERNIMAGE_PERCEPTION_OPS takes the same names and replaces "auto".

    Returns:
        (N, Ho, Wo, group * channels), in the type of `input`.

    Raises:
        OperatorError: a shape, type or argument does not fit; the message names it.
        NativeError: the native kernels were asked for and cannot run; the message says why.
    """
    geometry = DCNv3Geometry.make(
        kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation,
        group=group, offset_scale=offset_scale, remove_center=remove_center,
    )  # fmt: skip
    geometry.check(input, offset, mask)
    _check_gate(gate, input, offset, group)
    if implementation != "auto" or not (softmax or gate is not None) or torch.compiler.is_exporting():
        return _unfused(input, offset, mask, geometry, softmax, gate, implementation)
    return _dcnv3_fused_op(input, offset, mask, gate, *_plain(geometry), softmax, "auto")


def _unfused(
    value: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor,
    geometry: DCNv3Geometry,
    softmax: bool,
    gate: torch.Tensor | None,
    implementation: str,
) -> torch.Tensor:
    """Run one implementation; in exported graphs, "auto" is the plain node among standard operators."""
    if implementation == "native":
        return _dcnv3_fused_op(value, offset, mask, gate, *_plain(geometry), softmax, implementation)
    if implementation not in implementations():
        message = f"dcnv3: no implementation {implementation!r}; there are {', '.join(implementations())}"
        raise OperatorError(message)
    if softmax:
        mask = mask.unflatten(-1, (geometry.group, geometry.points)).softmax(-1).flatten(-2)
    if implementation == "auto":
        output = _dcnv3_op(value, offset, mask, *_plain(geometry))
    else:
        output = dcnv3_reference(value, offset, mask, geometry)
    if gate is not None:
        wide = gate.repeat_interleave(value.shape[-1] // geometry.group, dim=-1)
        output = (output * (1 - wide) + value * wide).to(value.dtype)
    return output


def _check_gate(gate: torch.Tensor | None, value: torch.Tensor, offset: torch.Tensor, group: int) -> None:
    if gate is None:
        return
    if gate.device != value.device:
        raise OperatorError(f"dcnv3: gate is on {gate.device}, input on {value.device}; move them together")
    wanted = (*offset.shape[:3], group)
    if gate.shape != wanted or offset.shape[:3] != value.shape[:3]:
        message = (
            f"dcnv3: gate must be {tuple(wanted)} and the output as large as the input; "
            f"got {tuple(gate.shape)}, input {tuple(value.shape)}, output {tuple(offset.shape[:3])}"
        )
        raise OperatorError(message)


_Sizes = Sequence[int]
_Plain = tuple[_Sizes, _Sizes, _Sizes, _Sizes, int, float, bool]


def _plain(geometry: DCNv3Geometry) -> _Plain:
    """Return the geometry as a graph node carries it."""
    return (
        geometry.kernel_size, geometry.stride, geometry.padding, geometry.dilation,
        geometry.group, geometry.offset_scale, geometry.remove_center,
    )  # fmt: skip


def _geometry(plain: _Plain) -> DCNv3Geometry:
    kernel_size, stride, padding, dilation, group, offset_scale, remove_center = plain
    return DCNv3Geometry.make(
        kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation,
        group=group, offset_scale=offset_scale, remove_center=remove_center,
    )  # fmt: skip


@torch.library.custom_op("internimage::dcnv3", mutates_args=())
def _dcnv3_op(  # noqa: PLR0913, PLR0917 - the schema of the graph node
    input: torch.Tensor,  # noqa: A002
    offset: torch.Tensor,
    mask: torch.Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    group: int,
    offset_scale: float,
    remove_center: bool,
) -> torch.Tensor:
    geometry = _geometry((kernel_size, stride, padding, dilation, group, offset_scale, remove_center))
    return _run(input, offset, mask, None, geometry, False, "auto")


@torch.library.custom_op("internimage::dcnv3_fused", mutates_args=())
def _dcnv3_fused_op(  # noqa: PLR0913, PLR0917 - the schema of the graph node
    input: torch.Tensor,  # noqa: A002
    offset: torch.Tensor,
    mask: torch.Tensor,
    gate: torch.Tensor | None,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    group: int,
    offset_scale: float,
    remove_center: bool,
    softmax: bool,
    implementation: str,
) -> torch.Tensor:
    geometry = _geometry((kernel_size, stride, padding, dilation, group, offset_scale, remove_center))
    return _run(input, offset, mask, gate, geometry, softmax, implementation)


def _run(
    value: torch.Tensor,
    offset: torch.Tensor,
    mask: torch.Tensor,
    gate: torch.Tensor | None,
    geometry: DCNv3Geometry,
    softmax: bool,
    implementation: str,
) -> torch.Tensor:
    # Compiled and exported graphs come here without passing `dcnv3`.
    geometry.check(value, offset, mask)
    _check_gate(gate, value, offset, geometry.group)
    tensors = (value, offset, mask) if gate is None else (value, offset, mask, gate)
    if choose(implementation, *tensors, devices=NATIVE_DEVICES) == "native":
        kernels = _FORWARD[value.device.type]
        return kernels(value, offset, mask, geometry, softmax=softmax, gate=gate)
    return _unfused(value, offset, mask, geometry, softmax, gate, "reference")


@torch.library.custom_op("internimage::dcnv3_backward", mutates_args=())
def _dcnv3_backward_op(  # noqa: PLR0913, PLR0917 - the schema of the graph node
    input: torch.Tensor,  # noqa: A002
    offset: torch.Tensor,
    mask: torch.Tensor,
    gate: torch.Tensor | None,
    gradient: torch.Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    group: int,
    offset_scale: float,
    remove_center: bool,
    softmax: bool,
    needed: Sequence[bool],
) -> list[torch.Tensor]:
    """Return the native gradients of input, offset, mask and gate; an empty tensor for one not needed."""
    geometry = _geometry((kernel_size, stride, padding, dilation, group, offset_scale, remove_center))
    kernels = _BACKWARD[input.device.type]
    return kernels(input, offset, mask, gradient, geometry, needed, softmax=softmax, gate=gate)


@_dcnv3_op.register_fake
def _(input: torch.Tensor, offset: torch.Tensor, *_: object) -> torch.Tensor:  # noqa: A002 - as in the schema
    return input.new_empty((*offset.shape[:3], input.shape[3]))


@_dcnv3_fused_op.register_fake
def _(input: torch.Tensor, offset: torch.Tensor, *_: object) -> torch.Tensor:  # noqa: A002 - as in the schema
    return input.new_empty((*offset.shape[:3], input.shape[3]))


@_dcnv3_backward_op.register_fake
def _(
    input: torch.Tensor,  # noqa: A002 - as in the schema
    offset: torch.Tensor,
    mask: torch.Tensor,
    gate: torch.Tensor | None,
    *rest: object,
) -> list[torch.Tensor]:
    needed = rest[-1]
    assert isinstance(needed, Sequence)  # noqa: S101 - the schema's last argument
    return [
        torch.empty_like(tensor) if need and tensor is not None else input.new_empty(0)
        for tensor, need in zip((input, offset, mask, gate), needed, strict=True)
    ]


class _Context(torch.autograd.function.FunctionCtx):
    """What the forward pass hands to the backward pass."""

    arguments: tuple[object, ...]
    gated: bool
    saved_tensors: tuple[torch.Tensor, ...]
    needs_input_grad: tuple[bool, ...]


def _save_plain(ctx: _Context, inputs: tuple[object, ...], output: torch.Tensor) -> None:
    del output
    ctx.save_for_backward(*(tensor for tensor in inputs[:3] if isinstance(tensor, torch.Tensor)))
    ctx.gated = False
    ctx.arguments = (*inputs[3:], False, "auto")


def _save_fused(ctx: _Context, inputs: tuple[object, ...], output: torch.Tensor) -> None:
    del output
    ctx.save_for_backward(*(tensor for tensor in inputs[:4] if isinstance(tensor, torch.Tensor)))
    ctx.gated = inputs[3] is not None
    ctx.arguments = inputs[4:]


def _gradients(ctx: _Context, gradient: torch.Tensor, needed: list[bool]) -> list[torch.Tensor | None]:
    # Read once: after recomputation by a checkpoint they are there one time.
    saved = ctx.saved_tensors
    value, offset, mask, *rest = saved
    gate = rest[0] if ctx.gated else None
    *plain, softmax, implementation = ctx.arguments
    if choose(str(implementation), *saved, devices=NATIVE_DEVICES) == "native":
        found = torch.ops.internimage.dcnv3_backward(
            value, offset, mask, gate, gradient, *plain, softmax, needed
        )
        return [tensor if need else None for tensor, need in zip(found, needed, strict=True)]
    # The reference is computed anew: sampling is cheaper than keeping its weights in memory. Here, not inside
    # of an operator, where PyTorch records nothing.
    with torch.enable_grad():
        leaves = [
            None if tensor is None else tensor.detach().requires_grad_(need)
            for tensor, need in zip((value, offset, mask, gate), needed, strict=True)
        ]
        geometry = _geometry(cast("_Plain", tuple(plain)))
        first, second, third = cast("list[torch.Tensor]", leaves[:3])
        output = _unfused(first, second, third, geometry, bool(softmax), leaves[3], "reference")
    wanted = [leaf for leaf, need in zip(leaves, needed, strict=True) if leaf is not None and need]
    results = iter(torch.autograd.grad(output, wanted, gradient.to(output.dtype)))
    return [next(results) if need else None for need in needed]


def _plain_backward(ctx: _Context, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    needed = [*ctx.needs_input_grad[:3], False]
    return (*_gradients(ctx, gradient, needed)[:3], *([None] * 7))


def _fused_backward(ctx: _Context, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    needed = [*ctx.needs_input_grad[:3], ctx.gated and ctx.needs_input_grad[3]]
    return (*_gradients(ctx, gradient, needed), *([None] * 9))


_dcnv3_op.register_autograd(_plain_backward, setup_context=_save_plain)
_dcnv3_fused_op.register_autograd(_fused_backward, setup_context=_save_fused)
