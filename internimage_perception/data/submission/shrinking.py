"""The size of submitted masks: class ids are picked, never blended, and every tool picks in its own way."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.submission.layout import HEIGHT, WIDTH

Ids = npt.NDArray[np.uint8]


def shrink(ids: Ids, nearest: str = "pillow", width: int = WIDTH, height: int = HEIGHT) -> Ids:
    """Return class ids at another size.

    Args:
        ids: uint8 (rows, columns).
        nearest: which pixel is picked. "pillow": that in which the centre of the target's pixel lies, as
            Pillow's NEAREST, by which the contest's participants made their submissions. "opencv": that in
            which its upper left corner lies, as OpenCV's INTER_NEAREST. From 1920x1080 to 960x540 pillow
            takes the odd rows and columns, opencv the even ones.
        width: columns of the answer.
        height: its rows.

    Raises:
        KeyError: another name than one of `NEAREST`.
    """
    return _WAYS[nearest](ids, width, height)


def _pillow(ids: Ids, width: int, height: int) -> Ids:
    rows, columns = (_centres(*pair) for pair in ((ids.shape[0], height), (ids.shape[1], width)))
    return np.asarray(ids.take(rows, axis=0).take(columns, axis=1), np.uint8)


def _centres(length: int, wanted: int) -> npt.NDArray[np.intp]:
    """Return which of `length` pixels each of the `wanted` ones takes.

    Pillow adds up the step in double precision; where a centre falls on a border, that sum decides.
    """
    step = length / wanted
    places = np.full(wanted, step)
    places[0] = 0.5 * step
    return np.minimum(np.add.accumulate(places).astype(np.intp), length - 1)


def _opencv(ids: Ids, width: int, height: int) -> Ids:
    return np.asarray(cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


_WAYS: Mapping[str, Callable[[Ids, int, int], Ids]] = {"pillow": _pillow, "opencv": _opencv}
NEAREST = tuple(_WAYS)
"""Names that `shrink` takes."""
