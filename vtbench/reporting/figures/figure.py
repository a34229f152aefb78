"""What a figure of a report is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtbench.registry import Registry

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure as Drawing

    from vtbench.reporting.report import Report


@dataclass(frozen=True)
class Figure:
    """One kind of figure, of which a report has at most one a comparison. ``title`` is its alternative text.

    It stands above the tables, or below them under a heading of its title if it is ``below``. ``draw`` gets the report
    and the place of the comparison in it, and gives None where there is nothing to draw. It is called inside
    `house_style`. ``chart`` draws it for the page, as SVG in the page's colours; without one the page shows its image,
    an SVG, or a JPEG of one that is made of ``pictures``. One that has to be ``asked`` for stands on the page only,
    unless all figures are wanted as files. ``explain`` says what its marks stand for, which is shown beside it.
    """

    title: str
    draw: Callable[[Report, int], Drawing | None]
    below: bool = False
    chart: Callable[[Report, int], Markup | None] | None = None
    asked: bool = False
    explain: Callable[[Report, int], str] | None = None
    pictures: bool = False


def title_drawing(report: Report, index: int, what: str = "") -> str:
    """What stands above a figure: the title of its report, what it shows, and of which comparison but the first."""
    return report.outline.title + (f": {what}" if what else "") + (f", comparison {index + 1}" if index else "")


FIGURES: Registry[Figure] = Registry("figure")
"""By name, which is that of the files: ``NAME.svg`` of the first comparison, ``NAME_2.svg`` of the second."""
