"""How many numbers a model holds, and how many a training step keeps between forward and backward pass.

Each is counted once, however many modules share it, and nothing is allocated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from vtbench.profiling.arguments import Arguments
from vtbench.profiling.shortcuts import Shortcuts
from vtbench.profiling.walking import Contents
from vtbench.records.profile import ActivationCount, ParameterCount


def count_parameters(contents: Contents) -> ParameterCount:
    """Count the parameters and buffers of a model; one that appears twice, or as a view of another, counts once."""
    seen: set[object] = set()
    numbers: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for parameter in unique_tensors(contents.parameters.values(), seen):
        numbers["trainable" if parameter.requires_grad else "frozen"] += parameter.numel()
        size[str(parameter.dtype).removeprefix("torch.")] += parameter.numel() * parameter.element_size()
    for buffer in unique_tensors(contents.buffers, seen):
        numbers["buffers"] += buffer.numel()
        size[str(buffer.dtype).removeprefix("torch.")] += buffer.numel() * buffer.element_size()
    return ParameterCount(
        trainable=numbers["trainable"],
        frozen=numbers["frozen"],
        buffers=numbers["buffers"],
        bytes_by_dtype=dict(sorted(size.items())),
    )


def find_idle_parameters(contents: Contents, used: Set[int]) -> tuple[int, tuple[str, ...]]:
    """How many numbers of a model no operator took, and the parts that hold them: the outermost wholly idle modules.

    ``used`` are identities of parameters. A parameter under two names is one.
    """
    idle = {name: parameter for name, parameter in contents.parameters.items() if id(parameter) not in used}
    if not idle:
        return 0, ()
    busy: set[str] = set()
    for name, parameter in contents.model.named_parameters(remove_duplicate=False):
        if id(parameter) in used:
            busy.update(_list_prefixes(name))
    parts = {next((prefix for prefix in _list_prefixes(name) if prefix not in busy), name): None for name in idle}
    return sum(parameter.numel() for parameter in unique_tensors(idle.values(), set())), tuple(parts)


def _list_prefixes(name: str) -> list[str]:
    """The paths of the modules around a parameter, from the outermost."""
    places = [place for place, letter in enumerate(name) if letter == "."]
    return [name[:place] for place in places]


def measure_activations(contents: Contents, arguments: Arguments) -> ActivationCount:
    """Run a forward pass of a model and count what automatic differentiation saves, each memory block once."""
    own: set[object] = set()
    for _ in unique_tensors(contents.list_tensors(), own):
        pass
    own_storages = {key[0] if isinstance(key, tuple) else key for key in own}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in own_storages:
            kept.setdefault(storage, tensor)
        return tensor

    with torch.enable_grad(), Shortcuts(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = arguments.call(contents.model)
    sizes = [(int(tensor.untyped_storage().nbytes()), tensor.element_size()) for tensor in kept.values()]
    del outputs
    return ActivationCount(
        elements=sum(num_bytes // width for num_bytes, width in sizes),
        bytes=sum(num_bytes for num_bytes, _ in sizes),
        tensors=len(sizes),
    )


def unique_tensors(tensors: Iterable[Tensor], seen: set[object]) -> Iterable[Tensor]:
    """Those of ``tensors`` whose memory is not in ``seen`` yet; adds it."""
    for tensor in tensors:
        if is_lazy(tensor):
            continue
        key = _identify(tensor)
        if key not in seen:
            seen.add(key)
            yield tensor


def _identify(tensor: Tensor) -> object:
    """What two names for the same numbers have in common: their storage and the extent of it, whatever the shape."""
    try:
        return tensor.untyped_storage()._cdata, tensor.storage_offset(), tensor.numel()
    except (RuntimeError, NotImplementedError):  # Sparse and opaque tensors have no storage.
        return id(tensor)
