"""Dropout and stochastic depth, set on a model after it was built, so that models need no recipe to be made."""

from __future__ import annotations

from torch import nn

from vtbench.layers.stochastic_depth import StochasticDepth


def set_regularization(model: nn.Module, *, dropout: float = 0.0, stochastic_depth: float = 0.0) -> None:
    """Set the rates of every ``nn.Dropout`` and every `StochasticDepth` in ``model``.

    ``dropout`` is the probability of dropping a feature. ``stochastic_depth`` is the probability of dropping the
    *last* residual branch; branch l of n gets ``stochastic_depth * l / n`` (Huang et al. 2016, arXiv 1603.09382,
    equation 4). Branches count in the order in which the model registers them, which is the order of execution; a
    residual block, the token transformer and the projector of a visual transformer each hold their own.
    Raises ``ValueError`` for a rate outside [0, 1).
    """
    for name, rate in (("dropout", dropout), ("stochastic_depth", stochastic_depth)):
        if not 0 <= rate < 1:
            raise ValueError(f"{name} is the probability of dropping, in [0, 1); it was given {rate}")
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    branches = [module for module in model.modules() if isinstance(module, StochasticDepth)]
    for index, branch in enumerate(branches, start=1):
        branch.p = stochastic_depth * index / len(branches)
