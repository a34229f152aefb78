"""The optimiser of a recipe, its rate as a function of the step, its state as named tensors; the average of weights."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vtbench.configuration import OptimizerConfig, Recipe
from vtbench.training.world import ALONE

Build = Callable[..., torch.optim.Optimizer]
"""Makes an optimiser of a kind over groups of parameters, with settings; see `World.share_out`."""


def build_optimizer(model: nn.Module, config: OptimizerConfig, build: Build = ALONE.share_out) -> torch.optim.Optimizer:
    """Build the optimiser over the parameters of ``model``, in the fastest implementation that torch has for it.

    ``momentum`` is beta1 and ``squared_decay`` beta2 of AdamW. With ``decay_norm_and_bias`` off, parameters of fewer
    than two dimensions (normalisation weights, biases) are not decayed.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if config.decay_norm_and_bias:
        groups = [{"params": parameters, "weight_decay": config.weight_decay}]
    else:
        weights = [parameter for parameter in parameters if parameter.ndim >= 2]
        others = [parameter for parameter in parameters if parameter.ndim < 2]
        groups = [{"params": weights, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        groups = [group for group in groups if group["params"]]
    if config.name == "sgd":
        return _start_momentum(
            build(
                _without_compiler(torch.optim.SGD),
                groups,
                lr=config.learning_rate,
                momentum=config.momentum,
                nesterov=config.nesterov,
                fused=True,
            )
        )
    if config.name == "rmsprop":
        return build(
            _without_compiler(torch.optim.RMSprop),
            groups,
            lr=config.learning_rate,
            alpha=config.squared_decay,
            eps=config.epsilon,
            momentum=config.momentum,
            foreach=True,
        )
    betas = (config.momentum, config.squared_decay)
    return build(
        _without_compiler(torch.optim.AdamW),
        groups,
        lr=config.learning_rate,
        betas=betas,
        eps=config.epsilon,
        fused=True,
    )


_Kind = TypeVar("_Kind", bound=torch.optim.Optimizer)


def _without_compiler(kind: type[_Kind]) -> type[_Kind]:
    """``kind`` without the decorators that keep ``torch.compile`` out of these methods.

    They load the compiler to tell it so (torch 2.14.1): two seconds and 150 MB of a process that may never compile.
    """
    plain: dict[str, Any] = {name: inspect.unwrap(getattr(kind, name)) for name in ("add_param_group", "zero_grad")}
    plain["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), plain)


def _start_momentum(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Let momentum start from zero, which gives the weights that it gives where torch makes the buffers itself.

    torch's fused SGD (2.14.1) makes them in the first step without filling them, and leaves them so where a loss scale
    overflows in that step: the second would add to whatever lay in the memory.
    """
    part = _own_part(optimizer)
    for parameter, group in _parameters_of(part):
        if group["momentum"]:
            part.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter, requires_grad=False)
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameter groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def read_optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's tensors under names ``<index of the parameter>.<key>``; the rest follows from the recipe.

    Of one that is shared out they are those of this process, under the same names.
    """
    part = _own_part(optimizer)
    return {
        f"{index}.{key}": value
        for index, (parameter, _) in enumerate(_parameters_of(optimizer))
        for key, value in part.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore_optimizer_state(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `read_optimizer_state` read, in all processes together; one that is shared out takes its part.

    A buffer of a parameter's shape gets the parameter's memory layout: fused kernels walk through both side by side.
    """
    part, parameters = _own_part(optimizer), list(_parameters_of(optimizer))
    own = {id(parameter) for parameter, _ in _parameters_of(part)}
    part.state.clear()
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        parameter, group = parameters[int(index)]
        if id(parameter) not in own:
            continue
        if value.shape == parameter.shape:
            restored = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
        else:
            restored = value.clone().to(parameter.device if group.get("fused") else "cpu")
        part.state[parameter][key] = restored


def _own_part(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """What this process has of ``optimizer``: all, unless that is a ZeroRedundancyOptimizer."""
    part: torch.optim.Optimizer = getattr(optimizer, "optim", optimizer)
    return part


def _parameters_of(optimizer: torch.optim.Optimizer) -> list[tuple[Tensor, dict[str, object]]]:
    return [(parameter, group) for group in optimizer.param_groups for parameter in group["params"]]


def learning_rate_at(recipe: Recipe, step: int, num_steps: int) -> float:
    """The learning rate of ``step`` (counted from 0) in a run of ``num_steps``.

    In the warm-up, of W = ``round(warmup * num_steps)`` steps, the rate rises linearly from ``warmup_start`` times the
    peak and reaches the peak at step W; a warm-up from 0 gives its first step 1 / (W + 1) of the peak and not nothing.
    Afterwards, with q running from 0 to 1 over the steps that remain:

    - ``step``: peak * decay ** (number of milestones passed); milestones are parts of the whole run, after
      its first step;
    - ``cosine``: peak * (1 + cos(pi q)) / 2 (Loshchilov and Hutter 2017, equation 5, without restarts);
    - ``polynomial``: peak * (1 - q) ** power, of Chen et al. 2018 (DeepLab, arXiv 1606.00915, section 4.1);
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
    if schedule.name == "polynomial":
        return float(peak * (1 - part) ** schedule.power)
    return float(peak * schedule.decay**part)


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
