"""Which values depend on the input or on chance; what parameters alone give is a constant, computed once for all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vtbench.profiling.products import identify_storage


class Reach:
    """Follows the input through a pass, by storages: views share one, and a storage written anew is judged anew."""

    def __init__(self, inputs: Iterable[Tensor]) -> None:
        self._reached = {identify_storage(tensor) for tensor in inputs if has_storage(tensor)}

    def observe(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any, *, is_view: bool, is_random: bool = False
    ) -> bool:
        """Whether an executed operator was given anything that depends on the input; its results then do.

        Random numbers are as little constants as the input is.
        """
        reached = self._reached
        found = is_random
        for value in () if is_random else args:
            if isinstance(value, Tensor):
                if not has_storage(value) or identify_storage(value) in reached:
                    found = True
                    break
            elif isinstance(value, (list, tuple)) and any(map(self.includes, value)):
                found = True
                break
        else:
            found = found or (bool(kwargs) and any(map(self.includes, kwargs.values())))
        if not is_view:
            for tensor in _results(out):
                (reached.add if found else reached.discard)(identify_storage(tensor))
        return found

    def includes(self, value: Any) -> bool:
        """Whether ``value`` is a tensor that depends on the input, as far as one can tell."""
        return isinstance(value, Tensor) and (not has_storage(value) or identify_storage(value) in self._reached)


def has_storage(tensor: Tensor) -> bool:
    """Whether the tensor lies in memory of its own; sparse and opaque ones do not."""
    return tensor.layout is torch.strided and not tensor.is_nested


def _results(out: Any) -> Iterator[Tensor]:
    if isinstance(out, Tensor):
        if has_storage(out):
            yield out
    elif isinstance(out, (list, tuple)):
        for part in out:
            yield from _results(part)
