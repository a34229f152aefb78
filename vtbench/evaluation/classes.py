"""The classes of a network and those of other data: matched by name, or refused with the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtbench.datasets.augmentation import Augmentation, AugmentationDraws
from vtbench.datasets.batches import Targets
from vtbench.datasets.dataset import ImageDataset
from vtbench.errors import UserError

# B images of a batch, K classes.

_MOST_NAMED = 5


def match_classes(of_network: Sequence[str], of_data: Sequence[str], *, data: str) -> NDArray[np.int64]:
    """For each class of the data its number in the network, (K,). Raises ``UserError`` unless both name the same."""
    differences = [
        f"only {whose} {'has' if whose.startswith('the') else 'have'} {_list(names)}"
        for whose, names in (
            ("the network", [name for name in of_network if name not in of_data]),
            (data, [name for name in of_data if name not in of_network]),
        )
        if names
    ]
    if differences:
        raise UserError(
            f"The data {data} have other classes than the network was trained on: {' and '.join(differences)}. Classes "
            "are matched by their names, in any order. Give data of the same classes, or name them alike."
        )
    return np.array([list(of_network).index(name) for name in of_data], np.int64)


@dataclass(frozen=True)
class RenumberedTargets:
    """``targets`` whose classes get the ``numbers`` (K,); what is no class stays what it is."""

    targets: Targets
    numbers: NDArray[np.int64]

    def read_targets(self, data: ImageDataset, indices_B: NDArray[np.int64]) -> NDArray[Any]:
        """What networks are trained with."""
        return self._renumber(self.targets.read_targets(data, indices_B))

    def transform_targets(
        self, targets: NDArray[Any], augmentation: Augmentation, draws: AugmentationDraws
    ) -> NDArray[Any]:
        """As the targets do."""
        return self.targets.transform_targets(targets, augmentation, draws)

    def read_truth(self, data: ImageDataset, indices_B: NDArray[np.int64]) -> NDArray[Any]:
        """What answers are judged by."""
        return self._renumber(self.targets.read_truth(data, indices_B))

    def _renumber(self, classes: NDArray[Any]) -> NDArray[Any]:
        known = (classes >= 0) & (classes < len(self.numbers))
        renumbered = classes.copy()
        renumbered[known] = self.numbers[classes[known]]
        return renumbered


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(repr, names[:_MOST_NAMED])) + more
