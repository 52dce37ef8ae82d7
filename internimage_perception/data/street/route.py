"""The course of a street: an endless winding centre line over gently rolling ground."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_STEP_M = 1.0
_SMALLEST_RADIUS_M = 55.0


class Route:
    """Centre line and elevation in the street frame: x, y horizontal, z up, metres.

    Args:
        rng: draws bends and hills.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._lengths = rng.uniform(140.0, 420.0, 3)
        self._phases = rng.uniform(0.0, 2 * np.pi, 3)
        turns = rng.uniform(0.0, 1.0, 3) * (0.0 if rng.random() < 0.2 else 1.0)
        sharpest = float((turns * 2 * np.pi / self._lengths).sum())
        self._turns = turns * min(1.0, 1.0 / (_SMALLEST_RADIUS_M * max(sharpest, 1e-9)))
        heading = rng.uniform(0.0, 2 * np.pi, 3)
        waves = 2 * np.pi / rng.uniform(120.0, 300.0, 3)
        self._waves = np.column_stack([np.cos(heading), np.sin(heading)]) * waves[:, None]
        # The steepest possible slope is 2.5 %.
        self._heights = rng.uniform(0.0, 0.008, 3) / waves
        self._hill_phases = rng.uniform(0.0, 2 * np.pi, 3)
        self._reach = 0.0
        self._table: tuple[Floats, Floats] = (np.zeros(1), np.zeros((1, 2)))

    def heading(self, s: npt.ArrayLike) -> Floats:
        """Return the direction of the centre line at arc length `s`, radians from x."""
        along = np.asarray(s, np.float64)[..., None] * (2 * np.pi / self._lengths)
        result: Floats = (self._turns * np.sin(along + self._phases)).sum(axis=-1)
        return result

    def point(self, s: npt.ArrayLike, t: npt.ArrayLike = 0.0) -> Floats:
        """Return x, y, (..., 2), of the place `t` metres left of the centre line at arc length `s`."""
        along, left = np.broadcast_arrays(np.asarray(s, np.float64), np.asarray(t, np.float64))
        self._extend(float(np.abs(along).max(initial=0.0)))
        lengths, places = self._table
        heading = self.heading(along)
        x = np.interp(along, lengths, places[:, 0]) - left * np.sin(heading)
        y = np.interp(along, lengths, places[:, 1]) + left * np.cos(heading)
        return np.stack([x, y], axis=-1)

    def elevation(self, xy: npt.ArrayLike) -> Floats:
        """Return the height of the carriageway's surface (and of what continues it) at places (..., 2)."""
        phase = np.asarray(xy, np.float64) @ self._waves.T + self._hill_phases
        result: Floats = (self._heights * np.sin(phase)).sum(axis=-1)
        return result

    def pose(self, s: float, t: float, *, reverse: bool = False) -> Floats:
        """Return the 4x4 pose of something that stands on the ground there and faces along the street."""
        yaw = float(self.heading(s)) + (np.pi if reverse else 0.0)
        return self.standing(self.point(s, t), yaw)

    def standing(self, xy: Floats, yaw: float) -> Floats:
        """Return the 4x4 pose of something on the ground at `xy` that faces along `yaw`."""
        phase = np.asarray(xy, np.float64) @ self._waves.T + self._hill_phases
        slope = (self._heights * np.cos(phase)) @ self._waves
        up = np.array([-slope[0], -slope[1], 1.0])
        up /= np.linalg.norm(up)
        forward = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        forward -= up * (forward @ up)
        forward /= np.linalg.norm(forward)
        result = np.eye(4)
        result[:3, :3] = np.column_stack([forward, np.cross(up, forward), up])
        result[:3, 3] = (*xy, float(self.elevation(xy)))
        return result

    def _extend(self, reach: float) -> None:
        """Integrate the centre line as far as needed; longer tables begin with exactly the shorter ones."""
        if reach < self._reach:
            return
        self._reach = max(512.0, 2.0 * reach)
        count = int(self._reach / _STEP_M) + 2
        halves = []
        for sign in (1.0, -1.0):
            heading = self.heading(sign * (np.arange(count) + 0.5) * _STEP_M)
            steps = sign * _STEP_M * np.column_stack([np.cos(heading), np.sin(heading)])
            halves.append(np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)]))
        lengths = np.arange(-count, count + 1) * _STEP_M
        self._table = (lengths.astype(np.float64), np.concatenate([halves[1][:0:-1], halves[0]]))
