"""Rays of a lens: the centre of every pixel exactly, further samples within it by differences."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from internimage_perception.geometry import CameraModel

Singles = npt.NDArray[np.float32]

# Sub-pixel offsets (u, v) of one to four samples; the first is always the centre, which the label belongs to.
_OFFSETS = {1: ((0.0, 0.0),), 4: ((0.0, 0.0), (0.32, 0.14), (-0.28, 0.22), (-0.04, -0.36))}


@dataclass(frozen=True, eq=False)
class LensRays:
    """Rays of the pixels that a lens serves.

    Attributes:
        pixels: flat indices of these pixels, int32 (n,).
        rays: per sample, float32 (n, 3), unit vectors in the optical frame.
        angle: between neighbouring pixels' rays, radians, float32 (n,).
        eccentricity: angle off the axis as a share of the lens's largest, float32 (n,).
    """

    pixels: npt.NDArray[np.int32]
    rays: tuple[Singles, ...]
    angle: Singles
    eccentricity: Singles
    _turned: dict[bytes, list[Singles]] = field(default_factory=dict, init=False, repr=False)

    def turned(self, base_from_camera: npt.NDArray[np.float64]) -> list[Singles]:
        """Return the rays of every sample in the base frame; those of the last pose are kept."""
        turn = base_from_camera[:3, :3].astype(np.float32)
        key = turn.tobytes()
        if key not in self._turned:
            self._turned.clear()
            # Not `@`: in products this small, a linear algebra library's threads only wait for each other.
            self._turned[key] = [np.einsum("nj,ij->ni", sample, turn) for sample in self.rays]
        return list(self._turned[key])


@lru_cache(maxsize=16)
def lens_rays(camera: CameraModel, samples: int) -> LensRays:
    """Return the rays of `camera`, 1 or 4 per pixel. Raises ValueError for another number."""
    if samples not in _OFFSETS:
        message = f"samples must be {' or '.join(map(str, _OFFSETS))}, not {samples}"
        raise ValueError(message)
    exact, valid = camera.unproject(camera.pixel_grid())
    exact[~valid] = 0.0
    grid = exact.astype(np.float32)
    along_u, along_v = _difference(grid, valid, 1), _difference(grid, valid, 0)
    pixels = np.flatnonzero(valid).astype(np.int32)
    centre, du, dv = (array.reshape(-1, 3)[pixels] for array in (grid, along_u, along_v))
    rays = []
    for u, v in _OFFSETS[samples]:
        moved = centre + np.float32(u) * du + np.float32(v) * dv
        rays.append(moved / np.linalg.norm(moved, axis=1, keepdims=True))
    lengths = np.linalg.norm(du, axis=1) * np.linalg.norm(dv, axis=1)
    size: Singles = np.sqrt(lengths).astype(np.float32)
    theta = np.arctan2(np.hypot(centre[:, 0], centre[:, 1]), centre[:, 2])
    share = (theta / np.float32(max(float(theta.max(initial=0.0)), 1e-6))).astype(np.float32)
    return LensRays(pixels, tuple(rays), np.maximum(size, np.float32(1e-6)), share)


def _difference(grid: Singles, valid: npt.NDArray[np.bool_], axis: int) -> Singles:
    """Return the change of the ray per pixel along an axis; one-sided at the lens's rim."""
    ahead = np.zeros_like(grid)
    good = np.zeros(valid.shape, np.float32)
    low = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
    high = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
    step = grid[high] - grid[low]
    both = (valid[high] & valid[low]).astype(np.float32)
    step *= both[..., None]
    ahead[low] += step
    ahead[high] += step
    good[low] += both
    good[high] += both
    return np.asarray(ahead / np.maximum(good, np.float32(1.0))[..., None], np.float32)
