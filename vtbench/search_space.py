"""What ``[tuning]`` of a study says: which settings are tuned, over which values, and by how many trials of each arm.

.. code-block:: toml

    [tuning]
    budget = 8                      # trials of each arm, alike for all; left out: every point of the grid
    seeds = 2                       # runs of each trial, with seeds of their own, from first_seed on
    epochs = 10                     # of these runs; left out, or with --epochs fewer: as many as the study has
    held_out = 0.2                  # the part of the training split that trials are judged on
    recipe.optimizer.learning_rate = { low = 0.01, high = 1.0, log = true }     # a range, which Optuna samples
    recipe.optimizer.weight_decay = [5e-5, 5e-4]                                # or a list
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from typing import Any

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from vtbench.configuration import MOST_ARMS, MOST_EPOCHS, MOST_SEEDS
from vtbench.errors import format_value
from vtbench.settings import ROOTS, check_key
from vtbench.written import Configuration

Choice = StrictBool | StrictInt | StrictFloat | StrictStr
EPOCHS = "recipe.epochs"


class Range(Configuration):
    """All numbers from ``low`` to ``high``, whole ones if both are; ``log``: every factor is as likely as another."""

    low: StrictInt | StrictFloat
    high: StrictInt | StrictFloat
    log: bool = False

    @model_validator(mode="after")
    def _check_ends(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            above = ", above 0 as log = true wants it" if self.log else ""
            given = f"{format_value(self.low)} and {format_value(self.high)}"
            raise ValueError(f"a range goes from low to a higher high{above}; it was given {given}")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether its numbers are whole."""
        return isinstance(self.low, int) and isinstance(self.high, int)


class TuningConfig(Configuration):
    """How each arm is tuned before it is compared: alike for all."""

    settings: dict[str, Range | tuple[Choice, ...]] = Field(min_length=1)
    budget: int | None = Field(None, ge=1, le=MOST_ARMS)
    seeds: int = Field(1, ge=1, le=MOST_SEEDS)
    epochs: int | None = Field(None, ge=1, le=MOST_EPOCHS)
    first_seed: int = Field(1000, ge=0)
    held_out: float = Field(0.2, gt=0, lt=1)
    held_out_seed: int = Field(0, ge=0)
    seed: int = Field(0, ge=0, description="of what is drawn: points of a range, or of a grid larger than the budget")

    @model_validator(mode="before")
    @classmethod
    def _gather_settings(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or "settings" in value:
            return value
        own = {key: part for key, part in value.items() if key.partition(".")[0] in ROOTS}
        return {key: part for key, part in value.items() if key not in own} | {"settings": _gather(own)}

    @model_validator(mode="after")
    def _check_settings(self) -> TuningConfig:
        for key, values in self.settings.items():
            check_key(key)
            if isinstance(values, tuple) and (not values or len(set(map(repr, values))) < len(values)):
                raise ValueError(f"the tuned setting {key!r} needs at least one value, each once")
        if self.epochs is not None and EPOCHS in self.settings:
            raise ValueError(f"[tuning] tunes {EPOCHS} and says how many its trials have, epochs. Keep one of them")
        if self.budget is None and not self.is_grid:
            raise ValueError("a range has no end of points: say how many trials each arm gets, budget = NUMBER")
        if self.is_grid and (self.budget or 0) > self.num_points:
            raise ValueError(f"the budget is {self.budget} trials, and the grid has {self.num_points} points")
        if self.is_grid and self.num_trials > MOST_ARMS:
            raise ValueError(f"the grid has {self.num_points:,} points; take {MOST_ARMS:,} at most, or set a budget")
        return self

    @property
    def is_grid(self) -> bool:
        """Whether every setting has a list of values, so that nothing is sampled from what came out before."""
        return all(isinstance(values, tuple) for values in self.settings.values())

    @property
    def num_points(self) -> int:
        """The points of a grid."""
        return math.prod(len(values) for values in self.settings.values() if isinstance(values, tuple))

    @property
    def num_trials(self) -> int:
        """The trials of each arm."""
        return self.budget if self.budget is not None else self.num_points

    @property
    def num_runs(self) -> int:
        """The runs of all trials of each arm."""
        return self.num_trials * self.seeds

    @property
    def fixed(self) -> dict[str, Any]:
        """The settings that all runs of trials have in place of the study's, by key."""
        return {} if self.epochs is None else {EPOCHS: self.epochs}

    def list_seeds(self) -> range:
        """The seeds of the runs of each trial."""
        return range(self.first_seed, self.first_seed + self.seeds)

    def list_grid(self) -> list[dict[str, Any]]:
        """The points of a grid that are tried, in order: all, or as many as the budget has, drawn from ``seed``."""
        lists = [values for values in self.settings.values() if isinstance(values, tuple)]
        points = [dict(zip(self.settings, point, strict=True)) for point in itertools.product(*lists)]
        drawn = sorted(random.Random(self.seed).sample(range(len(points)), self.num_trials))
        return [points[place] for place in drawn]


def _gather(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values and ranges by dotted keys; a range is a table with ``low`` or ``high``."""
    found: dict[str, Any] = {}
    for key, value in tables.items():
        nested = isinstance(value, Mapping) and not {"low", "high"} & value.keys()
        found |= _gather(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found
