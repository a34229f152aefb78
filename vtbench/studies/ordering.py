"""In which order cells begin: the longest of a seed first, so that at the end none runs long beside idle cores."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from vtbench.errors import UserError
from vtbench.studies.cells import Cell
from vtbench.studies.data_facts import DataFacts
from vtbench.studies.inspection import MOST_COUNTED, Inspector, Network
from vtbench.studies.probe import weigh_images


def put_longest_first(cells: Sequence[Cell], facts: DataFacts, inspector: Inspector) -> list[Cell]:
    """``cells`` with those of the most MACs (of an image, times images and epochs) first among those of a seed.

    Seeds, and trials of tuning, stay in their order, so that what is done at any time compares every arm. A network
    that cannot be counted comes last; of more than `MOST_COUNTED` networks the order is left.
    """
    networks = {_describe(cell, facts) for cell in cells}
    if len(networks) > MOST_COUNTED:
        return list(cells)
    macs = {network: _count(network, inspector) for network in networks}

    def weigh(cell: Cell) -> int:
        return macs[_describe(cell, facts)] * weigh_images(facts.of(cell.arm)) * cell.config.recipe.epochs

    turns = groupby(cells, key=lambda cell: (cell.config.trial, cell.config.seed))
    return [cell for _, of_turn in turns for cell in sorted(of_turn, key=weigh, reverse=True)]


def _describe(cell: Cell, facts: DataFacts) -> Network:
    seen = facts.of(cell.arm)
    return cell.config.spelling, seen.image_size, seen.num_classes


def _count(network: Network, inspector: Inspector) -> int:
    try:
        return inspector.count(*network).macs
    except UserError:
        return 0
