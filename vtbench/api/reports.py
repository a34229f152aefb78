"""`report`: finished runs compared, with intervals and notes."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vtbench.errors import UserError
from vtbench.mistakes import read_path, read_paths

if TYPE_CHECKING:
    from pandas import DataFrame

    from vtbench.reporting.report import Report

_WIDTH = 100


@dataclass(frozen=True, repr=False)
class RunsReport:
    """A report that shows itself. ``content`` is what it was read from, ``folders`` the places of the runs."""

    content: Report
    folders: tuple[Path, ...]

    @property
    def table(self) -> DataFrame:
        """One row an arm: raw costs, the mean of the headline metric and its half width, the paired difference."""
        import pandas as pd

        from vtbench.reporting.tables import list_numbers

        return pd.DataFrame(
            {"comparison": number, **row}
            for number, comparison in enumerate(self.content.comparisons, 1)
            for row in list_numbers(comparison)
        )

    @property
    def notes(self) -> list[str]:
        """What a reader must know beside the table."""
        from vtbench.reporting.content import list_all_notes
        from vtbench.reporting.failures import tell_failures

        return [*list_all_notes(self.content), *tell_failures(self.content)]

    def save(self, out: str | Path | None = None) -> Path:
        """Write tables, figures and provenance into the folder ``out``, by default ``report/`` beside the runs."""
        from vtbench.reporting.rendering import default_output, save_report

        return save_report(
            self.content, read_path("out", out) if out is not None else default_output(*self.folders)
        ).folder

    def __repr__(self) -> str:
        from rich.console import Console

        from vtbench.reporting.terminal import print_report

        text, width = io.StringIO(), min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)
        print_report(self.content, Console(file=text, width=width, highlight=False, no_color=True))
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def _repr_html_(self) -> str:
        from vtbench.documents.html import to_html, to_html_notes
        from vtbench.reporting.class_tables import SCREEN
        from vtbench.reporting.content import explain_apart, list_further_tables, list_tuning_tables
        from vtbench.reporting.tables import tabulate_summary

        outline = self.content.outline
        parts = [to_html_notes(filter(None, (outline.title, outline.question)))]
        for comparison in self.content.comparisons:
            parts += [to_html_notes([explain_apart(comparison)])] if comparison.apart else []
            parts += map(
                to_html, (tabulate_summary(comparison), *list_further_tables(self.content, comparison, SCREEN))
            )
        parts += map(to_html, list_tuning_tables(self.content))
        return "".join((*parts, to_html_notes(self.notes)))


def report(*runs: str | Path | Sequence[str | Path], against: str | None = None) -> RunsReport:
    """Compare all runs beneath the folders ``runs``: studies, single runs, archived reports.

    ``against`` is the arm that differences are taken to; None takes the study's. The report shows itself; ``save``
    writes it with its figures, ``table`` is its numbers.

    Raises `vtbench.errors.UserError` where there is no run, or no arm of that name.

    >>> import vtbench
    >>> options = {"recipe": "small", "epochs": 1, "limit_train": 20, "limit_val": 10, "device": "cpu", "threads": 1}
    >>> for width in (2, 4):
    ...     run = vtbench.train(f"resnet20:width={width}", **options, progress=False)
    >>> compared = vtbench.report("runs", against="resnet20:width=2")
    >>> compared.table[["arm", "params", "n"]].to_dict("records")
    [{'arm': 'resnet20:width=2', 'params': 4492, 'n': 1}, {'arm': 'resnet20:width=4', 'params': 17326, 'n': 1}]
    >>> (compared.save("compared") / "report.md").is_file()
    True
    """
    from vtbench.reporting.report import build_report

    folders = read_paths("vtbench.report: a folder", runs)
    if not folders:
        raise UserError("Which runs? Give a folder, such as runs/components.")
    return RunsReport(build_report(*folders, base=against), folders)
