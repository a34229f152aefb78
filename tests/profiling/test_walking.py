"""The one walk through a model finds what torch's own walks find, in their order."""

from __future__ import annotations

import torch
from torch import nn

from vtbench.profiling.walking import Contents, list_modules, list_tensors, set_training


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
    assert list(Contents(model).parameters.items()) == list(model.named_parameters())
    assert [id(one) for one in Contents(model).buffers] == [id(one) for one in model.buffers()]
    assert [id(one) for one in list_tensors(model)] == [id(one) for one in (*model.parameters(), *model.buffers())]


class Frozen(nn.BatchNorm1d):
    """Its statistics stay as they are."""

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(False)


def test_the_mode_of_every_module_is_set_as_the_model_itself_does() -> None:
    plain, frozen = make_model(), nn.Sequential(make_model(), Frozen(3))
    for model in (plain, frozen):
        for training in (False, True):
            set_training(list_modules(model), training)
            kept = [module.training for module in model.modules()]
            assert kept == [module.training for module in model.train(training).modules()]
    assert not frozen[1].training and frozen[0].training
