"""Radial profiles: roots, folds and the inverse."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from internimage_perception.geometry.radial import RadialCurve, fold_limit, positive_roots


@settings(max_examples=200)
@given(st.lists(st.floats(0.05, 9.0), min_size=1, max_size=5, unique_by=lambda root: round(root, 1)))
def test_positive_roots_finds_what_the_polynomial_was_made_of(roots: list[float]) -> None:
    coefficients = np.polynomial.polynomial.polyfromroots([*roots, -1.0, 20.0])
    np.testing.assert_allclose(positive_roots(coefficients.tolist(), 10.0), sorted(roots), rtol=1e-5)


def test_positive_roots_without_any() -> None:
    assert positive_roots([1.0], 10.0) == []
    assert positive_roots([1.0, 0.0, 1.0], 10.0) == []
    assert positive_roots([1.0, -1e-3], 10.0) == []
    assert positive_roots([0.0, 0.0], 10.0) == []


def test_fold_limit_of_known_polynomials() -> None:
    # s - s^3 / 3 rises up to s = 1.
    assert fold_limit((1.0, -1.0 / 3.0), (1.0,), 3.0) == pytest.approx(1.0, abs=1e-12)
    assert fold_limit((1.0, 1.0), (1.0,), 3.0) == 3.0
    # s / (1 + s^2) rises up to s = 1; s / (1 - s^2) up to its pole there.
    assert fold_limit((1.0,), (1.0, 1.0), 3.0) == pytest.approx(1.0, abs=1e-12)
    assert fold_limit((1.0,), (1.0, -1.0), 3.0) == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize("tangent_knots", [False, True])
def test_inverse_at_and_beyond_the_ends(tangent_knots: bool) -> None:
    curve = RadialCurve((1.0, -1.0 / 3.0), (1.0,), 1.0, tangent_knots=tangent_knots)
    assert curve.end_value == pytest.approx(2.0 / 3.0, abs=1e-15)
    values = np.array([0.0, -1.0, 2.0 / 3.0, 5.0, np.nan, 1e-300])
    result = curve.inverse(values)
    np.testing.assert_allclose(result[:4], (0.0, 0.0, 1.0, 1.0), atol=1e-12)
    assert math.isnan(result[4])
    assert result[5] == pytest.approx(1e-300)


def test_inverse_converges_next_to_a_fold_and_at_an_inflection() -> None:
    # The slope (1 - s^2)^2 of s - 2/3 s^3 + s^5/5 touches zero at s = 1 without changing sign.
    for curve in (
        RadialCurve((1.0, -1.0 / 3.0), (1.0,), 1.0),
        RadialCurve((1.0, -2.0 / 3.0, 0.2), (1.0,), 1.5),
    ):
        s = np.concatenate((np.linspace(0.0, curve.limit, 501), 1.0 - 10.0 ** -np.arange(1.0, 17.0)))
        values = curve.value(s)
        np.testing.assert_allclose(curve.value(curve.inverse(values)), values, rtol=0, atol=1e-15)


@settings(max_examples=200, deadline=None)
@given(
    odd=st.booleans(),
    numerator=st.lists(st.floats(-2.0, 2.0), max_size=4),
    denominator=st.lists(st.floats(-1.0, 2.0), max_size=3),
    end=st.floats(1e-3, 3.2),
)
def test_inverse_of_any_curve(
    odd: bool, numerator: list[float], denominator: list[float], end: float
) -> None:
    """Values come back to rounding everywhere, s itself wherever the curve is not flat."""
    n, d = (1.0, *numerator), (1.0, *denominator)
    limit = fold_limit(n, d, end, odd=odd)
    curve = RadialCurve(n, d, limit, odd=odd)
    s = limit * np.concatenate((np.linspace(0.0, 1.0, 999), 10.0 ** -np.arange(1.0, 300.0, 20.0)))
    values = curve.value(s)
    back = curve.inverse(values)
    assert (back >= 0.0).all() and (back <= limit).all()
    np.testing.assert_allclose(curve.value(back), values, rtol=1e-14, atol=1e-15 * curve.end_value)
    steep = curve.slope(s * s if odd else s) > 0.1 * values / s.clip(1e-290)
    np.testing.assert_allclose(back[steep], s[steep], rtol=2e-14)


@pytest.mark.parametrize("numerator", [(1.0,), (1.0, 0.5), (1.0, 0.0, 1.0), (1.0, 0.1, 0.0, 2.0)])
def test_inverse_far_out(numerator: tuple[float, ...]) -> None:
    """Tangents of angles up to 90 degrees: values reach 1e56."""
    curve = RadialCurve(numerator, (1.0,), 1e8, tangent_knots=True)
    s = np.concatenate((10.0 ** np.linspace(-300.0, 8.0, 2000), np.linspace(0.0, 40.0, 1000)))
    np.testing.assert_allclose(curve.inverse(curve.value(s)), s, rtol=1e-13)
