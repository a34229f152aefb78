from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from vtbench.configuration import OptimizerConfig
from vtbench.training.optimization import (
    build_optimizer,
    read_optimizer_state,
    restore_optimizer_state,
    set_learning_rate,
)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_normalisation_and_biases_are_decayed_unless_spared() -> None:
    everything = build_optimizer(network(), OptimizerConfig(weight_decay=0.5))
    assert [group["weight_decay"] for group in everything.param_groups] == [0.5]
    spared = build_optimizer(network(), OptimizerConfig(weight_decay=0.5, decay_norm_and_bias=False))
    dimensions = {group["weight_decay"]: {p.ndim for p in group["params"]} for group in spared.param_groups}
    assert dimensions == {0.5: {4, 2}, 0.0: {1}}


def test_frozen_parameters_are_left_out() -> None:
    model = network()
    model[0].requires_grad_(False)
    optimizer = build_optimizer(model, OptimizerConfig())
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4


def test_the_numbers_of_each_optimiser_reach_torch() -> None:
    numbers = {"learning_rate": 0.3, "momentum": 0.7, "squared_decay": 0.6, "epsilon": 0.01, "weight_decay": 0.2}
    sgd = build_optimizer(network(), OptimizerConfig(name="sgd", nesterov=True, **numbers)).param_groups[0]
    assert (sgd["lr"], sgd["momentum"], sgd["nesterov"], sgd["weight_decay"]) == (0.3, 0.7, True, 0.2)
    rmsprop = build_optimizer(network(), OptimizerConfig(name="rmsprop", **numbers)).param_groups[0]
    assert (rmsprop["momentum"], rmsprop["alpha"], rmsprop["eps"]) == (0.7, 0.6, 0.01)
    adamw = build_optimizer(network(), OptimizerConfig(name="adamw", **numbers)).param_groups[0]
    assert (adamw["betas"], adamw["eps"]) == ((0.7, 0.6), 0.01)


def test_the_learning_rate_is_set_for_all_groups() -> None:
    optimizer = build_optimizer(network(), OptimizerConfig(decay_norm_and_bias=False))
    set_learning_rate(optimizer, 0.125)
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.125]


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adamw"])
def test_a_restored_optimiser_steps_as_the_one_it_was_read_from(name: str) -> None:
    config = OptimizerConfig(name=name, learning_rate=0.01, decay_norm_and_bias=False)
    images = torch.randn(2, 3, 3, 3, generator=torch.Generator().manual_seed(1))

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        model(images).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    first = network().to(memory_format=torch.channels_last)
    optimizer = build_optimizer(first, config)
    step(first, optimizer)
    second = network().to(memory_format=torch.channels_last)
    second.load_state_dict(first.state_dict())
    restored = build_optimizer(second, config)
    state = {key: value.clone().contiguous() for key, value in read_optimizer_state(optimizer).items()}
    restore_optimizer_state(restored, state)
    step(first, optimizer)
    step(second, restored)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.fixture
def memory_that_shows() -> Iterator[None]:
    """Memory that nobody has written holds NaN."""
    filling: Any = torch.utils.deterministic
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filling, "fill_uninitialized_memory", True)
        torch.use_deterministic_algorithms(True)
        yield
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adamw"])
@pytest.mark.parametrize("num_overflows", [1, 2])
def test_first_steps_whose_loss_scale_overflows_leave_nothing_behind(
    memory_that_shows: None, name: str, num_overflows: int
) -> None:
    def train(factors: list[float]) -> list[torch.Tensor]:
        model = network()
        optimizer = build_optimizer(model, OptimizerConfig(name=name, learning_rate=0.01, nesterov=name == "sgd"))
        scaler = torch.amp.GradScaler("cpu")
        images = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(1))
        model.eval()
        for factor in factors:
            scaler.scale(model(images).sum() * factor).backward()
            scaler.step(optimizer)
            scaler.update(2.0**10)
            optimizer.zero_grad()
        return [parameter.detach() for parameter in model.parameters()]

    straight = train([1.0, 1.0])
    assert all(weights.isfinite().all() for weights in straight)
    for one, other in zip(train([float("inf")] * num_overflows + [1.0, 1.0]), straight, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
