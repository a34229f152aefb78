"""What is profiled: a model, its copy without weights (every tensor on the meta device), a way to one with values."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from vtbench.profiling.walking import list_tensors

_WRAPPERS = ("DataParallel", "DistributedDataParallel", "OptimizedModule")


@dataclass(frozen=True)
class Subject:
    """A model to be profiled. ``meta`` is free to be used up; ``build_real`` makes one with values if ever needed.

    ``original`` is the model whose parameters are counted. A ``meta`` of None means that it could not be copied.
    """

    name: str
    original: nn.Module
    meta: nn.Module | None
    build_real: Callable[[], nn.Module]


def take_subject(model: nn.Module, name: str) -> Subject:
    """Make a user's live model a subject: copied, never touched."""
    original = unwrap_model(model)
    try:
        meta = copy_to_meta(original)
    except Exception:  # A model may hold anything, and what cannot be copied raises anything.
        meta = None
    return Subject(name, original, meta, lambda: copy.deepcopy(original))


def unwrap_model(model: nn.Module) -> nn.Module:
    """The module inside wrappers that only change how it is executed (data parallelism, torch.compile)."""
    while type(model).__name__ in _WRAPPERS and isinstance(
        inner := getattr(model, "_orig_mod", None) or getattr(model, "module", None), nn.Module
    ):
        model = inner
    return model


def copy_to_meta(model: nn.Module) -> nn.Module:
    """Copy ``model`` with every parameter, buffer and other tensor replaced by one on the meta device.

    Shared tensors stay shared; hooks are those of the original. Raises what ``copy.deepcopy`` raises.
    """
    memo: dict[int, Any] = {}
    for tensor in list_tensors(model):
        if not is_lazy(tensor):
            memo[id(tensor)] = _to_meta(tensor)
    with _TensorsToMeta():
        return copy.deepcopy(model, memo)


@contextmanager
def swapped_to_meta(model: nn.Module) -> Iterator[None]:
    """Put meta tensors into ``model`` itself for the time of the block: for models that cannot be copied.

    Parameters, buffers and the training mode of every module are put back afterwards.
    """
    replaced: dict[int, Tensor] = {}
    kept: list[tuple[dict[str, Any], dict[str, Any]]] = []
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module in model.modules():
            holders: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
            for holder in holders:
                kept.append((holder, dict(holder)))
                for name, tensor in holder.items():
                    if tensor is not None and not is_lazy(tensor):
                        holder[name] = replaced.setdefault(id(tensor), _to_meta(tensor))
        yield
    finally:
        for holder, original in kept:
            holder.clear()
            holder.update(original)
        for module, training in modes:
            module.training = training


@contextmanager
def kept_randomness() -> Iterator[None]:
    """Put the random generators of torch, Python and NumPy back to where they were."""
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    device_states = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda._initialized else None
    numpy = sys.modules.get("numpy")
    numpy_state = numpy.random.get_state() if numpy is not None else None
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        random.setstate(python_state)
        if device_states is not None:
            torch.cuda.set_rng_state_all(device_states)
        if numpy is not None:
            numpy.random.set_state(numpy_state)


class _TensorsToMeta(TorchFunctionMode):
    """Answers the deep copy of a tensor that is no parameter or buffer with one on the meta device."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") == "__deepcopy__" and not is_lazy(args[0]):
            tensor, memo = args[0], args[1]
            if id(tensor) not in memo:
                memo[id(tensor)] = _to_meta(tensor)
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))


def _to_meta(tensor: Tensor) -> Tensor:
    if tensor.layout is not torch.strided or tensor.is_quantized or type(tensor) not in (Tensor, nn.Parameter):
        converted = tensor.detach().to("meta")
    else:
        converted = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(converted, requires_grad=tensor.requires_grad)
    return converted.requires_grad_(tensor.requires_grad)
