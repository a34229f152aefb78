"""What is known of a study's data once they were opened: their sizes, and which arms have others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vtbench.configuration import DataConfig
from vtbench.settings import spell_setting


@dataclass(frozen=True)
class DataFacts:
    """The sizes of ``data``, as every cell will find them. ``image_size`` is (height, width) in pixels.

    ``note`` is what a user should know of them: a paragraph or two, or None. ``of_arms`` has those of arms that declare
    other data, or other limits of these.
    """

    num_train: int
    num_val: int
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    data: DataConfig
    note: str | None = None
    of_arms: Mapping[str, DataFacts] = field(default_factory=dict)

    def of(self, arm: str) -> DataFacts:
        """Those of the data that the arm has."""
        return self.of_arms.get(arm, self)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    def name_data(self, num_arms: int) -> str:
        """Which data have these sizes; where some of the ``num_arms`` have others, with what tells them from those.

        >>> one, two = (DataConfig(limit_train=count) for count in (100, 200))
        >>> other = DataFacts(200, 50, ("a", "b"), (32, 32), two)
        >>> DataFacts(100, 50, ("a", "b"), (32, 32), one, of_arms={"long": other}).name_data(2)
        'scenes, limit_train=100 (1 of 2 arms has other data or limits)'
        """
        if not self.of_arms:
            return self.data.spec
        unset, names = DataConfig(), [name for name in DataConfig.model_fields if name not in DataConfig.NOTES]
        own = [name for name in names if name != "spec" and getattr(self.data, name) != getattr(unset, name)]
        parts = (self.data.spec, *(f"{name}={spell_setting(getattr(self.data, name))}" for name in own))
        has = "has" if len(self.of_arms) == 1 else "have"
        return f"{', '.join(parts)} ({len(self.of_arms):,} of {num_arms:,} arms {has} other data or limits)"
