"""What the host build of the CUDA kernels launches for some calls: blocks, threads, shared memory."""

import ctypes

import torch

from internimage_perception.ops.msda_shapes import Level
from internimage_perception.ops.native_cuda_msda import msda_cuda, msda_cuda_backward
from internimage_perception.ops.native_cuda_roi_align import roi_align_cuda, roi_align_cuda_backward
from internimage_perception.ops.roi_align_reference import RoiGeometry

Launches = dict[str, dict[str, int]]
"""Blocks, threads and bytes of shared memory of each direction."""


def largest_launch(library: ctypes.CDLL) -> dict[str, int]:
    """Return blocks, threads and shared memory of the host build's largest launch since the last call."""
    launch = (ctypes.c_int64 * 3)()
    library.dcnv3_host_largest_launch(launch)
    return dict(zip(("blocks", "threads", "shared"), launch, strict=True))


def attention_launches(library: ctypes.CDLL, queries: int, levels: int, points: int) -> Launches:
    """Return what the host build chose for attention with 8 heads of 32 channels in float16."""
    maps: list[Level] = []
    for level in range(levels):
        start = maps[-1].start + maps[-1].height * maps[-1].width if maps else 0
        maps.append(Level(58 >> level, 100 >> level, start))
    pixels = maps[-1].start + maps[-1].height * maps[-1].width
    value, gradient = (torch.zeros(1, size, 8, 32, dtype=torch.float16) for size in (pixels, queries))
    weight = torch.zeros(1, queries, 8, levels, points, dtype=torch.float16)
    location = torch.zeros(*weight.shape, 2)
    msda_cuda(value, maps, location, weight, softmax=True, library=library)
    found = {"Forward": largest_launch(library)}
    msda_cuda_backward(
        value, maps, location, weight, gradient.flatten(2), [True] * 3, softmax=True, library=library
    )
    return found | {"Backward": largest_launch(library)}


def pooling_launches(library: ctypes.CDLL) -> Launches:
    """Return what the host build chose for RoIAlign: 100 boxes, 7x7 bins, 256 channels, in float16."""
    feature, boxes = torch.zeros(1, 256, 32, 64, dtype=torch.float16), torch.tensor([[0.0, 4, 4, 30, 25]])
    geometry = RoiGeometry((7, 7), 0.25, 0, aligned=True)
    boxes = boxes.repeat(100, 1)
    output = roi_align_cuda(feature, boxes, geometry, library=library)
    found = {"Forward": largest_launch(library)}
    roi_align_cuda_backward(output, boxes, (1, 32, 64), geometry, library=library)
    return found | {"Backward": largest_launch(library)}
