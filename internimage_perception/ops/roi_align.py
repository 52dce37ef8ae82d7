"""RoIAlign: one function, one node in exported graphs, several implementations."""

from collections.abc import Callable, Sequence

import torch

from internimage_perception.ops.choice import IMPLEMENTATIONS, choose
from internimage_perception.ops.geometry import IntPair, OperatorError
from internimage_perception.ops.native_cuda_roi_align import roi_align_cuda, roi_align_cuda_backward
from internimage_perception.ops.native_roi_align import roi_align_native, roi_align_native_backward
from internimage_perception.ops.roi_align_reference import (
    RoiGeometry,
    check_images,
    roi_align_reference,
    roi_align_reference_backward,
)

_FORWARD: dict[str, Callable[..., torch.Tensor]] = {"cpu": roi_align_native, "cuda": roi_align_cuda}
_BACKWARD: dict[str, Callable[..., torch.Tensor]] = {
    "cpu": roi_align_native_backward,
    "cuda": roi_align_cuda_backward,
}
NATIVE_DEVICES = tuple(_FORWARD)
"""Kinds of device that have native kernels of RoIAlign."""


def roi_align(
    input: torch.Tensor,  # noqa: A002 - PyTorch's name for it
    rois: torch.Tensor,
    output_size: IntPair,
    *,
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
    implementation: str = "auto",
) -> torch.Tensor:
    """Average a feature map over the bins of boxes, from bilinear samples (Mask R-CNN, ICCV 2017).

    A box, times `spatial_scale` and, if `aligned`, less half a pixel, is cut into output_size bins. Each is
    the mean of sampling_ratio x sampling_ratio bilinear samples in the middles of its equal parts. A sample
    up to one pixel outside the map has the border's value, further out 0. Differentiable in `input`, twice
    too.

    A box with a coordinate that is not finite has the result NaN and adds nothing to gradients. A bin has at
    most 65536 samples per axis; one of negative size has none, unless sampling_ratio says how many, and is 0.

    Args:
        input: (N, C, H, W), any floating type; half types are averaged in float32.
        rois: (K, 5), number of the image in the batch, x1, y1, x2, y2. Keep them in float32 under autocast.
        output_size: bins of a box, one number or (height, width).
        spatial_scale: pixels of the map per unit of the boxes, 1/stride.
        sampling_ratio: samples of a bin along each axis; 0: the bin's size in pixels, rounded up.
        aligned: box coordinates count from the image's corner, so that pixel centres lie at halves. False is
            the older convention, in which a box has at least one pixel.
        implementation: "auto" (fastest there is; one node in exported graphs), "native" or "reference". The
            environment variable INTERNIMAGE_PERCEPTION_OPS takes the same names and replaces "auto".

    Returns:
        (K, C, *output_size), in the type of `input`. K and N may be 0.

    Raises:
        OperatorError: a shape, type or argument does not fit, or a box belongs to no image of the batch.
        NativeError: the native kernels were asked for and cannot run.
    """
    bins = [output_size, output_size] if isinstance(output_size, int) else list(output_size)
    _check(input, rois)
    _geometry(bins, spatial_scale, sampling_ratio, aligned)
    if implementation not in ("auto", *IMPLEMENTATIONS):
        names = ", ".join(("auto", *IMPLEMENTATIONS))
        raise OperatorError(f"roi_align: no implementation {implementation!r}; there are {names}")
    return _roi_align_op(input, rois, bins, float(spatial_scale), sampling_ratio, aligned, implementation)


def _check(feature: torch.Tensor, rois: torch.Tensor) -> None:
    for name, tensor, count in (("input", feature, 4), ("rois", rois, 2)):
        if tensor.dim() != count or not tensor.is_floating_point():
            layout = "(N, C, H, W)" if name == "input" else "(K, 5)"
            raise OperatorError(
                f"roi_align: {name} must be {layout}, floating point; "
                f"got {tuple(tensor.shape)}, {tensor.dtype}"
            )
    if rois.shape[1] != 5:
        raise OperatorError(
            f"roi_align: rois must be (K, 5), image's number and x1, y1, x2, y2; got {tuple(rois.shape)}"
        )
    if min(feature.shape[1:]) < 1:
        raise OperatorError(f"roi_align: input has no channels or pixels: {tuple(feature.shape)}")
    if rois.device != feature.device:
        raise OperatorError(
            f"roi_align: rois are on {rois.device}, input on {feature.device}; move them together"
        )


def _geometry(output_size: Sequence[int], spatial_scale: float, ratio: int, aligned: bool) -> RoiGeometry:
    if len(output_size) != 2:
        raise OperatorError(
            f"roi_align: output_size must be one number or (height, width), got {output_size}"
        )
    return RoiGeometry((output_size[0], output_size[1]), spatial_scale, ratio, aligned)


@torch.library.custom_op("internimage::roi_align", mutates_args=())
def _roi_align_op(
    input: torch.Tensor,  # noqa: A002
    rois: torch.Tensor,
    output_size: Sequence[int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    implementation: str,
) -> torch.Tensor:
    _check(input, rois)
    check_images(rois, input.shape[0])
    geometry = _geometry(output_size, spatial_scale, sampling_ratio, aligned)
    native = choose(implementation, input, devices=NATIVE_DEVICES) == "native"
    return (_FORWARD[input.device.type] if native else roi_align_reference)(input, rois, geometry)


@torch.library.custom_op("internimage::roi_align_backward", mutates_args=())
def _roi_align_backward_op(
    gradient: torch.Tensor,
    rois: torch.Tensor,
    size: Sequence[int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    implementation: str,
) -> torch.Tensor:
    """Return the gradient (N, C, H, W) of the input; `size` is its (N, H, W)."""
    check_images(rois, size[0])
    geometry = _geometry(gradient.shape[2:], spatial_scale, sampling_ratio, aligned)
    native = choose(implementation, gradient, devices=NATIVE_DEVICES) == "native"
    return (_BACKWARD[gradient.device.type] if native else roi_align_reference_backward)(
        gradient, rois, size, geometry
    )


@_roi_align_op.register_fake
def _(
    input: torch.Tensor,  # noqa: A002
    rois: torch.Tensor,
    output_size: Sequence[int],
    *_: object,
) -> torch.Tensor:
    return input.new_empty((rois.shape[0], input.shape[1], *output_size))


@_roi_align_backward_op.register_fake
def _(gradient: torch.Tensor, rois: torch.Tensor, size: Sequence[int], *_: object) -> torch.Tensor:
    del rois
    batch, height, width = size
    return gradient.new_empty((batch, gradient.shape[1], height, width))


class _Context(torch.autograd.function.FunctionCtx):
    """What a pass hands to its derivative."""

    sizes: list[int]
    arguments: tuple[object, ...]
    saved_tensors: tuple[torch.Tensor, ...]


def _save(ctx: _Context, inputs: tuple[object, ...], output: torch.Tensor) -> None:
    del output
    feature, rois, _, *arguments = inputs
    assert isinstance(feature, torch.Tensor) and isinstance(rois, torch.Tensor)  # noqa: S101, PT018 - the schema
    ctx.save_for_backward(rois)
    ctx.sizes = [feature.shape[0], *feature.shape[2:]]
    ctx.arguments = tuple(arguments)


_Gradients = tuple[torch.Tensor | None, ...]


def _backward(ctx: _Context, gradient: torch.Tensor) -> _Gradients:
    result = torch.ops.internimage.roi_align_backward(gradient, *ctx.saved_tensors, ctx.sizes, *ctx.arguments)
    return (result, *([None] * 6))


def _save_backward(ctx: _Context, inputs: tuple[object, ...], output: torch.Tensor) -> None:
    del output
    gradient, rois, _, *arguments = inputs
    assert isinstance(gradient, torch.Tensor) and isinstance(rois, torch.Tensor)  # noqa: S101, PT018 - the schema
    ctx.save_for_backward(rois)
    ctx.sizes = list(gradient.shape[2:])
    ctx.arguments = tuple(arguments)


def _double_backward(ctx: _Context, gradient: torch.Tensor) -> _Gradients:
    # The operator is linear in its input: the derivative of its gradient is the operator itself.
    result = torch.ops.internimage.roi_align(gradient, *ctx.saved_tensors, ctx.sizes, *ctx.arguments)
    return (result, *([None] * 6))


_roi_align_op.register_autograd(_backward, setup_context=_save)
_roi_align_backward_op.register_autograd(_double_backward, setup_context=_save_backward)
