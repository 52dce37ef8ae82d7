"""Pictures of lenses and rigs: what each camera sees, at which angle off its axis, and where it looks."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.geometry import CameraModel, RigCamera
from internimage_perception.geometry.poses import BODY_FROM_OPTICAL

Picture = npt.NDArray[np.uint8]
Color = tuple[int, int, int]

_TILE_WIDTH = 480
_RING_DEG = 15
_LETTERS = 0.42
_GAP = 4
_COLORS: tuple[Color, ...] = (
    (80, 160, 240), (240, 160, 60), (90, 200, 90), (200, 100, 220), (70, 210, 220), (120, 120, 240),
    (220, 200, 90), (160, 160, 160),
)  # fmt: skip
_INK: Color = (235, 235, 235)
_PAPER, _OUTSIDE, _EGO, _BETWEEN = (48, 48, 48), (18, 18, 18), (70, 70, 120), (110, 110, 110)


def draw_rig(cameras: Sequence[RigCamera]) -> Picture:
    """Return a picture, BGR: a tile per camera with a lens, and the rig from above where poses are known.

    Raises ValueError when no camera has a lens.
    """
    tiles = [
        draw_lens(item.camera, item.name, _COLORS[index % len(_COLORS)], item.ego_mask)
        for index, item in enumerate(cameras)
        if item.camera is not None
    ]
    if not tiles:
        raise ValueError("no camera has a lens")
    if any(item.base_from_camera is not None and item.camera is not None for item in cameras):
        tiles.append(draw_layout(cameras, max(tile.shape[0] for tile in tiles)))
    columns = 2 if len(tiles) > 1 else 1
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    height = [max(tile.shape[0] for tile in row) for row in rows]
    shape = (sum(height) + _GAP * (len(rows) - 1), columns * (_TILE_WIDTH + _GAP) - _GAP, 3)
    sheet = np.full(shape, _BETWEEN, np.uint8)
    top = 0
    for row, high in zip(rows, height, strict=True):
        for index, tile in enumerate(row):
            left = index * (_TILE_WIDTH + _GAP)
            sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        top += high + _GAP
    return sheet


def draw_lens(
    camera: CameraModel, name: str, color: Color, ego_mask: npt.NDArray[np.bool_] | None = None
) -> Picture:
    """Return what of the image a lens serves, with rings every 15 degrees off the axis.

    Args:
        camera: the lens; the picture is scaled to 480 columns.
        name: written on it.
        color: of the rings, BGR.
        ego_mask: bool (camera height, width), what shows the vehicle itself.
    """
    small = camera.resized(_TILE_WIDTH, max(1, round(camera.height * _TILE_WIDTH / camera.width)))
    rays, valid = small.unproject(small.pixel_grid())
    theta = np.degrees(np.arctan2(np.hypot(rays[..., 0], rays[..., 1]), rays[..., 2]))
    tile = np.full((small.height, small.width, 3), _OUTSIDE, np.uint8)
    tile[valid] = _PAPER
    if ego_mask is not None:
        own = cv2.resize(
            ego_mask.astype(np.uint8), (small.width, small.height), interpolation=cv2.INTER_NEAREST
        )
        tile[valid & (own > 0)] = _EGO
    ring = np.floor(np.where(valid, theta, 0.0) / _RING_DEG)
    edge = np.zeros(valid.shape, np.bool_)
    edge[:, 1:] |= (ring[:, 1:] != ring[:, :-1]) & valid[:, 1:] & valid[:, :-1]
    edge[1:] |= (ring[1:] != ring[:-1]) & valid[1:] & valid[:-1]
    tile[edge] = color
    for degrees in range(_RING_DEG, 181, _RING_DEG):
        _label_ring(tile, small, degrees)
    center = (round(small.cx), round(small.cy))
    cv2.drawMarker(tile, center, color, cv2.MARKER_CROSS, 12, 1, cv2.LINE_AA)
    limit = math.degrees(camera.theta_max)
    _write(tile, f"{name}: {camera.model} {camera.width}x{camera.height}", (8, 18))
    _write(tile, f"serves {valid.mean():.0%} of the pixels, up to {limit:.1f} degrees", (8, 36))
    return tile


def draw_layout(cameras: Sequence[RigCamera], height: int) -> Picture:
    """Return the rig from above, x up and y to the left, each camera with the width of what it sees."""
    seen = [
        (index, item.name, item.camera, item.base_from_camera)
        for index, item in enumerate(cameras)
        if item.camera is not None and item.base_from_camera is not None
    ]
    places = np.array([pose[:2, 3] for _, _, _, pose in seen])
    low, high = np.minimum(places.min(axis=0), 0.0), np.maximum(places.max(axis=0), 0.0)
    middle, reach = (low + high) / 2.0, max(float((high - low).max()), 1.0)
    size = min(height, _TILE_WIDTH)
    scale = 0.42 * size / reach

    def at(x: float, y: float) -> tuple[int, int]:
        return (
            round(_TILE_WIDTH / 2 - scale * (y - middle[1])),
            round(height / 2 - scale * (x - middle[0])),
        )

    tile = np.full((height, _TILE_WIDTH, 3), _OUTSIDE, np.uint8)
    for index, _, camera, pose in seen:
        sector = _sector(camera, pose, 0.28 * size / scale)
        points = np.array([at(*point) for point in [pose[:2, 3], *sector]], np.int32)
        shade = cv2.fillPoly(tile.copy(), [points], _COLORS[index % len(_COLORS)], cv2.LINE_AA)
        tile = np.asarray(cv2.addWeighted(tile, 0.6, shade, 0.4, 0.0), np.uint8)
    cv2.arrowedLine(tile, at(0, 0), at(0.12 * size / scale, 0), _INK, 1, cv2.LINE_AA, tipLength=0.25)
    cv2.arrowedLine(tile, at(0, 0), at(0, 0.12 * size / scale), _INK, 1, cv2.LINE_AA, tipLength=0.25)
    for index, name, _, pose in seen:
        spot = at(*pose[:2, 3])
        cv2.circle(tile, spot, 4, _COLORS[index % len(_COLORS)], -1, cv2.LINE_AA)
        text = f"{name} {pose[2, 3]:.2f} m up"
        width = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, _LETTERS, 1)[0][0]
        left = spot[0] - width - 8 if spot[0] < _TILE_WIDTH / 2 else spot[0] + 8
        _write(tile, text, (int(np.clip(left, 2, _TILE_WIDTH - width - 2)), spot[1] - 6))
    meter = round(scale)
    cv2.line(tile, (10, height - 12), (10 + meter, height - 12), _INK, 1, cv2.LINE_AA)
    _write(tile, "1 m", (14, height - 16))
    _write(tile, "from above: x up, y left", (8, 18))
    return tile


def _sector(camera: CameraModel, pose: npt.NDArray[np.float64], radius: float) -> npt.NDArray[np.float64]:
    """Return points (n, 2) around a camera where its image's middle row ends, in the base frame."""
    u = np.linspace(0.0, camera.width - 1.0, 181)
    rays, valid = camera.unproject(np.column_stack([u, np.full_like(u, camera.cy)]))
    angle = np.arctan2(rays[valid, 0], rays[valid, 2])
    # About the body's own upright axis: a camera that looks down sees as far around as one that does not.
    body = (pose @ np.linalg.inv(BODY_FROM_OPTICAL))[:3, :3]
    yaw = math.atan2(body[1, 0], body[0, 0])
    way = yaw - angle
    points: npt.NDArray[np.float64] = pose[:2, 3] + radius * np.column_stack([np.cos(way), np.sin(way)])
    return points


def _label_ring(tile: Picture, camera: CameraModel, degrees: int) -> None:
    """Write an angle where its ring crosses the row, or else the column, of the principal point."""
    angle = math.radians(degrees)
    for way in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        ray = np.array([math.sin(angle) * way[0], math.sin(angle) * way[1], math.cos(angle)])
        pixel, valid = camera.project(ray)
        if valid and camera.in_image(pixel) and 20 < pixel[0] < camera.width - 24:
            _write(tile, str(degrees), (round(pixel[0]) - 18, round(pixel[1]) - 4))
            return


def _write(tile: Picture, text: str, at: tuple[int, int]) -> None:
    cv2.putText(tile, text, at, cv2.FONT_HERSHEY_SIMPLEX, _LETTERS, _INK, 1, cv2.LINE_AA)
