"""What a training step keeps in memory between forward and backward pass, without allocating it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vtbench.profiling.parameters import unique_tensors
from vtbench.profiling.shortcuts import Shortcuts
from vtbench.records.profile import ActivationCount


def measure_activations(model: nn.Module, inputs: Sequence[Any]) -> ActivationCount:
    """Run a forward pass in training mode and count what automatic differentiation saves, each memory block once."""
    own: set[object] = set()
    for _ in unique_tensors((*model.parameters(), *model.buffers()), own):
        pass
    own_storages = {key[0] if isinstance(key, tuple) else key for key in own}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in own_storages:
            kept.setdefault(storage, tensor)
        return tensor

    with torch.enable_grad(), Shortcuts(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = model(*inputs)
    sizes = [(int(tensor.untyped_storage().nbytes()), tensor.element_size()) for tensor in kept.values()]
    del outputs
    return ActivationCount(
        elements=sum(num_bytes // width for num_bytes, width in sizes),
        bytes=sum(num_bytes for num_bytes, _ in sizes),
        tensors=len(sizes),
    )
