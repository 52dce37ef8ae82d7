"""The lens distortion of Brown and Conrady in the form of OpenCV and ROS: radial and tangential terms."""

import math
from functools import lru_cache

import numpy as np

from internimage_perception.geometry.camera import Bools, Floats
from internimage_perception.geometry.radial import RadialCurve, fold_limit, radial_curve

FARTHEST = 1e8
"""Radius that stands for infinity: as tan(theta), the image plane itself, 1e-8 rad from 90 degrees."""

_TOLERANCE = 1e-12
_TINY = float(np.finfo(np.float64).tiny)
_EPSILON = float(np.finfo(np.float64).eps)
# Residuals, relative to 1 + distorted radius: of a solved pixel, and of one not worth another step.
_ROUNDING = 1e-13
_SETTLED = 1e-14


def padded_coefficients(d: tuple[float, ...]) -> tuple[float, ...]:
    """Return 0, 4, 5 or 8 coefficients in ROS order as 5, or as 8 where the last three matter."""
    padded = (*d, *(0.0,) * (8 - len(d)))
    return padded if any(padded[5:]) else padded[:5]


def monotone_limit(d: tuple[float, ...]) -> float:
    """Return the radius within which the distortion is one-to-one, at most `FARTHEST`.

    The Jacobian of the distortion is symmetric; up to there it is positive definite in all directions.
    """
    return _monotone_limit(_numerator(d), _denominator(d), math.hypot(d[2], d[3]))


@lru_cache(maxsize=64)
def brown_conrady(d: tuple[float, ...], limit: float) -> "BrownConrady":
    """Return a shared `BrownConrady`: resized and cropped copies of a camera need the same one."""
    return BrownConrady(d, limit)


class BrownConrady:
    """The distortion of a point (a, b) of the plane at distance 1, and its inverse, within a disc.

    With r^2 = a^2 + b^2 and R = (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6):
    (a R + 2 p1 a b + p2 (r^2 + 2 a^2), b R + p1 (r^2 + 2 b^2) + 2 p2 a b).

    Args:
        d: (k1, k2, p1, p2, k3) or (k1, k2, p1, p2, k3, k4, k5, k6), see `padded_coefficients`.
        limit: radius of the disc; one beyond `monotone_limit` is cut back to it.
    """

    def __init__(self, d: tuple[float, ...], limit: float) -> None:
        self._d = d
        self._tangential = math.hypot(d[2], d[3])
        end = min(limit, monotone_limit(d))
        self._curve: RadialCurve = radial_curve(_numerator(d), _denominator(d), end, tangent_knots=True)
        self.limit = end

    def distort(self, a: Floats, b: Floats) -> tuple[Floats, Floats]:
        """Return the distorted coordinates of points."""
        squared = a * a + b * b
        ratio = self._curve.ratio(squared)
        m_x, m_y = a * ratio, b * ratio
        if self._tangential:
            p1, p2 = self._d[2], self._d[3]
            # Both displacements contain 2 (p1 b + p2 a) times the coordinate.
            tilt = 2.0 * (p1 * b + p2 * a)
            m_x += tilt * a + p2 * squared
            m_y += tilt * b + p1 * squared
        return m_x, m_y

    def reaches(self, m_x: Floats, m_y: Floats) -> Bools:
        """Return the validity that `undistort` gives, as cheaply as possible, for arrays of any shape."""
        radius = np.hypot(m_x, m_y)
        inner, outer = self._edge_radii()
        mask: Bools = radius <= inner
        unsure = (radius <= outer) & ~mask
        if unsure.any():
            mask[unsure] = self.undistort(m_x[unsure], m_y[unsure])[2]
        return mask

    def _edge_radii(self) -> tuple[float, float]:
        """Return the least and the greatest distorted radius of the rim of the disc."""
        end, shift = self._curve.end_value, self._tangential * self.limit**2
        # For a pixel's rounding.
        slack = _TOLERANCE * (1.0 + end)
        if not shift:
            return end + slack, end + slack
        # On the rim the tangential terms add between -3 and +3 shifts along the radius and up to 1 across.
        return end - 3.0 * shift, math.hypot(end + 3.0 * shift, shift) + slack

    def undistort(self, m_x: Floats, m_y: Floats) -> tuple[Floats, Floats, Bools]:
        """Return a, b that `distort` takes to m_x, m_y, and which were found inside the disc."""
        radius = np.hypot(m_x, m_y)
        valid: Bools = radius <= self._edge_radii()[1]
        scale = self._curve.inverse(radius)
        scale /= np.maximum(radius, _TINY)
        a, b = m_x * scale, m_y * scale
        if self._tangential:
            index = np.flatnonzero(valid)
            a[index], b[index], valid[index] = self._refine(a[index], b[index], m_x[index], m_y[index])
        return a, b, valid

    def _refine(self, a: Floats, b: Floats, m_x: Floats, m_y: Floats) -> tuple[Floats, Floats, Bools]:
        """Solve the full distortion by Newton steps from the solution of its radial part.

        Almost all pixels need three of them. The distortion is the gradient of a convex function on the
        valid disc, so that for the others a shortened step always lowers the residual.
        """
        size = 1.0 + np.hypot(m_x, m_y)
        x, y = a.copy(), b.copy()
        for _ in range(3):
            step_x, step_y = self._newton_step(x, y, *self._error(x, y, m_x, m_y))
            x -= step_x
            y -= step_y
        solved: Bools = np.hypot(*self._error(x, y, m_x, m_y)) <= _SETTLED * size
        solved &= np.hypot(x, y) <= self.limit
        rest = np.flatnonzero(~solved)
        if rest.size:
            x[rest], y[rest], solved[rest] = self._damped(a[rest], b[rest], m_x[rest], m_y[rest])
        return x, y, solved

    def _error(self, a: Floats, b: Floats, m_x: Floats, m_y: Floats) -> tuple[Floats, Floats]:
        """Return by how much the distorted point (a, b) misses (m_x, m_y)."""
        error_x, error_y = self.distort(a, b)
        error_x -= m_x
        error_y -= m_y
        return error_x, error_y

    def _damped(self, a: Floats, b: Floats, m_x: Floats, m_y: Floats) -> tuple[Floats, Floats, Bools]:
        """Solve what plain Newton steps did not, by steps that are shortened until they help."""
        # Next to the rim the profile flattens: Newton's method climbs there safely from inside, not along it.
        inside = np.minimum(1.0, 0.999 * self.limit / np.maximum(np.hypot(a, b), _TINY))
        # Rows: a, b, m_x, m_y. Columns leave the work once half of them are solved.
        work, index = np.stack((a * inside, b * inside, m_x, m_y)), np.arange(a.size)
        size = 1.0 + np.hypot(m_x, m_y)
        error = np.stack(self._error(*work))
        residual = np.hypot(*error)
        solved = np.zeros(a.size, np.bool_)
        damping = np.ones_like(a)
        for _ in range(60):
            step = np.stack(self._newton_step(*work[:2], *error))
            step *= damping * np.minimum(1.0, 0.2 * self.limit / np.maximum(np.hypot(*step), _TINY))
            trial = work[:2] - step
            radius = np.hypot(*trial)
            # A lost column (NaN) must not keep the others from being held inside.
            if not radius.max(initial=0.0) <= self.limit:
                trial *= np.minimum(1.0, self.limit / radius)
            trial_error = np.stack(self._error(*trial, *work[2:]))
            trial_residual = np.hypot(*trial_error)
            better = trial_residual < residual
            np.copyto(work[:2], trial, where=better)
            np.copyto(error, trial_error, where=better)
            np.copyto(residual, trial_residual, where=better)
            damping = np.where(better, np.minimum(1.0, 2.0 * damping), 0.5 * damping)
            # What is small and no longer improves has met rounding; what needs ever shorter steps lies
            # outside the rim.
            going = residual > np.where(better, _EPSILON, _ROUNDING) * size
            going &= damping > 1e-5
            count = np.count_nonzero(going)
            if not count:
                break
            if 2 * count <= going.size:
                a[index], b[index], solved[index] = *work[:2], residual <= _ROUNDING * size
                work, error, index = work[:, going], error[:, going], index[going]
                residual, damping, size = residual[going], damping[going], size[going]
        a[index], b[index], solved[index] = *work[:2], residual <= _ROUNDING * size
        return a, b, solved

    def _newton_step(self, a: Floats, b: Floats, m_x: Floats, m_y: Floats) -> tuple[Floats, Floats]:
        """Return the inverse of the distortion's Jacobian at (a, b) times (m_x, m_y)."""
        squared = a * a + b * b
        ratio = self._curve.ratio(squared)
        # 2 dR/d(r^2), from df/dr = R + 2 r^2 dR/d(r^2).
        bend = (self._curve.slope(squared) - ratio) / np.maximum(squared, _TINY)
        p1, p2 = self._d[2], self._d[3]
        xx = ratio + bend * a * a + 2.0 * p1 * b + 6.0 * p2 * a
        xy = bend * a * b + 2.0 * p1 * a + 2.0 * p2 * b
        yy = ratio + bend * b * b + 6.0 * p1 * b + 2.0 * p2 * a
        determinant = xx * yy - xy * xy
        return (yy * m_x - xy * m_y) / determinant, (xx * m_y - xy * m_x) / determinant


def _numerator(d: tuple[float, ...]) -> tuple[float, ...]:
    return (1.0, d[0], d[1], d[4])


def _denominator(d: tuple[float, ...]) -> tuple[float, ...]:
    return (1.0, *d[5:])


@lru_cache(maxsize=256)
def _monotone_limit(numerator: tuple[float, ...], denominator: tuple[float, ...], tangential: float) -> float:
    """Return the largest radius r within which the distortion is one-to-one.

    With f = r R the radial profile, p the length of (p1, p2), q = 2 p r and c the cosine of the angle to the
    direction (p2, p1), the determinant of the Jacobian is f' R + q c (f' + 3 R) + 4 q^2 c^2 - q^2. Its
    minimum over c is positive up to the limit.
    """
    limit = fold_limit(numerator, denominator, FARTHEST)
    if not tangential:
        return limit
    curve = radial_curve(numerator, denominator, limit, tangent_knots=True)

    def least_determinant(r: Floats) -> Floats:
        slope, ratio, q = curve.slope(r * r), curve.ratio(r * r), 2.0 * tangential * r
        with np.errstate(all="ignore"):
            c = np.clip(-(slope + 3.0 * ratio) / (8.0 * q), -1.0, 1.0)
        c = np.where(q > 0.0, c, -1.0)
        least: Floats = slope * ratio + q * c * (slope + 3.0 * ratio) + (4.0 * c * c - 1.0) * q * q
        return least

    samples = np.tan(np.linspace(0.0, math.atan(limit), 8193))
    negative = np.flatnonzero(~(least_determinant(samples) > 0.0))
    if not negative.size:
        return limit
    low, high = float(samples[negative[0] - 1]), float(samples[negative[0]])
    while low < (middle := 0.5 * (low + high)) < high:
        if least_determinant(np.array([middle]))[0] > 0.0:
            low = middle
        else:
            high = middle
    return low
