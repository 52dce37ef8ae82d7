"""Render a moment of the street through a lens: picture, and exact labels of the centre rays."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from internimage_perception.data.street.appearance import Appearance
from internimage_perception.data.street.classes import IGNORED, StreetClass
from internimage_perception.data.street.lens_rays import LensRays, lens_rays
from internimage_perception.data.street.shading import Hits, cast, sky, surface
from internimage_perception.data.street.street import Moment
from internimage_perception.geometry import CameraModel

Bytes = npt.NDArray[np.uint8]
Singles = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

_TONES = 4096
_BRIGHTEST = 2.0
# A glint brighter than this would leave jagged edges in the average of a pixel's samples.
_GLINT = 8.0


@dataclass(frozen=True, eq=False)
class RenderedFrame:
    """What a camera sees, and what it is.

    Attributes:
        image: uint8 RGB (height, width, 3); black outside the lens.
        class_ids: uint8 (height, width), of the pixel's centre ray; 255 outside the lens and on bicycles.
        instance_ids: int32 (height, width); 0 for none.
        depth: metres along the centre ray, float32 (height, width); infinite in the sky, NaN outside.
    """

    image: Bytes
    class_ids: Bytes
    instance_ids: npt.NDArray[np.int32]
    depth: Singles


def render(
    moment: Moment, camera: CameraModel, base_from_camera: Floats, *, samples: int = 4,
    adaptive: bool = False, rng: np.random.Generator | None = None,
) -> RenderedFrame:  # fmt: skip
    """Return what a camera sees of a moment.

    Args:
        moment: of `Street.at`.
        camera: any model; fields of view beyond 180 degrees included.
        base_from_camera: 4x4 pose of the optical frame in `base_link`.
        samples: rays per pixel, 1 or 4; one more ray per shaded point goes to the sun.
        adaptive: casts further samples only where neighbouring pixels show different surfaces: three times
            faster, and what is thinner than a pixel flickers.
        rng: of the sensor's noise; None leaves noise and compression out.

    Raises:
        ValueError: another number of samples.
    """
    lens = lens_rays(camera, samples)
    origin = base_from_camera[:3, 3].astype(np.float32)
    shape = (camera.height, camera.width)
    centre, *others = lens.turned(base_from_camera)
    hits = cast(moment, origin, centre)
    light = _shade(moment, origin, centre, hits, lens.angle)
    if samples > 1:
        keys = _surface_keys(moment)
        chosen = np.arange(len(lens.pixels))
        if adaptive:
            chosen = _borders(keys[hits.triangle], lens, shape)
            others = [sample[chosen] for sample in others]
        _smooth(moment, origin, light, hits, chosen, others, lens, keys)
    image = _develop(light, lens, shape, moment.appearance, rng)
    return _labelled(moment, image, hits, lens, shape)


def _smooth(
    moment: Moment, origin: Singles, light: Singles, hits: Hits, chosen: npt.NDArray[np.intp],
    rays: list[Singles], lens: LensRays, keys: npt.NDArray[np.int32],
) -> None:  # fmt: skip
    """Average further samples into `light` where a pixel shows several surfaces; others are shaded once."""
    own = keys[hits.triangle[chosen]]
    further = [cast(moment, origin, sample) for sample in rays]
    mixed = np.zeros(len(chosen), np.bool_)
    for hit in further:
        mixed |= keys[hit.triangle] != own
    edge = np.flatnonzero(mixed)
    if not edge.size:
        return
    where = chosen[edge]
    total = np.minimum(light[where], _GLINT)
    for sample, hit in zip(rays, further, strict=True):
        picked = Hits(hit.triangle[edge], hit.distance[edge], hit.weights[edge])
        total += np.minimum(_shade(moment, origin, sample[edge], picked, lens.angle[where]), _GLINT)
    light[where] = total / (1 + len(rays))


def _borders(found: npt.NDArray[np.int32], lens: LensRays, shape: tuple[int, int]) -> npt.NDArray[np.intp]:
    """Return which of the lens's pixels have a neighbour with another surface."""
    grid = np.full(shape[0] * shape[1], -2, np.int32)
    grid[lens.pixels] = found
    grid = grid.reshape(shape)
    border = np.zeros(shape, np.bool_)
    across, down = grid[:, 1:] != grid[:, :-1], grid[1:] != grid[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    return np.flatnonzero(border.ravel()[lens.pixels])


def _surface_keys(moment: Moment) -> npt.NDArray[np.int32]:
    """Return a number per triangle, equal for those of one part that face roughly the same way; last: sky."""
    facing = np.rint(moment.normals * 1.5).astype(np.int32) + 2
    key = ((moment.scene.part * 5 + facing[:, 0]) * 5 + facing[:, 1]) * 5 + facing[:, 2]
    return np.append(key, np.int32(-1))


def _shade(moment: Moment, origin: Singles, rays: Singles, hits: Hits, angle: Singles) -> Singles:
    light = np.empty((len(rays), 3), np.float32)
    on = np.flatnonzero(hits.triangle >= 0)
    off = np.flatnonzero(hits.triangle < 0)
    light[off] = sky(moment, rays[off])
    solid = Hits(hits.triangle[on], hits.distance[on], hits.weights[on])
    light[on] = surface(moment, origin, rays[on], solid, angle[on])
    return light


def _develop(
    light: Singles, lens: LensRays, shape: tuple[int, int], look: Appearance, rng: np.random.Generator | None
) -> Bytes:
    """Return the picture that the camera makes of the light."""
    fall = np.float32(1.0) - np.float32(look.vignette) * lens.eccentricity**2 * lens.eccentricity
    exposed = light * fall[:, None] * look.gain
    curve = (np.linspace(0.0, _BRIGHTEST, _TONES) ** look.gamma) * 255.0
    # The shoulder keeps highlights from clipping all at once.
    curve = np.where(curve > 200.0, 200.0 + 55.0 * np.tanh((curve - 200.0) / 70.0), curve).astype(np.float32)
    tone = np.clip(exposed * np.float32((_TONES - 1) / _BRIGHTEST), 0, _TONES - 1).astype(np.int16)
    flat = np.zeros((shape[0] * shape[1], 3), np.float32)
    flat[lens.pixels] = curve[tone]
    picture: Singles = flat.reshape(*shape, 3)
    if look.blur_px > 0.15:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), look.blur_px), np.float32)
    if rng is not None and look.noise > 0.0:
        picture += (
            rng.standard_normal(picture.shape, np.float32) * np.float32(look.noise) * (0.5 + picture / 255.0)
        )
    image: Bytes = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    if rng is not None and look.quality:
        coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, look.quality])[1]
        image = np.ascontiguousarray(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])
    inside = np.zeros(shape[0] * shape[1], np.bool_)
    inside[lens.pixels] = True
    image[~inside.reshape(shape)] = 0
    return image


def _labelled(
    moment: Moment, image: Bytes, hits: Hits, lens: LensRays, shape: tuple[int, int]
) -> RenderedFrame:
    scene = moment.scene
    # Index -1 of a ray that meets nothing reads the entry appended last.
    part = np.append(scene.part, np.int32(len(scene.class_ids)))[hits.triangle]
    size = shape[0] * shape[1]
    classes = np.full(size, IGNORED, np.uint8)
    classes[lens.pixels] = np.append(scene.class_ids, np.uint8(StreetClass.SKY))[part]
    instances = np.zeros(size, np.int32)
    instances[lens.pixels] = np.append(scene.instance_ids, np.int32(0))[part]
    depth = np.full(size, np.nan, np.float32)
    depth[lens.pixels] = hits.distance
    return RenderedFrame(image, classes.reshape(shape), instances.reshape(shape), depth.reshape(shape))
