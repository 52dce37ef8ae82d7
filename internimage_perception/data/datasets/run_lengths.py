"""COCO's run lengths: masks as counts of pixels, column by column, background first.

Compressed, a count is written from index 3 on as the difference to the one two before it; numbers follow in
groups of 5 bits, low ones first, each in a character of 48 plus the group plus 32 where another follows; the
sign is that of the last group's highest bit.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_BASE, _BITS, _MORE, _SIGN = 48, 5, 0x20, 0x10


def decode_counts(text: str | bytes) -> list[int]:
    """Return the counts of a compressed text. Raises ValueError where it is cut off or not such a text."""
    data = text.encode("ascii") if isinstance(text, str) else text
    counts: list[int] = []
    value, shift = 0, 0
    for character in data:
        group = character - _BASE
        if not 0 <= group < 64:
            raise ValueError(f"the character {chr(character)!r} cannot be in run lengths")
        value |= (group & 0x1F) << shift
        shift += _BITS
        if group & _MORE:
            continue
        if group & _SIGN:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise ValueError("the run lengths end within a number")
    return counts


def mask_of_counts(counts: Sequence[int], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return the mask of counts, bool (height, width). Raises ValueError unless they fill it exactly."""
    runs = np.asarray(counts, np.int64).reshape(-1)
    if runs.size and runs.min() < 0:
        raise ValueError(f"a run has the length {runs.min()}")
    if runs.sum() != height * width:
        raise ValueError(f"the runs cover {runs.sum()} pixels, but {width}x{height} are {height * width}")
    values = np.arange(runs.size) % 2 == 1
    mask: npt.NDArray[np.bool_] = np.repeat(values, runs).reshape(width, height).T
    return np.ascontiguousarray(mask)
