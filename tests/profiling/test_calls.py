"""Every call of a module is told of, whatever hooks the module has and however it is called."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vtbench.profiling.calls import watched_calls
from vtbench.profiling.trace import trace_forward
from vtbench.profiling.walking import list_modules


class Scaled(nn.Module):
    """Calls its layer by keyword, and a second time within a block that catches what fails."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        try:
            self.layer(x[:, :2])
        except RuntimeError:
            return self.layer(input=x)
        raise AssertionError


def test_calls_are_told_of_in_order_with_their_arguments_and_also_if_they_fail() -> None:
    model, told = nn.Sequential(Scaled()), list[Any]()
    as_is = nn.Module._call_impl
    with watched_calls(
        list_modules(model),
        lambda path, module, args, kwargs: told.append((path, len(args), list(kwargs))),
        told.append,
    ):
        out = model(torch.ones(1, 3))
    assert told == [("0", 1, []), ("0.layer", 1, []), None, ("0.layer", 0, ["input"]), out, out]
    assert nn.Module._call_impl is as_is


@pytest.mark.parametrize("hooked", ["before", "in the course of the pass"])
def test_what_a_modules_own_hooks_do_is_not_of_its_call(hooked: str) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).to("meta")

    def multiply(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return output @ torch.ones(3, 3, device="meta")

    def begin(module: nn.Module, args: Any) -> None:
        model[1].register_forward_hook(multiply)

    if hooked == "before":
        model[1].register_forward_hook(multiply)
    else:
        model[0].register_forward_pre_hook(begin)
    trace = trace_forward(model, [torch.ones(1, 3, device="meta")])
    assert {call.path: call.own_macs for call in trace.calls} == {"": 9, "0": 9, "1": 9}


def test_modules_are_told_of_while_every_module_has_a_hook() -> None:
    model, ran = nn.Sequential(nn.Linear(3, 3)), list[nn.Module]()
    handle = nn.modules.module.register_module_forward_pre_hook(lambda module, args: ran.append(module))
    try:
        trace = trace_forward(model, [torch.ones(1, 3)])
    finally:
        handle.remove()
    assert [call.module for call in trace.calls] == ran == [model, model[0]]


def test_compiled_modules_are_told_of() -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    model[0].compile(backend="eager")
    trace = trace_forward(model, [torch.ones(1, 3)])
    assert [call.path for call in trace.calls] == ["", "0"]
