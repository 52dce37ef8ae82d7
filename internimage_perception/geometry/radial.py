"""Radial profiles of lenses: where they fold back, and their inverse to machine precision."""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_KNOTS = 2049
_STARTS = 4096
_EPSILON = float(np.finfo(np.float64).eps)


class RadialCurve:
    """The function f(s) = s N(t) / D(t), t = s^2, on [0, limit], where it rises, and its inverse.

    Kannala-Brandt lenses use it with s = theta, pinhole lenses with s = tan(theta); WoodScape's, which have
    even powers of theta too, with t = s. The caller chooses `limit` at or before the first fold, see
    `fold_limit`.

    Args:
        numerator: coefficients of N in ascending powers of t.
        denominator: coefficients of D in ascending powers of t.
        limit: end of the interval, finite.
        tangent_knots: space the inverse's lookup by angle, s = tan(angle), so that it reaches far out.
        odd: t is s^2; else s.
    """

    def __init__(
        self,
        numerator: tuple[float, ...],
        denominator: tuple[float, ...],
        limit: float,
        *,
        tangent_knots: bool = False,
        odd: bool = True,
    ) -> None:
        self.limit = limit
        self._odd = odd
        self._far = tangent_knots
        self._numerator = _trimmed(numerator)
        self._denominator = _trimmed(denominator)
        self._slope_numerator = _trimmed(slope_numerator(numerator, denominator, odd=odd))
        self._knots = np.linspace(0.0, np.arctan(limit) if tangent_knots else limit, _KNOTS)
        if tangent_knots:
            np.tan(self._knots, out=self._knots)
        self._knots[-1] = limit
        # A slope of almost zero lets rounding disorder neighbours; the lookup needs them ascending.
        self._values = np.maximum.accumulate(self.value(self._knots))
        self.end_value = float(self._values[-1])

    @cached_property
    def _starts(self) -> tuple[Floats, Floats]:
        """Where `inverse` starts for values at equal steps of `_place`, and the differences to the next."""
        place = np.square(1.0 - np.linspace(0.0, 1.0, _STARTS + 1))
        if self._far:
            end = 1.0 / (1.0 + self.end_value)
            values = 1.0 / (end + (1.0 - end) * place) - 1.0
        else:
            values = self.end_value * (1.0 - place)
        starts = np.interp(values, self._values, self._knots)
        return starts[:-1], np.diff(starts)

    def _place(self, values: Floats) -> Floats:
        """Return 0 to 1 for 0 to `end_value`, such that s grows almost evenly with it, even at a fold."""
        if self._far:
            end = 1.0 / (1.0 + self.end_value)
            place = 1.0 / (1.0 + values)
            place -= end
            place /= 1.0 - end
        else:
            place = (self.end_value - values) / self.end_value
        np.sqrt(place, out=place)
        return np.subtract(1.0, place, out=place)

    def _guess(self, values: Floats) -> Floats:
        """Return s near the solution of f(s) = values; a table without a search."""
        starts, steps = self._starts
        guess = self._place(values)
        guess *= _STARTS
        # NaN has no whole number; any will do, for the solution stays NaN.
        index = np.fmax(guess, 0.0).astype(np.intp)
        np.minimum(index, _STARTS - 1, out=index)
        guess -= index
        guess *= steps[index]
        guess += starts[index]
        return guess

    def ratio(self, t: Floats) -> Floats:
        """Return f(s) / s."""
        result = _horner(self._numerator, t)
        if len(self._denominator) > 1:
            result /= _horner(self._denominator, t)
        return result

    def value(self, s: Floats) -> Floats:
        """Return f(s)."""
        result = self.ratio(s * s if self._odd else s)
        result *= s
        return result

    def slope(self, t: Floats) -> Floats:
        """Return df/ds."""
        result = _horner(self._slope_numerator, t)
        if len(self._denominator) > 1:
            result /= np.square(_horner(self._denominator, t))
        return result

    def inverse(self, values: Floats) -> Floats:
        """Return s with f(s) = values, one-dimensional, for values in [0, end_value]; others are clipped.

        Newton's method from a table. Where two steps do not settle (next to a fold), bisection between
        neighbouring knots takes over, so that every value converges. NaN stays NaN.
        """
        values = np.minimum(np.maximum(values, 0.0), self.end_value)
        if self._numerator == self._denominator == (1.0,):
            return values
        result = self._guess(values)
        with np.errstate(divide="ignore", invalid="ignore"):
            self._newton(result, values)
            step = self._newton(result, values)
            # The error left after a Newton step is of the order of the step squared.
            settled = np.abs(step) <= 1e-9 * result
            settled &= result <= self.limit
        rest = np.flatnonzero(~settled & (values > 0.0) & (values < self.end_value))
        if rest.size:
            upper = np.searchsorted(self._values, values[rest]).clip(1, _KNOTS - 1)
            result[rest] = self._bracketed(values[rest], self._knots[upper - 1], self._knots[upper])
        result[values == self.end_value] = self.limit
        return result

    def _newton(self, s: Floats, values: Floats) -> Floats:
        """Improve `s` in place by one Newton step and return the step."""
        t = s * s if self._odd else s
        step = self.ratio(t)
        step *= s
        step -= values
        step /= self.slope(t)
        s -= step
        return step

    def _bracketed(self, values: Floats, low: Floats, high: Floats) -> Floats:
        """Solve f(s) = values inside [low, high]: Newton's method that falls back to halving the bracket."""
        s = 0.5 * (low + high)
        # 80 halvings end at neighbouring numbers even when every Newton step is refused.
        for _ in range(80):
            error = self.value(s) - values
            low = np.where(error < 0.0, s, low)
            high = np.where(error > 0.0, s, high)
            with np.errstate(divide="ignore", invalid="ignore"):
                trial = s - error / self.slope(s * s if self._odd else s)
            improved = np.where((trial > low) & (trial < high), trial, 0.5 * (low + high))
            improved = np.where(error == 0.0, s, improved)
            step = np.abs(improved - s)
            s = improved
            if not np.any(step > _EPSILON * s):
                break
        return s


@lru_cache(maxsize=64)
def radial_curve(
    numerator: tuple[float, ...],
    denominator: tuple[float, ...],
    limit: float,
    *,
    tangent_knots: bool = False,
    odd: bool = True,
) -> RadialCurve:
    """Return a shared `RadialCurve`: resized and cropped copies of a camera need the same one."""
    return RadialCurve(numerator, denominator, limit, tangent_knots=tangent_knots, odd=odd)


@lru_cache(maxsize=256)
def fold_limit(
    numerator: tuple[float, ...], denominator: tuple[float, ...], end: float, *, odd: bool = True
) -> float:
    """Return the largest s <= `end` such that a `RadialCurve` rises on [0, s] without a pole."""
    power = 2 if odd else 1
    roots = positive_roots(slope_numerator(numerator, denominator, odd=odd), end**power)
    poles = positive_roots(denominator, end**power)
    limit = min(roots[0] ** (1 / power) if roots else end, end)
    # The profile runs to infinity at a pole: stop just before it.
    return min(limit, poles[0] ** (1 / power) * (1.0 - 1e-9)) if poles else limit


def slope_numerator(
    numerator: Sequence[float], denominator: Sequence[float], *, odd: bool = True
) -> tuple[float, ...]:
    """Return the polynomial P in t with df/ds = P(t) / D(t)^2: P = N D + p t (N' D - N D') for t = s^p."""
    n, d = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    # t * derivative keeps the length: coefficient i is multiplied by i.
    weighted_n, weighted_d = n * np.arange(n.size), d * np.arange(d.size)
    power = 2.0 if odd else 1.0
    product = np.convolve(n, d) + power * (np.convolve(weighted_n, d) - np.convolve(n, weighted_d))
    return tuple(product.tolist())


def positive_roots(coefficients: Sequence[float], end: float) -> list[float]:
    """Return the real roots in (0, end] of a polynomial (ascending powers), in ascending order.

    The extrema, found in the same way from the derivative, separate the roots; bisection finds each. A root
    is returned as the last number before the sign changes. Roots that touch zero without crossing it are
    found where rounding lets them touch.
    """
    coefficients = _trimmed(coefficients)
    if len(coefficients) < 2:
        return []
    derivative = [power * value for power, value in enumerate(coefficients)][1:]
    bounds = [0.0, *positive_roots(derivative, end), end]
    roots = []
    for low, high in pairwise(bounds):
        sign_low, value_high = _scalar_horner(coefficients, low) > 0.0, _scalar_horner(coefficients, high)
        if value_high == 0.0 or sign_low == (value_high > 0.0):
            if value_high == 0.0 and high > low:
                roots.append(high)
            continue
        start, stop = low, high
        while start < (middle := 0.5 * (start + stop)) < stop:
            if (_scalar_horner(coefficients, middle) > 0.0) == sign_low:
                start = middle
            else:
                stop = middle
        roots.append(start)
    return [root for root in roots if root > 0.0]


def _scalar_horner(coefficients: Sequence[float], at: float) -> float:
    result = 0.0
    for value in reversed(coefficients):
        result = result * at + value
    return result


def _horner(coefficients: Sequence[float], at: Floats) -> Floats:
    result = np.full_like(at, coefficients[-1])
    for value in reversed(coefficients[:-1]):
        result *= at
        result += value
    return result


def _trimmed(coefficients: Sequence[float]) -> tuple[float, ...]:
    """Drop highest powers that are exactly zero, keeping the constant."""
    count = len(coefficients)
    while count > 1 and coefficients[count - 1] == 0.0:
        count -= 1
    return tuple(coefficients[:count])
