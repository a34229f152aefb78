"""The most memory that a forward pass needs at one moment."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter

from vtbench.profiling.shortcuts import DispatchMode
from vtbench.records import NotMeasured


def measure_peak_memory(model: nn.Module, inputs: Sequence[Any], device: torch.device) -> int | NotMeasured:
    """Bytes at the peak of one pass in evaluation: weights, input and the tensors alive together.

    On CUDA the allocator says. On the CPU tensors are followed from operator to operator, so what a kernel allocates
    and frees inside itself is not seen.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        with torch.no_grad():
            model(*inputs)
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device))
    if device.type != "cpu":
        return NotMeasured(reason=f"torch tells no peak of memory on {device.type}")
    meter = _MemoryMeter()
    for tensor in (*model.parameters(), *model.buffers(), *(x for x in tree_iter(tuple(inputs)) if _has_memory(x))):
        meter.hold(tensor)
    with torch.no_grad(), meter:
        model(*inputs)
    return meter.peak


def _has_memory(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout is torch.strided


class _MemoryMeter(DispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages of tensors while they live."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = 0
        self.peak = 0
        self._held: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and hold what it returns."""
        out = func(*args, **(kwargs or {}))
        for tensor in tree_iter(out):
            if _has_memory(tensor):
                self.hold(tensor)
        return out

    def hold(self, tensor: Tensor) -> None:
        """Count the memory of ``tensor`` until it is freed."""
        storage = tensor.untyped_storage()
        if storage._cdata in self._held:
            return
        self._held.add(storage._cdata)
        self.alive += storage.nbytes()
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._release, storage._cdata, storage.nbytes())

    def _release(self, key: int, num_bytes: int) -> None:
        self._held.discard(key)
        self.alive -= num_bytes
