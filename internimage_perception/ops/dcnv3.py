"""The DCNv3 operator: one function, one node in exported graphs, several implementations."""

from collections.abc import Callable, Sequence

import torch

from internimage_perception.ops.geometry import DCNv3Geometry, IntPair, OperatorError
from internimage_perception.ops.native import dcnv3_native, dcnv3_native_backward, native_takes
from internimage_perception.ops.reference import dcnv3_reference

Implementation = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, DCNv3Geometry], torch.Tensor]
"""(input, offset, mask, geometry) -> output. Only "reference" has to be differentiable."""

_implementations: dict[str, Implementation] = {"reference": dcnv3_reference}


def implementations() -> tuple[str, ...]:
    """Return the names that `dcnv3(implementation=...)` takes."""
    return ("auto", *_implementations)


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
    implementation: str = "auto",
) -> torch.Tensor:
    """Deformable convolution v3: sum each group's bilinear samples at learned positions (InternImage, 2023).

    Output pixel (i, j) of group g, with points p = (column a, row b) counted down the columns:

        x = j*stride_w - pad_w + cx + offset_scale * (a*dilation_w - cx + offset[i, j, g, p, 0])
        y = i*stride_h - pad_h + cy + offset_scale * (b*dilation_h - cy + offset[i, j, g, p, 1])
        out[i, j, g] = sum over p of mask[i, j, g, p] * input[y, x, g]

    in pixels, where integers are pixel centres, (cy, cx) is the grid's centre and pixels outside count as 0.

    Args:
        input: (N, H, W, group * channels), any floating type; half types are sampled in float32.
        offset: (N, Ho, Wo, group * points * 2), points = kernel height * width (less 1 with remove_center).
        mask: (N, Ho, Wo, group * points), used as it is (no softmax here).
        kernel_size: one number or (height, width), like stride, padding and dilation.
        stride: step between output pixels.
        padding: zeros around the map.
        dilation: spacing of the grid.
        group: number of channel groups.
        offset_scale: factor on grid and offsets.
        remove_center: leave the central point out of the sum.
        implementation: "auto" (fastest there is; one node in exported graphs) or one of `implementations()`.

    Returns:
        (N, Ho, Wo, group * channels), in the type of `input`.

    Raises:
        OperatorError: a shape, type or argument does not fit; the message names it.
    """
    geometry = DCNv3Geometry.make(
        kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation,
        group=group, offset_scale=offset_scale, remove_center=remove_center,
    )  # fmt: skip
    if implementation == "auto":
        return _dcnv3_op(
            input, offset, mask, geometry.kernel_size, geometry.stride, geometry.padding,
            geometry.dilation, group, geometry.offset_scale, remove_center,
        )  # fmt: skip
    if implementation not in _implementations:
        message = f"dcnv3: no implementation {implementation!r}; there are {', '.join(implementations())}"
        raise OperatorError(message)
    geometry.check(input, offset, mask)
    return _implementations[implementation](input, offset, mask, geometry)


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
    geometry.check(input, offset, mask)
    if native_takes(input, offset, mask):
        return dcnv3_native(input, offset, mask, geometry)
    return dcnv3_reference(input, offset, mask, geometry)


@_dcnv3_op.register_fake
def _(input: torch.Tensor, offset: torch.Tensor, *_: object) -> torch.Tensor:  # noqa: A002 - as in the schema
    return input.new_empty((*offset.shape[:3], input.shape[3]))


_Sizes = Sequence[int]
_Arguments = tuple[_Sizes, _Sizes, _Sizes, _Sizes, int, float, bool]
_Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, _Sizes, _Sizes, _Sizes, _Sizes, int, float, bool]


def _geometry(arguments: _Arguments) -> DCNv3Geometry:
    kernel_size, stride, padding, dilation, group, offset_scale, remove_center = arguments
    return DCNv3Geometry.make(
        kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation,
        group=group, offset_scale=offset_scale, remove_center=remove_center,
    )  # fmt: skip


class _Context(torch.autograd.function.FunctionCtx):
    """What the forward pass hands to the backward pass."""

    arguments: _Arguments
    saved_tensors: tuple[torch.Tensor, ...]
    needs_input_grad: tuple[bool, ...]


def _setup_context(ctx: _Context, inputs: _Inputs, output: torch.Tensor) -> None:
    del output
    ctx.save_for_backward(*inputs[:3])
    ctx.arguments = inputs[3:]


def _backward(ctx: _Context, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    value, offset, mask = ctx.saved_tensors
    needed = ctx.needs_input_grad[:3]
    found = _dcnv3_backward_op(value, offset, mask, gradient, *ctx.arguments, list(needed))
    return (
        *(tensor if need else None for tensor, need in zip(found, needed, strict=True)),
        *([None] * len(ctx.arguments)),
    )


_dcnv3_op.register_autograd(_backward, setup_context=_setup_context)


@torch.library.custom_op("internimage::dcnv3_backward", mutates_args=())
def _dcnv3_backward_op(  # noqa: PLR0913, PLR0917 - the schema of the graph node
    input: torch.Tensor,  # noqa: A002
    offset: torch.Tensor,
    mask: torch.Tensor,
    gradient: torch.Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    group: int,
    offset_scale: float,
    remove_center: bool,
    needed: Sequence[bool],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of input, offset and mask; an empty tensor for one that is not needed."""
    geometry = _geometry((kernel_size, stride, padding, dilation, group, offset_scale, remove_center))
    if native_takes(input, offset, mask):
        return dcnv3_native_backward(input, offset, mask, gradient, geometry, needed)
    # The reference is computed anew: sampling is cheaper than keeping its weights in memory.
    with torch.enable_grad():
        leaves = [
            tensor.detach().requires_grad_(need)
            for tensor, need in zip((input, offset, mask), needed, strict=True)
        ]
        output = dcnv3_reference(leaves[0], leaves[1], leaves[2], geometry)
    found = iter(torch.autograd.grad(output, [leaf for leaf in leaves if leaf.requires_grad], gradient))
    first, second, third = (next(found) if leaf.requires_grad else leaf.new_empty(0) for leaf in leaves)
    return first, second, third


@_dcnv3_backward_op.register_fake
def _(  # noqa: PLR0913, PLR0917 - the schema of the graph node
    input: torch.Tensor,  # noqa: A002
    offset: torch.Tensor,
    mask: torch.Tensor,
    gradient: torch.Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    group: int,
    offset_scale: float,
    remove_center: bool,
    needed: Sequence[bool],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    del gradient, kernel_size, stride, padding, dilation, group, offset_scale, remove_center
    first, second, third = (
        tensor.new_empty(tensor.shape if need else (0,))
        for tensor, need in zip((input, offset, mask), needed, strict=True)
    )
    return first, second, third
