"""Tell of every call of a model's modules when it begins and when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import _has_any_global_hook

Enter = Callable[[str, nn.Module, Any, Any], None]
"""(path, module, positional arguments, keyword arguments)"""
Leave = Callable[[Any], None]
"""(output, None where the call failed)"""

_find_global_hooks: Callable[[], Any] = _has_any_global_hook


@contextmanager
def watched_calls(modules: Mapping[str, nn.Module], enter: Enter, leave: Leave) -> Iterator[None]:
    """For the time of the block, around ``forward`` of each of ``modules`` but the model itself and what is scripted.

    Hooks of a module's own run outside of its call: what they do is no part of what its class states. Hooks for this
    are set only where there are others: torch takes twice as long to call a module that has any.
    """
    paths = {id(module): path for path, module in modules.items() if path and not _is_scripted(module)}
    every: Any = nn.Module
    call_as_is = every._call_impl
    compiled = [module for module in modules.values() if id(module) in paths and module._compiled_call_impl is not None]

    def call(module: nn.Module, /, *args: Any, **kwargs: Any) -> Any:
        path = paths.get(id(module))
        if path is None:
            return call_as_is(module, *args, **kwargs)
        if _has_hooks(module):
            with _hooked(path, module, enter, leave):
                return call_as_is(module, *args, **kwargs)
        enter(path, module, args, kwargs)
        output = None
        try:
            output = module.forward(*args, **kwargs)
        finally:
            leave(output)
        return output

    with ExitStack() as hooks:
        for module in compiled:
            hooks.enter_context(_hooked(paths[id(module)], module, enter, leave))
        every._call_impl = call
        try:
            yield
        finally:
            every._call_impl = call_as_is


@contextmanager
def _hooked(path: str, module: nn.Module, enter: Enter, leave: Leave) -> Iterator[None]:
    def begin(module: nn.Module, args: Any, kwargs: Any) -> None:
        enter(path, module, args, kwargs)

    def end(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        leave(output)

    handles = (
        module.register_forward_pre_hook(begin, with_kwargs=True),
        module.register_forward_hook(end, prepend=True, with_kwargs=True, always_call=True),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _has_hooks(module: nn.Module) -> bool:
    own = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return bool(own or _find_global_hooks())


def _is_scripted(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)
