"""The examples of a comparison as tiles of a figure: what to show of which arm, in which colours."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vtbench.metrics import PIXEL_ACCURACY, Metric
from vtbench.palettes import VOID_COLOUR, Colour, find_palette
from vtbench.records.examples import Example, Examples
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.example_figure import Entry, Tile
from vtbench.reporting.example_pictures import WRONG, find_maps, show_classes, show_errors, show_tokens
from vtbench.reporting.report import Report
from vtbench.reporting.runs import identify_run
from vtbench.reporting.token_figure import choose_doublings
from vtbench.stats.estimates import Estimate

_MOST_ENTRIES = 24
"""Of a legend; of more classes those with the most pixels are in it."""
_MOST_ARMS = 8
"""Of more arms the reference and the best are shown, or the best alone where it kept no examples."""
_VOID = 255


@dataclass(frozen=True)
class ShownExamples:
    """The examples of the arms of one comparison, all of one seed. ``without`` names finished arms that kept none.

    ``num_left_out`` are further arms that no figure has room for; ``has_base`` whether the reference is shown.
    """

    arms: tuple[tuple[str, Examples], ...]
    without: tuple[str, ...]
    class_names: tuple[str, ...]
    palette: tuple[Colour, ...]
    metric: Metric
    seed: int
    num_left_out: int = 0
    has_base: bool = True

    @cached_property
    def doublings(self) -> int:
        """The end of the key of attention for all maps that are kept; 0 where no arm has tokens."""
        kept = [find_maps(one) for _, examples in self.arms for one in examples.examples]
        maps = [map_hw for maps_Lhw in kept if maps_Lhw is not None for map_hw in maps_Lhw]
        return choose_doublings(maps) if maps else 0

    def show_image(self, one: Example, title: str) -> Tile:
        """The image as the network saw it."""
        return Tile(title, one.image, smooth=True)

    def show_truth(self, one: Example) -> Tile:
        """Its truth."""
        return Tile("truth", show_classes(one.truth, self.palette))

    def show_answer(self, arm: str, one: Example) -> list[Tile]:
        """What an arm says of it, and where that is wrong."""
        score, right = one.note.outcome.get(self.metric.key), one.note.outcome.get(PIXEL_ACCURACY.key)
        judged = "all is void" if score is None else f"{self.metric.label} {self.metric.show(score, digits=1)}"
        wrong = "" if right is None else f"\n{100 - right:.1f} %"
        return [
            Tile(f"{' '.join(arm.splitlines())}\n{judged}", show_classes(one.prediction, self.palette)),
            Tile(f"errors{wrong}", show_errors(one)),
        ]

    def show_tokens(self, one: Example) -> list[Tile]:
        """Where its tokens look; nothing for an arm without tokens."""
        maps_Lhw = find_maps(one)
        if maps_Lhw is None:
            return []
        shown = f"{len(maps_Lhw)} tokens" if len(maps_Lhw) > 1 else "a token"
        return [Tile(f"{shown}\nfinest map", show_tokens(one.image, maps_Lhw, self.doublings), smooth=True)]

    def list_legend(self, shown: Iterable[Example]) -> list[Entry]:
        """The classes that ``shown`` have in truth or prediction, void, and what errors look like."""
        pixels = np.zeros(_VOID + 1, np.int64)
        for one in shown:
            for mask_YX in (one.truth, one.prediction):
                pixels += np.bincount(mask_YX.ravel(), minlength=_VOID + 1)
        present = [number for number in range(len(self.palette)) if pixels[number]]
        largest = sorted(sorted(present, key=lambda number: -pixels[number])[:_MOST_ENTRIES])
        legend = [Entry(self.class_names[number], self.palette[number]) for number in largest]
        if pixels[_VOID]:
            legend.append(Entry("void", VOID_COLOUR))
        legend.append(Entry("wrong (errors)", WRONG))
        if len(present) > len(largest):
            legend.append(Entry(f"and {len(present) - len(largest)} classes more", VOID_COLOUR))
        return legend

    def describe(self, what: str, *, tokens: bool) -> str:
        """The caption of a figure that shows ``what``, with maps of ``tokens`` or without."""
        maps = " Tokens: where they look, red more and blue less than uniform attention would." if tokens else ""
        without = f" No examples were kept of {', '.join(self.without)}." if self.without else ""
        kept = "the reference and the best" if self.has_base else f"the {len(self.arms)} best"
        rest = f" Of {len(self.arms) + self.num_left_out} arms {kept}." if self.num_left_out else ""
        return f"Seed {self.seed}. {what}{rest} Errors: wrong pixels over the image, void in white.{maps}{without}"


def find_shown(report: Report, index: int) -> ShownExamples | None:
    """What is to be shown of the comparison ``index``; None where no run of it kept examples."""
    comparison = report.comparisons[index]
    arms, without, shown = [], [], []
    for arm, runs in zip(comparison.arms, comparison.runs, strict=True):
        kept = [record for record in runs.values() if identify_run(record) in report.examples]
        if kept:
            arms.append((arm.name, report.examples[identify_run(kept[0])]))
            shown.append(kept[0])
        elif any(record.status == "finished" for record in runs.values()):
            without.append(arm.name)
    if not shown:
        return None
    names = tuple(comparison.name_class(number) for number in range(shown[0].num_classes))
    palette = find_palette(names, shown[0].config.data.spec)
    kept_arms = _choose_arms(arms, comparison)
    return ShownExamples(
        kept_arms,
        tuple(without),
        names,
        palette,
        comparison.metric,
        shown[0].seed,
        num_left_out=len(arms) - len(kept_arms),
        has_base=any(name == comparison.base for name, _ in kept_arms),
    )


def _choose_arms(arms: Sequence[tuple[str, Examples]], comparison: Comparison) -> tuple[tuple[str, Examples], ...]:
    """All, or of many the base, if it kept examples, and those of the best means, in the order of the table."""
    means = {
        arm.name: comparison.metric.rank(arm.mean.mean) for arm in comparison.arms if isinstance(arm.mean, Estimate)
    }
    others = sorted((name for name, _ in arms if name != comparison.base), key=lambda name: -means.get(name, -math.inf))
    base = [name for name, _ in arms if name == comparison.base]
    chosen = [*base, *others][:_MOST_ARMS]
    return tuple(one for one in arms if one[0] in chosen)


def break_rows(lead: Sequence[Tile], groups: Sequence[Sequence[Tile]]) -> list[list[Tile | None]]:
    """A group a row, after the first column, which has the tiles of ``lead`` from the top; all rows are as wide."""
    widest = max(map(len, groups))
    return [
        [first, *(group or ()), *[None] * (widest - len(group or ()))]
        for first, group in itertools.zip_longest(lead, groups)
    ]
