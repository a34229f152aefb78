"""The next point of a range to try, by Optuna's tree-structured Parzen estimator, from what earlier trials came to.

Nothing is carried from trial to trial: the sampler of trial k is seeded by (seed, k) and told the trials before it as
their records have them, so that a study that was killed goes on with the trials that it would have had. The first few
trials are drawn at random, and are the same for all arms.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vtbench.errors import UserError
from vtbench.metrics import Metric
from vtbench.search_space import Range, TuningConfig

_DIGITS = 4
_NUM_RANDOM = 5
"""Trials before the sampler looks at what came out; Optuna's own default, 10, is most of a usual budget."""


@dataclass(frozen=True)
class PastTrial:
    """The values of a trial by key, and its score; None where a run of it failed."""

    values: dict[str, Any]
    score: float | None


def sample_point(tuning: TuningConfig, past: Sequence[PastTrial], metric: Metric) -> dict[str, Any]:
    """The values of the trial after ``past``. Raises ``UserError`` where Optuna is not installed."""
    try:
        import optuna
    except ImportError:
        raise UserError(
            "A range in [tuning] is sampled by Optuna: pip install 'vtbench[tuning]'. A list of values needs nothing."
        ) from None
    distributions = {
        key: _distribute(values) if isinstance(values, Range) else optuna.distributions.CategoricalDistribution(values)
        for key, values in tuning.settings.items()
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of experimental options, which are a matter of this file.
        sampler = optuna.samplers.TPESampler(
            seed=(tuning.seed * 1_000_003 + len(past)) % 2**32, n_startup_trials=_NUM_RANDOM, multivariate=True
        )
        study = optuna.create_study(sampler=sampler, direction="maximize")
        ranks = [metric.rank(trial.score) for trial in past if trial.score is not None]
        for trial in past:
            rank = min(ranks, default=None) if trial.score is None else metric.rank(trial.score)
            state = optuna.trial.TrialState.FAIL if rank is None else optuna.trial.TrialState.COMPLETE
            study.add_trial(
                optuna.trial.create_trial(params=trial.values, distributions=distributions, value=rank, state=state)
            )
        drawn = study.ask(distributions).params
    return {key: _round(value, tuning.settings[key]) for key, value in drawn.items()}


def _distribute(span: Range) -> Any:
    from optuna.distributions import FloatDistribution, IntDistribution

    if span.is_whole:
        return IntDistribution(int(span.low), int(span.high), log=span.log)
    return FloatDistribution(float(span.low), float(span.high), log=span.log)


def _round(value: Any, values: Any) -> Any:
    """A number of a range as people write it, within its ends."""
    if not isinstance(value, float) or not isinstance(values, Range):
        return value
    return float(min(max(float(f"{value:.{_DIGITS}g}"), values.low), values.high))
