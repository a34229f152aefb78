"""The grid of a study: arms down, seeds across, in each cell the headline metric or how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rich.console import Group, RenderableType
from rich.text import Text

from vtbench.documents.table import NOTHING, escape_controls
from vtbench.documents.terminal import lay_out_live
from vtbench.metrics import METRICS
from vtbench.records import RunRecord
from vtbench.studies.cells import Cell, ResolvedStudy
from vtbench.units import format_duration, format_items

_WIDEST_GRID = 6


@dataclass(frozen=True)
class StudyGrid:
    """A study at one moment. ``records`` are of the cells that ended, ``parts`` of those under way, from 0 to 1.

    ``place`` is the folder of the study, where it is to be told from others.
    """

    study: ResolvedStudy
    cells: Sequence[Cell]
    records: Mapping[Path, RunRecord]
    parts: Mapping[Path, float]
    seconds_left: float | None
    place: Path | None = None

    def render(self) -> RenderableType:
        """A title and the grid; only numbers of cells and means where seeds are many."""
        done = sum(record.status == "finished" for record in self.records.values())
        failed = len(self.records) - done
        title = f"{self.study.name}{', tuning' if self._tunes else ''}: "
        title += f"{done} of {format_items(len(self.cells), 'cell')} done"
        title += f", {failed} failed" if failed else ""
        title += f", {format_duration(self.seconds_left)} left" if self.seconds_left else ""
        title += f", in {escape_controls(str(self.place))}" if self.place is not None else ""
        return Group(Text(title, style="bold"), self._render_grid(), Text(""))

    @property
    def _tunes(self) -> bool:
        return any(cell.config.trial is not None for cell in self.cells)

    def _render_grid(self) -> RenderableType:
        wide = self.study.seeds > _WIDEST_GRID or self._tunes
        columns = ("done", "mean") if wide else [f"seed {seed}" for seed in range(self.study.seeds)]
        rows = []
        of_arms: dict[str, list[Cell]] = {}
        for cell in self.cells:
            of_arms.setdefault(cell.arm, []).append(cell)
        for arm, cells in of_arms.items():
            rows.append([arm, *(self._sum_up(cells) if wide else [self._show_cell(cell) for cell in cells])])
        return lay_out_live((f"val {METRICS[self.study.task][0].unit}", *columns), rows)

    def _show_cell(self, cell: Cell) -> str:
        record = self.records.get(cell.folder)
        if record is not None:
            return show_headline(record)
        return f"{100 * self.parts[cell.folder]:.0f} %…" if cell.folder in self.parts else "·"

    def _sum_up(self, cells: list[Cell]) -> list[str]:
        records = [self.records[cell.folder] for cell in cells if cell.folder in self.records]
        known = [value for record in records if isinstance(value := record.headline, float)]
        return [f"{len(known)}/{len(cells)}", records[0].metric.format(fmean(known)) if known else NOTHING]


def show_headline(record: RunRecord) -> str:
    """The value of a record's headline metric, or that it failed."""
    return record.metric.format(record.headline) if isinstance(record.headline, float) else "failed"
