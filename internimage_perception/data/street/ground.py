"""The ground of a stretch of street: its cross-section swept along the route, and the land around."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from internimage_perception.data.street.classes import StreetClass
from internimage_perception.data.street.materials import Material
from internimage_perception.data.street.mesh import Piece, Soup, join, strip
from internimage_perception.data.street.route import Route
from internimage_perception.data.street.section import Section

Floats = npt.NDArray[np.float64]

_STEP_M = 2.0
_LAND_BELOW_M = 0.08


def swept(
    route: Route, s: Floats, right: tuple[float, float], left: tuple[float, float], surface_v: float = 0.0
) -> Soup:
    """Return a strip of ground along `s`; `right` and `left` are its edges' offset and height.

    Surface coordinates are the arc length and the offset from the strip's middle plus `surface_v`.
    """
    edges = []
    for t, height in (right, left):
        xy = route.point(s, t)
        edges.append(np.column_stack([xy, route.elevation(xy) + height]))
    corners = strip(np.array(edges))
    offset = np.array([right[0], left[0]])[:, None] - (right[0] + left[0]) / 2 + surface_v
    flat = np.stack(
        [np.broadcast_to(s, (2, len(s))), np.broadcast_to(offset, (2, len(s))), np.zeros((2, len(s)))], -1
    )
    return Soup(corners, strip(flat)[..., :2])


def block_ground(
    route: Route, section: Section, span: tuple[float, float], crossing: tuple[float, float] | None,
    openings: dict[int, tuple[float, float]], asphalt: Material,
) -> list[Piece]:  # fmt: skip
    """Return the ground between two arc lengths.

    Args:
        route: centre line.
        section: what lies side by side.
        span: arc lengths.
        crossing: where within the span pedestrians cross, if they do.
        openings: per side (1 left, -1 right), where within the span a side street joins.
        asphalt: of the side street.
    """
    low, high = span
    cuts = sorted({low, high, *(crossing or ()), *(end for pair in openings.values() for end in pair)})
    groups: dict[tuple[int, int], tuple[list[Soup], Material, StreetClass]] = {}
    for start, end in pairwise(cuts):
        s = np.linspace(start, end, max(2, int(np.ceil((end - start) / _STEP_M)) + 1))
        crossed = crossing is not None and start >= crossing[0] and end <= crossing[1]
        for index, item in enumerate(section.strips):
            side = 1 if item.right > 0 else -1
            opening = openings.get(side)
            outside = min(abs(item.right), abs(item.left)) >= section.sides[side].kerb - 1e-9
            opened = outside and opening is not None and start >= opening[0] and end <= opening[1]
            material, class_id, kind = item.material, item.class_id, 0
            heights = (item.height_right, item.height_left)
            if opened:
                material, class_id, kind, heights = asphalt, StreetClass.ROAD, 1, (0.0, 0.0)
            elif crossed and not outside:
                material, kind = section.crossing, 2
            soup = swept(
                route, s, (item.right, heights[0]), (item.left, heights[1]), (item.right + item.left) / 2
            )
            groups.setdefault((kind, index if kind == 0 else 0), ([], material, class_id))[0].append(soup)
    return [Piece(join(soups), material, class_id) for soups, material, class_id in groups.values()]


def land(route: Route, centre: Floats, material: Material) -> Piece:
    """Return the land around a place, a little below the street's surface, out to 600 m."""
    lines = np.concatenate(
        [np.arange(-600.0, -120.0, 60.0), np.arange(-120.0, 121.0, 10.0), np.arange(180.0, 601.0, 60.0)]
    )
    middle = np.round(centre / 10.0) * 10.0
    x, y = np.meshgrid(middle[0] + lines, middle[1] + lines)
    z = route.elevation(np.stack([x, y], axis=-1)) - _LAND_BELOW_M
    corners = strip(np.stack([x, y, z], axis=-1))
    return Piece(Soup(corners, corners[..., :2].copy()), material, StreetClass.NATURE)
