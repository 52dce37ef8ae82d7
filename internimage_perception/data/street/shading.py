"""Colour of ray hits: patterns and noise fade with distance instead of flickering; sun, sky and haze."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.street.materials import COLUMNS
from internimage_perception.data.street.noise import SIDE
from internimage_perception.data.street.street import Moment

Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

_SHADOW_OFFSET_M = 0.01
_FAR_M = np.float32(1e30)


@dataclass(frozen=True, eq=False)
class Hits:
    """First hits of rays.

    Attributes:
        triangle: index, -1 where the ray meets nothing, int32 (n,).
        distance: along the ray, metres, infinite without a hit, float32 (n,).
        weights: barycentric coordinates of the second and third corner, float32 (n, 2).
    """

    triangle: Ints
    distance: Singles
    weights: Singles


def cast(moment: Moment, origin: Singles, rays: Singles) -> Hits:
    """Return the first hits of `rays` (n, 3) from one point (3,), in `base_link`."""
    starts = np.ascontiguousarray(np.broadcast_to(origin, rays.shape))
    found = moment.caster.run(starts, np.ascontiguousarray(rays), query="INTERSECT", output=True)
    triangle: Ints = found["primID"]
    distance = np.where(triangle >= 0, found["tfar"], np.float32(np.inf))
    return Hits(triangle, distance, np.stack([found["u"], found["v"]], axis=-1))


def occluded(
    moment: Moment, starts: Singles, rays: Singles, reach: Singles | None = None
) -> npt.NDArray[np.bool_]:
    """Return which rays (n, 3) meet anything, within `reach` metres if given."""
    if not len(rays):
        return np.zeros(0, np.bool_)
    dists = np.full(len(rays), _FAR_M, np.float32) if reach is None else np.ascontiguousarray(reach)
    found = moment.caster.run(
        np.ascontiguousarray(starts), np.ascontiguousarray(rays), dists=dists, query="OCCLUDED"
    )
    return np.asarray(found) >= 0


def sky(moment: Moment, rays: Singles) -> Singles:
    """Return the colour of the sky in directions (n, 3) of `base_link`, linear (n, 3)."""
    look = moment.appearance
    rise = np.sqrt(np.clip(rays[:, 2], 0.0, 1.0))[:, None]
    color = look.horizon + (look.zenith - look.horizon) * rise
    if look.clouds > 0.0:
        reach = np.float32(1.0) / np.maximum(rays[:, 2] + np.float32(0.12), np.float32(0.03))
        noise = _noise(
            moment.textures,
            rays[:, 0] * reach * look.cloud_scale,
            rays[:, 1] * reach * look.cloud_scale,
            np.zeros(len(rays), np.float32),
        )
        cover = np.clip(noise[:, 1:] * 0.5 + 0.2, -0.3, 1.0) * np.float32(look.clouds)
        color += cover * (look.horizon * 1.1 - color * 0.3) * np.clip(rays[:, 2:] * 4.0, 0.0, 1.0)
    if look.glow > 0.0:
        toward = np.maximum(np.einsum("ij,j->i", rays, moment.sun), 0.0)
        color += look.sun_light * (np.float32(look.glow) * (toward**8 * 0.15 + toward**400 * 4.0))[:, None]
    return np.maximum(color, 0.0).astype(np.float32)


def surface(moment: Moment, origin: Singles, rays: Singles, hits: Hits, angle: Singles) -> Singles:
    """Return the light that comes back along rays that hit something, linear (n, 3).

    Args:
        moment: the scene.
        origin: of the rays.
        rays: (n, 3).
        hits: of these rays, all on something.
        angle: between neighbouring pixels, radians, (n,).
    """
    look, scene = moment.appearance, moment.scene
    normal = moment.normals[hits.triangle]
    facing = np.einsum("ij,ij->i", normal, rays)
    normal *= -np.sign(facing)[:, None]
    facing = np.abs(facing)
    foot = hits.distance * angle / np.sqrt(np.maximum(facing, np.float32(0.02)))
    part = scene.part[hits.triangle]
    rows = scene.materials[part]
    albedo = _albedo(moment, rows, _surface_coordinates(moment, hits), foot)
    lit = np.maximum(np.einsum("ij,j->i", normal, moment.sun), 0.0)
    point = origin + rays * hits.distance[:, None]
    towards = np.flatnonzero(lit > 0.0)
    if towards.size and float(look.sun_light.max()) > 0.0:
        starts = point[towards] + normal[towards] * (
            _SHADOW_OFFSET_M + np.float32(5e-4) * hits.distance[towards, None]
        )
        shaded = occluded(moment, starts, np.broadcast_to(moment.sun, starts.shape))
        lit[towards[shaded]] = 0.0
    ambient = np.float32(0.62) + np.float32(0.38) * normal[:, 2]
    light = lit[:, None] * look.sun_light + ambient[:, None] * look.sky_light
    color = albedo * light
    glow = rows[:, COLUMNS["glow"]]
    shining = np.flatnonzero(glow > 0.0)
    color[shining] += albedo[shining] * glow[shining, None]
    glossy = np.flatnonzero(rows[:, COLUMNS["gloss"]] > 0.0)
    if glossy.size:
        incident, across = rays[glossy], normal[glossy]
        mirrored = incident + 2.0 * facing[glossy, None] * across
        share = rows[glossy, COLUMNS["gloss"]] * (0.35 + 0.65 * (1.0 - facing[glossy]) ** 3)
        open_sky = np.clip(mirrored[:, 2:] * 4.0 + 0.3, 0.15, 1.0)
        color[glossy] += share[:, None] * (sky(moment, mirrored) * open_sky - color[glossy])
    clear = np.exp(-hits.distance / np.float32(look.haze_m))[:, None]
    return np.asarray(color * clear + look.horizon * (1.0 - clear), np.float32)


def _surface_coordinates(moment: Moment, hits: Hits) -> Singles:
    uv = moment.scene.uv[hits.triangle]
    second, third = hits.weights[:, :1], hits.weights[:, 1:]
    at: Singles = uv[:, 0] * (1.0 - second - third) + uv[:, 1] * second + uv[:, 2] * third
    return at


def _albedo(moment: Moment, rows: Singles, uv: Singles, foot: Singles) -> Singles:
    color = rows[:, :3].copy()
    patterned = np.flatnonzero(rows[:, COLUMNS["high_u"]] > rows[:, COLUMNS["low_u"]])
    if patterned.size:
        share = _pattern(rows[patterned], uv[patterned], foot[patterned])[:, None]
        color[patterned] += share * (rows[patterned, 3:6] - color[patterned])
    grain, layer = rows[:, COLUMNS["grain"]], rows[:, COLUMNS["layer"]]
    u, v = uv[:, 0] * grain, uv[:, 1] * grain
    fine = _noise(moment.textures, u, v, layer)
    coarse = _noise(moment.textures, u * np.float32(0.09) + 0.37, v * np.float32(0.09) + 0.71, layer)
    # Texels that shrink below a pixel average out: the finest of them are 1 / (grain * SIDE) metres.
    kept = np.float32(1.0) / (1.0 + (foot * grain * np.float32(SIDE / 6.0)) ** 2)
    bright = fine[:, 0] * rows[:, COLUMNS["grain_amount"]] * kept
    bright += coarse[:, 0] * rows[:, COLUMNS["blotch_amount"]]
    color *= np.exp(bright)[:, None]
    hue = coarse[:, 1] * rows[:, COLUMNS["tint_amount"]]
    color[:, 0] *= 1.0 + hue
    color[:, 2] *= 1.0 - hue
    return np.clip(color, 0.0, 1.2)


def _pattern(rows: Singles, uv: Singles, foot: Singles) -> Singles:
    """Return how much of each footprint lies in the pattern's rectangles, 0 to 1."""
    period_u, period_v = rows[:, COLUMNS["period_u"]], rows[:, COLUMNS["period_v"]]
    v = uv[:, 1] / period_v
    u = uv[:, 0] / period_u + np.floor(v) * rows[:, COLUMNS["shift"]]
    across = _coverage(u, rows[:, COLUMNS["low_u"]], rows[:, COLUMNS["high_u"]], foot / period_u)
    return across * _coverage(v, rows[:, COLUMNS["low_v"]], rows[:, COLUMNS["high_v"]], foot / period_v)


def _coverage(x: Singles, low: Singles, high: Singles, foot: Singles) -> Singles:
    position = x - np.floor(x)
    sharp = np.clip(np.minimum(position - low, high - position) / np.maximum(foot, 1e-6) + 0.5, 0.0, 1.0)
    mean = np.clip(high, 0.0, 1.0) - np.clip(low, 0.0, 1.0)
    blend = np.clip(2.0 * foot - 0.6, 0.0, 1.0)
    return np.asarray(sharp + blend * (mean - sharp), np.float32)


def _noise(textures: Singles, u: Singles, v: Singles, layer: Singles) -> Singles:
    """Return both channels of the noise at (u, v) in repetitions, float32 (n, 2)."""
    if not (count := len(u)):
        return np.zeros((0, 2), np.float32)
    # OpenCV wants maps whose sides stay below 32768.
    columns = 1024
    rows = -(-count // columns)
    x, y = np.zeros((2, rows * columns), np.float32)
    x[:count] = (u - np.floor(u)) * SIDE
    y[:count] = (v - np.floor(v)) * SIDE + layer * (SIDE + 1)
    found = cv2.remap(textures, x.reshape(rows, columns), y.reshape(rows, columns), cv2.INTER_LINEAR)
    return np.asarray(found, np.float32).reshape(-1, 2)[:count]
