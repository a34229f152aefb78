"""The one walk through a model finds what torch's own walks find, in their order."""

from __future__ import annotations

import torch
from torch import nn

from vtbench.profiling.walking import list_buffers, list_modules, list_parameters, list_tensors


def make_model() -> nn.Module:
    """Shared modules, a shared parameter and buffer, a module of nothing."""
    shared = nn.Linear(3, 3)
    model = nn.Sequential(nn.Sequential(shared, nn.BatchNorm1d(3)), shared, nn.Linear(3, 3), nn.BatchNorm1d(3))
    model[2].weight = shared.weight
    model[3].running_mean = model[0][1].running_mean
    model[0].register_module("missing", None)
    model[0].register_buffer("absent", None)
    model.scale = nn.Parameter(torch.ones(1))
    return model


def test_modules_are_found_once_by_their_first_path_and_in_order() -> None:
    model = make_model()
    assert list(list_modules(model).items()) == list(model.named_modules())


def test_parameters_and_buffers_are_found_once_and_in_order() -> None:
    model = make_model()
    assert list(list_parameters(model).items()) == list(model.named_parameters())
    assert [id(one) for one in list_buffers(model)] == [id(one) for one in model.buffers()]
    assert [id(one) for one in list_tensors(model)] == [id(one) for one in (*model.parameters(), *model.buffers())]
