"""Results of frequent operators on the meta device without torch's own, much slower, computation of their shapes.

Torch derives the result of, say, a batch normalisation without values from a dozen elementary operators, each with
checks of its own; here it is one allocation of nothing. Only cases whose result is plain are answered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

NOT_PLAIN = object()
"""The answer to a case that torch must work out itself."""

Shortcut = Callable[[Sequence[Any]], Any]


def _like(args: Sequence[Any]) -> Any:
    source = args[0]
    return _allocate_like(source) if source.is_meta and source.is_floating_point() else NOT_PLAIN


def _fill(args: Sequence[Any]) -> Any:
    """Filling a tensor that has no values changes nothing."""
    return args[0] if args[0].is_meta else NOT_PLAIN


def _allocate_like(source: Tensor) -> Tensor:
    """What ``torch.empty_like`` gives, which is slow on this device itself."""
    if not source.is_contiguous():
        return torch.empty_like(source)
    return torch.empty(source.shape, dtype=source.dtype, device=source.device)


def _combine(args: Sequence[Any]) -> Any:
    """Elementwise in two tensors of one shape, memory layout and type."""
    left, right = args[0], args[1]
    plain = (
        isinstance(right, Tensor)
        and left.is_meta
        and right.is_meta
        and left.shape == right.shape
        and left.stride() == right.stride()
        and left.dtype == right.dtype
        and left.is_floating_point()
    )
    return _allocate_like(left) if plain else NOT_PLAIN


def _batch_norm(args: Sequence[Any]) -> Any:
    source, weight, training = args[0], args[1], args[5]
    if not source.is_meta or (weight is not None and weight.dtype != source.dtype):
        return NOT_PLAIN
    num_statistics = source.shape[1] if training else 0
    return _allocate_like(source), source.new_empty(num_statistics), source.new_empty(num_statistics)


def _layer_norm(args: Sequence[Any]) -> Any:
    source, normalized_shape, weight = args[0], args[1], args[2]
    plain = source.is_meta and source.is_contiguous() and (weight is None or weight.dtype == source.dtype)
    if not plain or tuple(source.shape[-len(normalized_shape) :]) != tuple(normalized_shape):
        return NOT_PLAIN
    statistics = (*source.shape[: -len(normalized_shape)], *(1 for _ in normalized_shape))
    return _allocate_like(source), source.new_empty(statistics), source.new_empty(statistics)


def _addmm(args: Sequence[Any]) -> Any:
    bias, left, right = args[0], args[1], args[2]
    plain = (
        left.is_meta
        and bias.is_meta
        and right.is_meta
        and left.dim() == right.dim() == 2
        and left.shape[1] == right.shape[0]
        and bias.shape == right.shape[1:]
        and bias.dtype == left.dtype == right.dtype
    )
    return left.new_empty(left.shape[0], right.shape[1]) if plain else NOT_PLAIN


_ONE_INPUT = (
    "relu.default silu.default gelu.default sigmoid.default hardswish.default hardsigmoid.default tanh.default "
    "hardtanh.default mul.Scalar"
)
_FILLS = "normal_.default uniform_.default zero_.default fill_.Scalar"
_TWO_INPUTS = "add.Tensor mul.Tensor"


def _enter(names: str, shortcut: Shortcut) -> dict[Any, Shortcut]:
    parts = (name.partition(".") for name in names.split())
    return {getattr(getattr(torch.ops.aten, packet), overload): shortcut for packet, _, overload in parts}


SHORTCUTS: dict[Any, Shortcut] = (
    _enter(_ONE_INPUT, _like)
    | _enter(_TWO_INPUTS, _combine)
    | _enter(_FILLS, _fill)
    | _enter("native_batch_norm.default", _batch_norm)
    | _enter("native_layer_norm.default", _layer_norm)
    | _enter("addmm.default", _addmm)
)
"""Operator -> its shortcut, given the positional arguments."""


class Shortcuts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Takes the shortcuts while active, and changes nothing else."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer one operator."""
        kwargs = kwargs or {}
        out = take_shortcut(SHORTCUTS.get(func), args, kwargs)
        return func(*args, **kwargs) if out is NOT_PLAIN else out


def take_shortcut(shortcut: Shortcut | None, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The result of an operator, or `NOT_PLAIN`. Keyword arguments that say anything are left to torch."""
    if shortcut is None or any(value is not None for value in kwargs.values()):
        return NOT_PLAIN
    return shortcut(args)
