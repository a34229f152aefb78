"""A model built without values is the model, and nothing of how it was built stays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vtbench.profiling.building import _REPLACED, build_light, without_values


class Layers(nn.Module):
    """Every kind of layer that is left unfilled, plain attributes and one that is a property."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Linear(3, 4), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(3), nn.LayerNorm(3), nn.GroupNorm(1, 3)]
        )
        self.attention = nn.MultiheadAttention(4, 2)
        nn.init.trunc_normal_(self.layers[0].weight)
        self.width, self.doubled = 3, 4

    @property
    def doubled(self) -> int:
        return 2 * self.width

    @doubled.setter
    def doubled(self, value: int) -> None:
        self.width = value // 2


def test_a_model_built_without_values_holds_what_the_model_holds() -> None:
    light, full = build_light(Layers), Layers()
    assert light.doubled == full.doubled == 4
    for one, other in ((light.state_dict(), full.state_dict()),):
        assert {name: (x.shape, x.dtype) for name, x in one.items()} == {
            name: (x.shape, x.dtype) for name, x in other.items()
        }
    assert all(x.is_meta for x in light.state_dict().values())


def test_layers_with_values_are_filled_while_others_are_built_without() -> None:
    with without_values():
        layer = nn.BatchNorm2d(3, device="cpu")
        layer.running_var.mul_(7.0)
        layer.reset_parameters()
        nn.init.constant_(layer.weight, 5.0)
    assert layer.running_var.tolist() == [1.0, 1.0, 1.0] and layer.weight.tolist() == [5.0, 5.0, 5.0]


def test_a_mistake_in_an_attribute_is_raised_as_ever() -> None:
    def build() -> nn.Module:
        layer = nn.Linear(3, 3)
        layer.weight = 3  # type: ignore[assignment]
        return layer

    with pytest.raises(TypeError, match="cannot assign"):
        build_light(build)


def test_everything_is_put_back() -> None:
    before = [getattr(owner, name) for owner, name, _ in _REPLACED]
    build_light(Layers)
    assert [getattr(owner, name) for owner, name, _ in _REPLACED] == before
    assert torch.isfinite(nn.Linear(3, 3).weight).all()
