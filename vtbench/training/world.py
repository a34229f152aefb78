"""The processes that train one network together: a run asks its world what is shared, and is alone by default."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer


class World:
    """The world of a run that is one process. One of several overrides what it says; all call in one order."""

    rank = 0
    size = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def all_sum(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The sums over all processes, by name; the given tensors stay as they are. A process may lack some."""
        return tensors

    def sum_counts(self, counts: Sequence[int]) -> list[int]:
        """The sum of each whole number over all processes. Nothing waits for the device."""
        return list(counts)

    def agree(self, *wishes: bool) -> list[bool]:
        """Of each wish, whether any process has it: the same answers everywhere."""
        return [count > 0 for count in self.sum_counts([int(wish) for wish in wishes])]

    def share(self, value: Any) -> Any:
        """What the first process gives; the others give nothing."""
        return value

    def gather(self, value: Any) -> list[Any]:
        """What each process gives, in their order."""
        return [value]

    def collect(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """In the first process those of all, which have no name in common; nothing in the others."""
        return tensors

    def barrier(self) -> None:
        """Wait until all processes are here."""

    def together(self) -> AbstractContextManager[Any]:
        """A block that all processes do, or none: a ``UserError`` in one of them is raised in all."""
        return nullcontext()

    def find_cause(self, error: Exception) -> Exception:
        """What ``error`` comes from, which may be another process."""
        return error

    def parallelize(self, model: nn.Module) -> nn.Module:
        """``model`` as it is called in training: its gradients are the sums of those of all processes."""
        return model

    def share_out(self, kind: type[Optimizer], groups: list[dict[str, Any]], **settings: Any) -> Optimizer:
        """An optimiser of ``kind`` whose state is in parts, one in each process; its steps are those of one."""
        return kind(groups, **settings)

    def keep_gradients(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Inside, gradients of what `parallelize` gave are added up in this process only, until the next step."""
        return nullcontext()

    def normalize(self, *, is_real: bool = True) -> AbstractContextManager[Any]:
        """Inside, batch normalisation takes the statistics of all processes; of this one only if ``is_real``."""
        return nullcontext()

    def align_buffers(self, model: nn.Module) -> None:
        """Give all processes the buffers of the first, such as running statistics."""


ALONE = World()
