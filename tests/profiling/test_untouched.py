"""Profiling leaves the model, and everything around it, as it was."""

from __future__ import annotations

import random
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vtbench
from vtbench.profiling.errors import ProfileError
from vtbench.records import NotMeasured


class Eventful(nn.Module):
    """Has all that a careless profiler disturbs: hooks, running statistics, mixed modes, gradients, randomness."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 5)
        self.head.weight.requires_grad_(False)
        self.plain = torch.ones(8, 1, 1)
        self.lists = [torch.ones(2)]
        self.seen: list[int] = []

    def forward(self, images_BCHW: Tensor) -> Tensor:
        hidden = self.drop(self.norm(self.conv(images_BCHW))) * self.plain
        return self.head(hidden.mean((2, 3)))


def snapshot(model: nn.Module) -> dict[str, Any]:
    """Everything observable of a model."""
    return {
        "values": {name: value.detach().clone() for name, value in model.state_dict().items()},
        "identities": [id(tensor) for tensor in (*model.parameters(), *model.buffers())],
        "addresses": [tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())],
        "gradients": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "wants": [p.requires_grad for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "hooks": [
            (dict(m._forward_hooks), dict(m._forward_pre_hooks), dict(m._backward_hooks)) for m in model.modules()
        ],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "devices": [str(tensor.device) for tensor in (*model.parameters(), *model.buffers())],
    }


def is_same(before: Any, after: Any) -> bool:
    if isinstance(before, Tensor):
        return torch.equal(before, after)
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(is_same(before[key], after[key]) for key in before)
    if isinstance(before, (list, tuple)):
        return len(before) == len(after) and all(is_same(a, b) for a, b in zip(before, after, strict=True))
    return bool(before == after)


def make_eventful() -> Eventful:
    torch.manual_seed(0)
    model = Eventful()
    model.conv.register_forward_hook(lambda module, args, output: output)
    model.norm.eval()
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    return model


@pytest.mark.parametrize("backward", [False, True])
def test_a_live_model_is_left_untouched(backward: bool) -> None:
    model = make_eventful()
    before = snapshot(model)
    vtbench.profile(model, 8, backward=backward)
    after = snapshot(model)
    assert {key for key in before if not is_same(before[key], after[key])} == set()
    assert model.plain.device.type == "cpu"
    assert model.lists[0].device.type == "cpu"


def test_random_generators_and_the_state_of_gradients_are_left_untouched() -> None:
    model = make_eventful()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    threads = torch.get_num_threads()
    with torch.no_grad():
        vtbench.profile(model, 8, training=True, backward=True)
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()
    assert torch.get_num_threads() == threads
    assert torch.get_default_dtype() is torch.float32


def test_a_model_that_needs_values_is_left_untouched_and_draws_nothing() -> None:
    class Wayward(Eventful):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            if float(images_BCHW.sum()) > 1e9:  # Needs values.
                return images_BCHW
            return super().forward(images_BCHW) * random.random() * torch.rand(())

    model = Wayward()
    before, states = snapshot(model), (torch.get_rng_state(), random.getstate())
    counted = vtbench.profile(model, 8, training=True)
    assert counted.traced_on == "cpu"
    assert is_same(before, snapshot(model))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]


def test_a_model_that_cannot_be_copied_gets_everything_back() -> None:
    model = make_eventful()
    model.lock = threading.Lock()
    with pytest.raises(ProfileError):  # Its plain tensors cannot be emptied, so that the trace fails half way.
        vtbench.profile(model, 8)
    before = snapshot(model)
    model.plain = model.plain.to("meta")
    before = snapshot(model)
    counted = vtbench.profile(model, 8, backward=True)
    assert counted.training == counted.activations == NotMeasured(reason="the model cannot be copied")
    assert any("cannot be copied" in note for note in counted.notes)
    assert counted.macs == 64 * 8 * 27 + 8 * 5
    assert is_same(before, snapshot(model))


def test_a_failing_model_is_left_untouched() -> None:
    model = make_eventful()
    before = snapshot(model)
    with pytest.raises(ProfileError, match=r"Eventful: the model fails on an input of 1x4x8x8: RuntimeError"):
        vtbench.profile(model, (4, 8, 8))
    assert is_same(before, snapshot(model))


def test_no_weights_are_allocated_for_the_trace() -> None:
    with torch.device("meta"):
        model = nn.Linear(2**20, 2**20)
    assert vtbench.profile(model, inputs=[torch.empty(1, 2**20, device="meta")]).macs == 2**40


def test_wrapped_and_compiled_models_are_those_inside() -> None:
    inner = nn.Conv2d(3, 4, 1)
    assert vtbench.profile(nn.DataParallel(inner), 8).macs == 64 * 12
    assert vtbench.profile(torch.compile(inner), 8).macs == 64 * 12


def test_lazy_layers_are_counted_without_becoming_real() -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 1), nn.Flatten(), nn.LazyLinear(5))
    counted = vtbench.profile(model, 8)
    assert counted.macs == 64 * 12 + 256 * 5
    assert counted.params == 12 + 4 + 256 * 5 + 5
    assert isinstance(model[0].weight, nn.UninitializedParameter)
