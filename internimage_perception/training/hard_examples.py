"""Online hard example mining (Shrivastava et al., CVPR 2016) for pixels, over all processes."""

import torch

from internimage_perception.training.collectives import count_over_processes
from internimage_perception.training.config import OhemConfig
from internimage_perception.training.pixel_sums import IGNORED, Targets, true_class_probability

_DIGITS = 1 << 16


@torch.no_grad()
def hard_pixels(logits: torch.Tensor, targets: Targets, config: OhemConfig) -> torch.Tensor:
    """Return (B, H, W) bool: valid pixels whose true class has a probability below the threshold.

    The threshold rises until the `min_kept` hardest pixels per picture of all processes lie below it (all
    but the easiest ones, where there are no more), as mmsegmentation's does among one process's pictures.
    """
    chances = true_class_probability(logits, targets)
    valid = targets.labels != IGNORED
    limit = _nth_smallest(chances[valid].float(), config.min_kept * len(chances))
    return valid & (chances < limit.clamp(min=config.threshold))


def _nth_smallest(values: torch.Tensor, rank: int) -> torch.Tensor:
    """Return the value at a place (from 0) in the sorted values >= 0 of all processes, the last if beyond.

    `rank` is the sum of the processes' ranks. Found without sorting or moving the values: among numbers
    of one sign the bits of floats are ordered as the floats are, so that two histograms, of the upper and
    of the lower half of the bits, lead to it.
    """
    bits = values.view(torch.int32)
    size, place = count_over_processes(torch.tensor([len(bits), rank], device=bits.device)).unbind()
    place = torch.minimum(place, size - 1).clamp(min=0)
    upper, place = _digit(bits >> 16, place)
    lower, _ = _digit(bits[bits >> 16 == upper] & (_DIGITS - 1), place)
    return (upper << 16 | lower).int().view(torch.float32)


def _digit(digits: torch.Tensor, place: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the digit at a place of all processes' sorted digits, and the place among its equals."""
    counts = torch.zeros(_DIGITS, dtype=torch.int64, device=digits.device)
    counts.index_add_(0, digits.long(), torch.ones_like(digits, dtype=torch.int64))
    counts = count_over_processes(counts)
    ends = counts.cumsum(0)
    digit = torch.searchsorted(ends, place, right=True).clamp(max=_DIGITS - 1)
    return digit, place - ends[digit] + counts[digit]
