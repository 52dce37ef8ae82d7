"""Online hard example mining (Shrivastava et al., CVPR 2016) for pixels, over all processes."""

import torch

from internimage_perception.training.collectives import count_over_processes

_DIGITS = 1 << 16


@torch.no_grad()
def hard_pixels(chances: torch.Tensor, valid: torch.Tensor, threshold: float, min_kept: int) -> torch.Tensor:
    """Return bool, as the arguments: valid pixels whose true class has a probability below the threshold.

    The threshold rises until the `min_kept` hardest pixels of each process lie below it, those of all
    processes taken together (all but the easiest ones where there are no more), as mmsegmentation's does
    among the pictures of one process.

    Args:
        chances: probabilities of the pixels' own classes.
        valid: bool, pixels with a label.
        threshold: probability.
        min_kept: pixels of this process.
    """
    limit = _nth_smallest(chances[valid].float(), min_kept)
    return valid & (chances < limit.clamp(min=threshold))


def _nth_smallest(values: torch.Tensor, place: int) -> torch.Tensor:
    """Return the value at a place (from 0) among the sorted values >= 0 of all processes, the last if beyond.

    The place is the sum of the processes'. Found without sorting or moving the values: bits of positive
    floats are ordered as the floats are, so two histograms, of their upper and lower halves, lead there.
    """
    bits = values.view(torch.int32)
    size, found = count_over_processes(torch.tensor([len(bits), place], device=bits.device)).unbind()
    found = torch.minimum(found, size - 1).clamp(min=0)
    upper, found = _digit(bits >> 16, found)
    lower, _ = _digit(bits[bits >> 16 == upper] & (_DIGITS - 1), found)
    return (upper << 16 | lower).int().view(torch.float32)


def _digit(digits: torch.Tensor, place: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the digit at a place of all processes' sorted digits, and the place among its equals."""
    counts = torch.zeros(_DIGITS, dtype=torch.int64, device=digits.device)
    counts.index_add_(0, digits.long(), torch.ones_like(digits, dtype=torch.int64))
    counts = count_over_processes(counts)
    ends = counts.cumsum(0)
    digit = torch.searchsorted(ends, place, right=True).clamp(max=_DIGITS - 1)
    return digit, place - ends[digit] + counts[digit]
