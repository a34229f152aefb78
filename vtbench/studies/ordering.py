"""In which order cells begin: the longest of a seed first, so that at the end none runs long beside idle cores."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from vtbench.errors import UserError
from vtbench.studies.cells import Cell
from vtbench.studies.data_facts import DataFacts
from vtbench.studies.probe import weigh_images

MOST_COUNTED = 32
"""Of so many networks the MACs are counted, which takes each some tenths of a second; of more the order is left."""


def put_longest_first(cells: Sequence[Cell], facts: DataFacts) -> list[Cell]:
    """``cells`` with those of the most MACs (of an image, times images and epochs) first among those of a seed.

    Seeds, and trials of tuning, stay in their order, so that what is done at any time compares every arm. A network
    that cannot be counted comes last.
    """
    networks = {_describe(cell, facts) for cell in cells}
    if len(networks) > MOST_COUNTED:
        return list(cells)
    macs = {network: _count(*network) for network in networks}

    def weigh(cell: Cell) -> int:
        return macs[_describe(cell, facts)] * weigh_images(facts.of(cell.arm)) * cell.config.recipe.epochs

    turns = groupby(cells, key=lambda cell: (cell.config.trial, cell.config.seed))
    return [cell for _, of_turn in turns for cell in sorted(of_turn, key=weigh, reverse=True)]


def _describe(cell: Cell, facts: DataFacts) -> tuple[str, tuple[int, int], int]:
    """What the MACs of an image depend on."""
    seen = facts.of(cell.arm)
    return cell.config.spelling, seen.image_size, seen.num_classes


def _count(variant: str, image_size: tuple[int, int], num_classes: int) -> int:
    import vtbench.models  # noqa: F401  (fills the registry)
    from vtbench.profiling import count_costs

    try:
        return count_costs(variant, image_size, num_classes).macs
    except UserError:
        return 0
