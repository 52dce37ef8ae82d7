"""The contest's run lengths: row by row, counted from 1, a start and a length for every run of a class.

Not those of COCO (`data.datasets.run_lengths`), which go column by column and count background first.
`[[1, 1, 0], [0, 1, 1]]` is `1 2 5 2`: a run goes on in the next row.
"""

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

EMPTY = "-1"
"""Stands for a mask without pixels."""


def encode_classes(ids: Ids, num_classes: int) -> list[str]:
    """Return the run lengths of each class 0 to num_classes - 1 in a map of class ids, uint8 (height, width).

    One pass over the map serves all the classes; ids beyond them are left out.
    """
    flat = ids.reshape(-1)
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([np.zeros(min(1, flat.size), np.intp), starts])
    lengths = np.diff(starts, append=flat.size)
    values = flat[starts]
    texts: list[str] = []
    for number in range(num_classes):
        chosen = values == number
        numbers = np.stack([starts[chosen] + 1, lengths[chosen]], axis=1).reshape(-1).tolist()
        texts.append(" ".join(map(str, numbers)) or EMPTY)
    return texts


def decode_runs(text: str, pixels: int) -> tuple[Ints, Ints]:
    """Return where the runs of a text begin, counted from 0, and where they end (the pixel behind).

    Args:
        text: as `encode_classes` writes it.
        pixels: how many the mask has.

    Raises:
        ValueError: the text is no such list, a run leaves the mask, or runs overlap or are out of order.
    """
    if text == EMPTY:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    strange = text.encode("utf-8", "replace").translate(None, b"0123456789 ")
    if strange or text != text.strip() or "  " in text or not text:
        raise ValueError(
            f"runs are whole numbers with one blank between them, or {EMPTY} where there is none, "
            f"not {text[:40]!r}"
        )
    # A number too large for 64 bits becomes the largest one, which leaves the mask as well.
    numbers = np.fromstring(text, np.int64, sep=" ")
    if numbers.size % 2:
        raise ValueError(
            f"starts and lengths come in pairs, but there is an odd number of them, {numbers.size}"
        )
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    if starts.min() < 0 or lengths.min() < 1:
        raise ValueError("a run starts or is long 0; pixels are counted from 1, and a run has one or more")
    if starts.max() >= pixels or (lengths > pixels - starts).any():
        wrong = int(np.argmax((starts >= pixels) | (lengths > pixels - starts)))
        raise ValueError(
            f"the run {numbers[2 * wrong]} {numbers[2 * wrong + 1]} ends behind the mask's {pixels} pixels"
        )
    ends = starts + lengths
    if (early := np.flatnonzero(starts[1:] < ends[:-1])).size:
        wrong = int(early[0]) + 1
        raise ValueError(
            f"the run {numbers[2 * wrong]} {numbers[2 * wrong + 1]} begins before the last one ends"
        )
    return starts, ends


def mask_of_runs(text: str, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return the mask of a text, bool (height, width). Raises ValueError as `decode_runs`."""
    starts, ends = decode_runs(text, height * width)
    steps = np.zeros(height * width + 1, np.int8)
    # Where one run ends and the next begins at once, both steps count.
    steps[starts] += 1
    steps[ends] -= 1
    mask: npt.NDArray[np.bool_] = np.cumsum(steps[:-1], dtype=np.int8).astype(np.bool_)
    return mask.reshape(height, width)
