"""Regions drawn by hand: polygon files of the annotation tool labelme."""

import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from internimage_perception.data.distortion.backgrounds import visible_regions
from internimage_perception.data.sample import Floats, Regions
from internimage_perception.errors import DatasetError

_NAMES = {
    "visible": ("visible", "scene", "visible_region"),
    "outside_lens": ("outside_lens", "outside"),
    "ego_body": ("ego_body", "ego", "ego_vehicle"),
}
_SHIFT = 8


def read_labelme(path: Path, width: int, height: int) -> Regions:
    """Return the regions that a labelme file draws for a frame of `width` x `height` pixels.

    Shapes are polygons, rectangles or circles labelled `visible`, `outside_lens` or `ego_body`. Where there
    are visible ones, all else is outside the lens unless it is ego body. A file whose shapes all have one
    other label draws the visible region: so did the contest's.

    Raises:
        DatasetError: the file cannot be read, draws nothing, is for another size, or has labels that say
            nothing.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        shapes = [_shape(item) for item in content["shapes"]]
        size = (int(content.get("imageWidth") or width), int(content.get("imageHeight") or height))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path} cannot be read as a labelme file: {type(error).__name__}: {error}"
        ) from error
    if size != (width, height):
        raise DatasetError(
            f"{path} is drawn for {size[0]}x{size[1]} pixels, but its frame has {width}x{height}"
        )
    masks = {name: np.zeros((height, width), np.uint8) for name in _NAMES}
    known = {alias: name for name, aliases in _NAMES.items() for alias in aliases}
    labels = {label for label, _ in shapes}
    if len(labels) == 1 and not labels & known.keys():
        known |= dict.fromkeys(labels, "visible")
    if not labels or labels - known.keys():
        found = ", ".join(sorted(labels - known.keys())) or "no shapes"
        raise DatasetError(f"{path} has {found}; label its shapes with {', '.join(_NAMES)}")
    for label, outline in shapes:
        # labelme counts from the corner of the first pixel.
        fixed = np.rint((outline - 0.5) * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(masks[known[label]], [fixed], 1, shift=_SHIFT)
    visible, outside, ego = (masks[name].astype(np.bool_) for name in _NAMES)
    if masks["visible"].any():
        return visible_regions(visible & ~outside & ~ego, ego)
    return Regions(outside & ~ego, ego, np.zeros_like(ego))


def _shape(item: Mapping[str, object]) -> tuple[str, Floats]:
    """Return the label and the outline (K, 2) of a shape. Raises ValueError for a kind that has no area."""
    points = np.array(item["points"], np.float64).reshape(-1, 2)
    kind = item.get("shape_type") or "polygon"
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        points = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    elif kind == "circle" and len(points) == 2:
        turn = np.linspace(0.0, 2.0 * np.pi, 361)[:-1]
        points = points[0] + np.hypot(*(points[1] - points[0])) * np.stack([np.cos(turn), np.sin(turn)], 1)
    elif kind != "polygon" or len(points) < 3:
        message = f"a {kind} of {len(points)} points has no area; draw a polygon, rectangle or circle"
        raise ValueError(message)
    if not np.isfinite(points).all():
        raise ValueError("a point is no number")
    return str(item["label"]), points
