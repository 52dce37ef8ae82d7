"""Learning rates over time, as in mmcv's hooks: a schedule per step, with a linear warm-up on top."""

import math

from internimage_perception.training.config import ScheduleConfig


def learning_rate_factor(config: ScheduleConfig, step: int, steps: int) -> float:
    """Return the share of the learning rate for a step.

    In the warm-up the schedule's own rate of that step is what rises: mmcv's rule, by which the rate is
    nowhere above the schedule. A warm-up longer than the run is cut to it.

    Args:
        config: the schedule.
        step: steps done before, from 0; at `steps` and later the schedule is at its end.
        steps: of the whole run, at least 1.
    """
    progress = min(max(step / steps, 0.0), 1.0)
    factor = config.lowest + (1.0 - config.lowest) * _remaining(config, progress)
    warm_up = min(config.warm_up, steps)
    if step < warm_up:
        factor *= 1.0 - (1.0 - step / warm_up) * (1.0 - config.warm_up_from)
    return factor


def _remaining(config: ScheduleConfig, progress: float) -> float:
    """Return how much of the way from the highest rate to the lowest is left, from 1 to 0."""
    if config.kind == "poly":
        return float((1.0 - progress) ** config.power)
    if config.kind == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    return 1.0
