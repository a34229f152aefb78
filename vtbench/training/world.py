"""The processes that train one network together: a run asks its world what is shared, and is alone by default."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class World(Protocol):
    """What a process knows of the others of its run. All of them call each method, in the same order."""

    rank: int
    size: int

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports."""

    def all_sum(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The sums over all processes, by name; the given tensors stay as they are."""

    def agree(self, wish: bool) -> bool:
        """Whether any process wishes it: the same answer everywhere."""

    def barrier(self) -> None:
        """Wait until all processes are here."""


class Alone:
    """The world of a run that is one process."""

    rank, size, is_first = 0, 1, True

    def all_sum(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors themselves."""
        return tensors

    def agree(self, wish: bool) -> bool:
        """The wish itself."""
        return wish

    def barrier(self) -> None:
        """Go on."""


ALONE: World = Alone()
