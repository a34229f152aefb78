"""The processes that train one network together: a run asks its world what is shared, and is alone by default."""

from __future__ import annotations

from torch import Tensor


class World:
    """The world of a run that is one process. One of several overrides what it says; all call in one order."""

    rank = 0
    size = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def all_sum(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The sums over all processes, by name; the given tensors stay as they are."""
        return tensors

    def agree(self, wish: bool) -> bool:
        """Whether any process wishes it: the same answer everywhere."""
        return wish

    def barrier(self) -> None:
        """Wait until all processes are here."""


ALONE = World()
