"""Time of multi-scale deformable attention and RoIAlign on this computer's CPU.

The sizes are those of BEVFormer-base (temporal and spatial attention, decoder), of Mask2Former's pixel
decoder and of Mask R-CNN. Attention is compared with its usual PyTorch form, one `grid_sample` per level,
written anew. RoIAlign has no such form; it is compared with this package's reference. `process` is processor
time of all threads, which other programs on the computer do not lengthen much.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from results import durations, save
from torch.nn import functional

from internimage_perception.ops import ms_deform_attn, roi_align

Timings = dict[str, float]


class Case(NamedTuple):
    """Sizes of one call of attention; 8 heads of 32 channels."""

    batch: int
    levels: Sequence[tuple[int, int]]
    queries: int
    points: int


CASES = {
    "temporal attention, 200x200 map, 10000 queries": Case(2, [(200, 200)], 10_000, 4),
    "spatial attention, 4 levels from 116x200, 4000 queries": Case(
        1, [(116, 200), (58, 100), (29, 50), (15, 25)], 4_000, 8
    ),
    "decoder, 200x200 map, 900 queries": Case(1, [(200, 200)], 900, 4),
    "pixel decoder, 3 levels to 64x128": Case(1, [(16, 32), (32, 64), (64, 128)], 10_752, 4),
}


def grid_sample_form(
    value: torch.Tensor,
    levels: Sequence[tuple[int, int]],
    location: torch.Tensor,
    weight: torch.Tensor,
) -> torch.Tensor:
    """Compute the operator by one `grid_sample` per level."""
    batch, _, heads, channels = value.shape
    queries = location.shape[1]
    grid = (2 * location - 1).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)
    samples = []
    for number, part in enumerate(value.split([height * width for height, width in levels], dim=1)):
        image = part.permute(0, 2, 3, 1).reshape(batch * heads, channels, *levels[number])
        samples.append(functional.grid_sample(image, grid[number], align_corners=False))
    shares = weight.transpose(1, 2).reshape(batch * heads, 1, queries, -1)
    output = (torch.cat(samples, dim=-1) * shares).sum(-1)
    return output.reshape(batch, heads * channels, queries).transpose(1, 2).contiguous()


def measure(call: Callable[[], object], repeats: int) -> Timings:
    """Return the least wall-clock and processor time in milliseconds, after one call to warm up."""
    wall, process = durations(call, repeats, time.perf_counter, time.process_time).min(axis=1).tolist()
    return {"wall_ms": round(1000 * wall, 2), "process_ms": round(1000 * process, 2)}


def attention(case: Case, repeats: int) -> dict[str, object]:
    """Time one case; offsets of a few pixels around reference points that run over the map, row by row."""
    generator = torch.Generator().manual_seed(0)
    heads, channels = 8, 32
    shapes = torch.tensor(case.levels)
    starts = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]])
    value = torch.randn(case.batch, int(shapes.prod(1).sum()), heads, channels, generator=generator)
    side = int(case.queries**0.5) + 1
    number = torch.arange(case.queries)
    place = torch.stack([(number % side + 0.5) / side, (number // side + 0.5) / side], dim=-1)
    samples = (case.batch, case.queries, heads, len(case.levels), case.points)
    offset = 3 * torch.randn(*samples, 2, generator=generator)
    location = place[:, None, None, None] + offset / shapes[:, None].flip(-1)
    weight = torch.rand(samples, generator=generator).flatten(-2).softmax(-1).reshape(samples)
    call = (value, shapes, starts, location, weight)

    native = lambda: ms_deform_attn(*call, implementation="native")  # noqa: E731
    usual = lambda: grid_sample_form(value, case.levels, location, weight)  # noqa: E731
    difference = (native() - usual()).abs().max().item()
    leaves = [tensor.requires_grad_() for tensor in (value, location, weight)]
    both = lambda forward: torch.autograd.grad(forward().sum(), leaves)  # noqa: E731
    with torch.no_grad():
        forward = {
            "native": measure(native, 5 * repeats),
            "reference": measure(lambda: ms_deform_attn(*call, implementation="reference"), repeats),
            "grid_sample": measure(usual, repeats),
        }
    training = {
        "native": measure(lambda: both(native), 2 * repeats),
        "grid_sample": measure(lambda: both(usual), repeats),
    }
    return {
        "forward": forward,
        "forward_times_faster_than_grid_sample": ratio(forward, "grid_sample"),
        "forward_and_backward": training,
        "forward_and_backward_times_faster": ratio(training, "grid_sample"),
        "largest_difference": difference,
    }


def ratio(timings: dict[str, Timings], other: str) -> Timings:
    """Return how many times longer the other one takes than the native kernels."""
    return {name: round(timings[other][name] / timings["native"][name], 1) for name in timings["native"]}


def boxes(repeats: int) -> dict[str, object]:
    """Time RoIAlign: 1000 boxes of about 56 pixels at stride 4, 256 channels, 7x7 bins."""
    generator = torch.Generator().manual_seed(0)
    feature = torch.randn(1, 256, 200, 304, generator=generator)
    middle = torch.rand(1000, 2, generator=generator) * torch.tensor([1216.0, 800.0])
    half = 28 * (0.5 + torch.rand(1000, 2, generator=generator))
    rois = torch.cat([torch.zeros(1000, 1), middle - half, middle + half], dim=1)
    pool = lambda name: roi_align(feature, rois, 7, spatial_scale=0.25, implementation=name)  # noqa: E731
    forward = {
        "native": measure(lambda: pool("native"), 2 * repeats),
        "reference": measure(lambda: pool("reference"), repeats),
    }
    return {"forward": forward, "forward_times_faster_than_reference": ratio(forward, "reference")}


def main() -> None:
    """Measure and store the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--note", help="stored with the results: what else the computer did, for example")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    content: dict[str, object] = {"threads": arguments.threads, "torch": torch.__version__}
    content |= {name: attention(case, arguments.repeats) for name, case in CASES.items()}
    content["roi_align, 1000 boxes"] = boxes(arguments.repeats)
    save("msda", content, arguments.note)


if __name__ == "__main__":
    main()
