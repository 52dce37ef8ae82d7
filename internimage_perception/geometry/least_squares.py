"""A small least-squares solver: vehicles carry no SciPy."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

_ROUNDS = 300
_TRIALS = 14


def least_squares(
    residual: Callable[[Vector], Vector], start: Vector, low: Vector, high: Vector
) -> tuple[float, Vector]:
    """Minimise the mean square of `residual` within bounds by Levenberg and Marquardt's method.

    Derivatives are differences; parameters at a bound that the step would cross stay there for the step.

    Args:
        residual: of a vector of parameters; a trial with numbers that are not finite is refused.
        start: first parameters.
        low: least parameters, -inf for none; equal to `high` for those that stay as they are.
        high: greatest parameters.

    Returns:
        The mean square (infinite if the start has none) and the parameters.
    """
    x = np.clip(start, low, high)
    r = residual(x)
    cost = float(np.mean(r**2))
    if not np.isfinite(cost):
        return float("inf"), x
    damping, calm = 1e-3, 0
    for _ in range(_ROUNDS):
        jacobian = _differences(residual, x, r, low, high)
        gradient = jacobian.T @ r
        free = (low < high) & ~((x <= low) & (gradient > 0.0)) & ~((x >= high) & (gradient < 0.0))
        free &= np.isfinite(gradient) & (np.abs(jacobian).max(axis=0) > 0.0)
        if not free.any():
            break
        normal = jacobian[:, free].T @ jacobian[:, free]
        scale = np.diag(np.diag(normal))
        for _ in range(_TRIALS):
            trial = x.copy()
            trial[free] -= np.linalg.solve(normal + damping * scale, gradient[free])
            trial = np.clip(trial, low, high)
            trial_r = residual(trial)
            trial_cost = float(np.mean(trial_r**2))
            if trial_cost < cost:
                break
            damping *= 4.0
        else:
            break
        damping = max(damping / 6.0, 1e-13)
        calm = calm + 1 if cost - trial_cost < 1e-8 * cost else 0
        x, r, cost = trial, trial_r, trial_cost
        if calm == 4:
            break
    return cost, x


def _differences(
    residual: Callable[[Vector], Vector], x: Vector, r: Vector, low: Vector, high: Vector
) -> npt.NDArray[np.float64]:
    """Return the Jacobian (residuals, parameters), by differences taken inside the bounds."""
    jacobian = np.zeros((r.size, x.size))
    for index in np.flatnonzero(low < high):
        step = 1e-6 * max(1.0, abs(float(x[index])))
        if x[index] + step > high[index]:
            step = -step
        moved = x.copy()
        moved[index] += step
        jacobian[:, index] = (residual(moved) - r) / step
    return jacobian
