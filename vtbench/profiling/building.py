"""Build a model without values: nothing is allocated, and what only fills tensors is left out."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from vtbench.errors import UserError
from vtbench.profiling.errors import is_limit_of_meta
from vtbench.profiling.shortcuts import Shortcuts

_META = torch._C.DispatchKey.Meta


def build_light(build: Callable[[], nn.Module]) -> nn.Module:
    """Build on the meta device; else with values, but for the weights; else, in full.

    What fails without values is built once more with all of them: the failure that counts is that of the last.
    """
    for mode in (_AllOnMeta(), _WeightsOnMeta()):
        try:
            with _unfilled(), mode, Shortcuts(), warnings.catch_warnings(record=True) as warned:
                model = build()
        except UserError:
            raise
        except Exception as error:
            if not is_limit_of_meta(error):
                break
        else:
            for one in warned:
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
            return model
    return build()


@contextmanager
def without_values() -> Iterator[None]:
    """Make every tensor on the meta device for the time of the block, and fill none."""
    with _unfilled(), _AllOnMeta(), Shortcuts():
        yield


class _AllOnMeta(TorchFunctionMode):
    """As ``torch.device("meta")``, and what only fills a tensor there is left out: that is half of building a model."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _FILLS:
            target = args[0] if args else (kwargs or {}).get("tensor")
            scalar = len(args) < 2 or not isinstance(args[1], Tensor)
            if isinstance(target, Tensor) and target.is_meta and target.is_floating_point() and scalar:
                return target
        elif func in _device_constructors():
            options = dict(kwargs or {})
            if options.get("device") is None:
                options["device"] = "meta"
            if func is torch.eye and isinstance(out := options.get("out"), Tensor) and out.is_meta:
                return out  # Torch's own kernel for this on the meta device (2.14.1) loads the compiler.
            if func in _FILLED and options["device"] == "meta" and "out" not in options:
                func = torch.empty
            with torch._C._DisableTorchDispatch():  # There are no shortcuts for what makes a tensor.
                return func(*args, **options)
        return func(*args, **kwargs) if kwargs else func(*args)


_FILLS = {
    *(getattr(Tensor, name) for name in ("normal_", "uniform_", "zero_", "fill_", "clamp_", "erfinv_")),
    *(Tensor.mul_, Tensor.add_, Tensor.div_),
    *(nn.init.uniform_, nn.init.normal_, nn.init.constant_, nn.init.kaiming_uniform_),
}
"""What fills a tensor, or changes it by a number."""
_FILLED = {torch.zeros, torch.ones}
"""What makes a filled tensor: without values, an empty one."""


class _WeightsOnMeta(TorchFunctionMode):
    """Layers allocate weights with ``torch.empty``; everything else keeps its values."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func is torch.empty and options.get("device") is None:
            options["device"] = "meta"
        return func(*args, **options)


@contextmanager
def _unfilled() -> Iterator[None]:
    """Layers of torch and its initialisers do not go about filling what has no values; attributes are set at once."""
    put = [(owner, name, getattr(owner, name), replace) for owner, name, replace in _REPLACED]
    for owner, name, original, replace in put:
        setattr(owner, name, replace(original))
    try:
        yield
    finally:
        for owner, name, original, _ in put:
            setattr(owner, name, original)


def _fill_layer(fill: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(fill)
    def reset(layer: Any) -> None:
        if not all(_lies_on_meta(tensor) for held in (layer._parameters, layer._buffers) for tensor in held.values()):
            fill(layer)

    return reset


def _fill_tensor(fill: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(fill)
    def initialize(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return tensor if _lies_on_meta(tensor) else fill(tensor, *args, **kwargs)

    return initialize


def _lies_on_meta(tensor: Tensor | None) -> bool:
    """As ``is_meta``, which every mode is asked about."""
    return tensor is None or torch._C._dispatch_keys(tensor).has(_META)


def _set_attribute(setting: Callable[[nn.Module, str, Any], None]) -> Callable[[nn.Module, str, Any], None]:
    @functools.wraps(setting)
    def set_attribute(module: nn.Module, name: str, value: Any) -> None:
        held = module.__dict__
        is_plain = type(value) in _PLAIN and "_modules" in held
        if not is_plain or name in held["_parameters"] or name in held["_buffers"] or name in held["_modules"]:
            setting(module, name, value)
        else:
            super(nn.Module, module).__setattr__(name, value)

    return set_attribute


_PLAIN = frozenset({bool, int, float, str, tuple, list})
_RESETS: Sequence[tuple[type[nn.Module], str]] = (
    (nn.Linear, "reset_parameters"),
    (nn.modules.conv._ConvNd, "reset_parameters"),
    (nn.modules.batchnorm._NormBase, "reset_parameters"),
    (nn.modules.batchnorm._NormBase, "reset_running_stats"),
    (nn.LayerNorm, "reset_parameters"),
    (nn.GroupNorm, "reset_parameters"),
    (nn.MultiheadAttention, "_reset_parameters"),
)
_INITIALIZERS = ("_no_grad_uniform_", "_no_grad_normal_", "_no_grad_trunc_normal_", "_no_grad_fill_", "_no_grad_zero_")
_REPLACED: Sequence[tuple[Any, str, Callable[[Any], Any]]] = (
    *((kind, name, _fill_layer) for kind, name in _RESETS),
    *((nn.init, name, _fill_tensor) for name in _INITIALIZERS),
    (nn.Module, "__setattr__", _set_attribute),
)
"""Owner, name and what takes the place of what is there."""
