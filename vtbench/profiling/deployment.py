"""The form that a model is deployed in: branches merged that it has for training alone, norms folded into layers.

Modules say how in one of three usual ways: ``fuse()`` gives what takes their place, ``reparameterize()`` and
``switch_to_deploy()`` change them. Values are merged, too, where there are any.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vtbench.profiling.building import without_values
from vtbench.profiling.errors import ProfileError, summarize_exception
from vtbench.profiling.subject import Subject, kept_randomness
from vtbench.profiling.walking import list_modules, list_tensors

_METHODS = ("fuse", "reparameterize", "switch_to_deploy")


def fuse_subject(subject: Subject) -> Subject:
    """``subject`` in the form for deployment; the user's own model stays as it is.

    Raises `ProfileError` where no module can be merged, or merging fails.
    """
    if subject.meta is None:
        raise ProfileError("the model cannot be copied, and so not be fused without changing it.")
    if not list_mergeable(subject.meta):
        return subject
    try:
        fused = _fuse_without_values(subject.meta)
    except Exception as error:  # The modules' own code.
        raise ProfileError(f"the model cannot be fused: {summarize_exception(error)}.") from error

    def build_real() -> nn.Module:
        return _merge(subject.build_real())

    return replace(subject, original=fused, meta=fused, build_real=build_real)


def describe_form(subject: Subject) -> str | None:
    """A sentence if ``subject`` has branches that are merged for deployment, which then costs less."""
    mergeable = list_mergeable(subject.meta) if subject.meta is not None else []
    branched = {module: count for module in mergeable if (count := _count_weights(module)) > 1}
    largest: dict[type[nn.Module], nn.Module] = {}
    for module in sorted(branched, key=branched.__getitem__):
        largest[type(module)] = module
    if not any(_loses_weights(module) for module in sorted(largest.values(), key=branched.__getitem__)):
        return None  # Norms fold into the one layer of a module, which costs the same.
    kinds = Counter(type(module).__name__ for module in mergeable)
    listing = ", ".join(f"{kind} x{number}" for kind, number in kinds.most_common(3))
    return f"counted in the form for training; --fuse merges its branches, as for deployment ({listing})"


def _loses_weights(module: nn.Module) -> bool:
    try:
        return _count_weights(_fuse_without_values(module)) < _count_weights(module)
    except Exception:  # Not asked for: a model that cannot be fused is counted as it is.
        return False


def list_mergeable(model: nn.Module) -> list[nn.Module]:
    """The modules that say how they are merged."""
    return [module for module in list_modules(model).values() if _find_method(module) is not None]


def _find_method(module: nn.Module) -> str | None:
    """The name of the method by which a module is merged; a module inside it that is called so is none."""
    return next((name for name in _METHODS if hasattr(type(module), name) or name in module.__dict__), None)


def _fuse_without_values(model: nn.Module) -> nn.Module:
    copied = {id(tensor): _alias(tensor) for tensor in list_tensors(model)}
    with kept_randomness(), without_values():
        return _merge(copy.deepcopy(model, copied))


def _alias(tensor: Tensor) -> Tensor:
    """Another tensor of the same memory, in which there is nothing to be changed."""
    alias = tensor.detach()
    return nn.Parameter(alias, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else alias


def _merge(model: nn.Module) -> nn.Module:
    """Merge every module of ``model`` in place."""
    with torch.no_grad():
        holder = nn.ModuleDict({"model": model.eval()})
        _merge_children(holder)
    return holder["model"]


def _merge_children(parent: nn.Module) -> None:
    for name, child in list(parent.named_children()):
        method = _find_method(child)
        if method is not None:
            merge: Any = getattr(child, method)
            merged = merge()
            if method == "fuse" and isinstance(merged, nn.Module):
                parent._modules[name] = merged
        _merge_children(parent._modules[name] or child)


def _count_weights(model: nn.Module) -> int:
    """Parameters that are weights of products, not scales or shifts."""
    return sum(parameter.dim() > 1 for parameter in model.parameters())
