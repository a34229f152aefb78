"""The learning rate as a pure function of (recipe, step, number of steps)."""

from __future__ import annotations

import math

from vtbench.configuration import Recipe


def learning_rate_at(recipe: Recipe, step: int, num_steps: int) -> float:
    """The learning rate of ``step`` (counted from 0) in a run of ``num_steps``.

    In the warm-up, of W = ``round(warmup * num_steps)`` steps, the rate rises linearly from ``warmup_start`` times the
    peak and reaches the peak at step W; a warm-up from 0 gives its first step 1 / (W + 1) of the peak and not nothing.
    Afterwards, with q running from 0 to 1 over the steps that remain:

    - ``step``: peak * decay ** (number of milestones passed); milestones are parts of the whole run, after
      its first step;
    - ``cosine``: peak * (1 + cos(pi q)) / 2 (Loshchilov and Hutter 2017, equation 5, without restarts);
    - ``exponential``: peak * decay ** q, the smooth form of "times a constant every epoch".
    """
    schedule, peak = recipe.schedule, recipe.optimizer.learning_rate
    warmup_steps = round(schedule.warmup * num_steps)
    if step < warmup_steps:
        rise = (step + 1) / (warmup_steps + 1) if schedule.warmup_start == 0 else step / warmup_steps
        return peak * (schedule.warmup_start + (1 - schedule.warmup_start) * rise)
    if schedule.name == "step":
        passed = sum(step >= max(1, round(milestone * num_steps)) for milestone in schedule.milestones)
        return float(peak * schedule.decay**passed)
    part = (step - warmup_steps) / (num_steps - warmup_steps)
    if schedule.name == "cosine":
        return peak * (1 + math.cos(math.pi * part)) / 2
    return float(peak * schedule.decay**part)
