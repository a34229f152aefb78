"""Operators by which values decide what a model does next: how many rows go on, and whether a part runs at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_READ = "aten::_local_scalar_dense"
_SELECTS = {
    "aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::unique_dim", "aten::unique_consecutive",
    "aten::bincount", "aten::repeat_interleave", "aten::equal", "torchvision::nms", _READ,
}  # fmt: skip
"""What they return, or how much of it, only values tell."""
_MAY_SELECT = {"aten::index", "aten::_unsafe_index"}
"""They do so where one of the indices is a mask."""


@dataclass
class Decisions:
    """The questions of one pass. ``answers`` are for the first yes-or-no questions, whatever the values say."""

    answers: tuple[bool, ...] = ()
    taken: list[bool] = field(default_factory=list)
    operators: Counter[tuple[str, str]] = field(default_factory=Counter)

    def answer(self, truth: bool) -> bool:
        """What a yes-or-no question is answered with, of which the values say ``truth``."""
        place = len(self.taken)
        self.taken.append(self.answers[place] if place < len(self.answers) else truth)
        return self.taken[-1]

    def note(self, operator: str, path: str, out: Any) -> Any:
        """An operator whose result depends on the values of the input ran in the module at ``path``."""
        self.operators[operator, path] += 1
        return self.answer(out) if isinstance(out, bool) else out


def may_select(operator: str) -> bool:
    """Whether the operator can be one by which values decide."""
    return operator in _SELECTS or operator in _MAY_SELECT


def selects(operator: str, args: Sequence[Any]) -> bool:
    """Whether values decide the result's shape, or are handed to the model's own code."""
    if operator not in _MAY_SELECT:
        return True
    return any(isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8) for one in args[1])


class ReadsSeen(TorchFunctionMode):
    """Notes where the model's own code takes values out of torch, which no operator tells of."""

    def __init__(self, note: Callable[[str, Tensor], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _LEAVES_TORCH:
            self._note(func.__name__.strip("_"), args[0])
        return func(*args, **(kwargs or {}))


_LEAVES_TORCH = (Tensor.numpy, Tensor.tolist, Tensor.__array__, Tensor.__dlpack__)
OUTSIDE = frozenset(leave.__name__.strip("_") for leave in _LEAVES_TORCH)
"""The names under which these are noted."""
