"""Exponential moving average of a network's weights and buffers."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """Keeps ``average <- d * average + (1 - d) * current`` over the steps of a run, buffers included.

    After t updates d = min(decay, (1 + t) / (10 + t)), as in TensorFlow's ExponentialMovingAverage with a count of
    updates, from which the recipe's 0.99985 stems: else a short run would average its random start. Averaging the
    running statistics of batch normalisation too keeps them in step with the weights. Integer buffers are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay
        self.num_updates = 0
        own, theirs = self.model.state_dict(), model.state_dict()
        averaged = [name for name, value in own.items() if value.is_floating_point()]
        self._averages: list[Tensor] = [own[name] for name in averaged]
        self._sources: list[Tensor] = [theirs[name].detach() for name in averaged]
        self._copies = [(own[name], theirs[name]) for name in own if name not in set(averaged)]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights of the model as they stand after a step."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        torch._foreach_lerp_(self._averages, self._sources, 1 - decay)
        for average, source in self._copies:
            average.copy_(source)
        self.num_updates += 1
