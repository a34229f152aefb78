"""Which settings of a run have an effect: not those of another optimiser, schedule or task, or of what is off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Values = Mapping[str, Any]
"""Settings by their dotted keys."""

_OPTIMIZERS = {
    "recipe.optimizer.nesterov": ("sgd",),
    "recipe.optimizer.squared_decay": ("rmsprop", "adamw"),
    "recipe.optimizer.epsilon": ("rmsprop", "adamw"),
}
_SCHEDULES = {
    "recipe.schedule.milestones": ("step",),
    "recipe.schedule.decay": ("step", "exponential"),
    "recipe.schedule.power": ("polynomial",),
}
_SWITCHES = {
    "recipe.schedule.warmup_start": "recipe.schedule.warmup",
    "recipe.augmentation.rand_augment_magnitude": "recipe.augmentation.rand_augment",
    "recipe.stride": "recipe.window",
    "data.held_out_seed": "data.held_out",
}
"""What is nothing without another setting."""
_OF_MASKS = ("recipe.class_weights", "recipe.window", "recipe.stride", "recipe.augmentation.swap_on_flip")
_DISTILLATION = "recipe.distillation."


def is_active(key: str, values: Values, task: str) -> bool:
    """Whether the setting ``key`` changes anything in a run of ``task`` with these values."""
    if key in _OF_MASKS and task != "segmentation":
        return False
    if key.startswith(_DISTILLATION):
        return values.get(f"{_DISTILLATION}teacher") is not None
    if key in _SWITCHES:
        return bool(values.get(_SWITCHES[key]))
    chosen: Callable[[str], Any] = values.get
    if key in _OPTIMIZERS:
        return chosen("recipe.optimizer.name") in _OPTIMIZERS[key]
    return key not in _SCHEDULES or chosen("recipe.schedule.name") in _SCHEDULES[key]
