"""How each arm responds to the settings that were tuned: the score of its trials against each of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vtbench.reporting.figures.figure import FIGURES, Figure, title_drawing
from vtbench.reporting.legends import explain_responses
from vtbench.reporting.style import INK, LINES, Head, fit_columns, shorten_arm
from vtbench.reporting.tuning import Trial, TunedArm, Tuning, find_tuning, shorten
from vtbench.settings import spell_setting
from vtbench.units import format_items

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

    from vtbench.reporting.report import Report

TITLE = "Response to what was tuned"
_WIDEST_RATIO = 10
_MOST_TICKS = 10
_STAR_POINTS = 9.5
"""How wide a star is, in points."""
_EXACT = 1e-9


def draw_responses(report: Report, index: int) -> Drawing | None:
    """A panel a setting, a line an arm: the best trial at each value; runs as dots, the chosen one as a star."""
    tuning = find_tuning(report) if index == 0 else None
    if tuning is None:
        return None
    keys = list(tuning.config.settings)
    length = f" after {format_items(tuning.config.epochs, 'epoch')}" if tuning.config.epochs is not None else ""
    held_out = f"{100 * tuning.config.held_out:g} % of the training split{length}"
    star = "; star: chosen, side by side where two would meet" if any(map(_find_star, tuning.arms)) else ""
    head = Head(
        title_drawing(report, index, f"{TITLE[0].lower()}{TITLE[1:]}"),
        f"line: best trial at each value; dots: single runs, validated on {held_out}{star}",
    )
    per_line = fit_columns([arm.name for arm in tuning.arms])
    legend = 0.17 * math.ceil(len(tuning.arms) / per_line) + 0.1
    drawing = head.open(2.2 * len(keys) + legend)
    panels = drawing.subplots(len(keys), 1, squeeze=False)[:, 0]
    kept: list[dict[Any, float]] = []
    for key, axes in zip(keys, panels, strict=True):
        places = _set_axis(axes, tuning, key)
        for number, arm in enumerate(tuning.arms):
            _draw_arm(axes, arm, key, places, *LINES[number % len(LINES)])
        kept.append(places)
        axes.set_ylabel(f"trials: {tuning.metric.axis}")
    handles, names = panels[0].get_legend_handles_labels()
    drawing.legend(handles, names, loc="outside lower center", ncols=per_line, labelcolor=INK)
    drawing.draw_without_rendering()  # Where a star would meet another is known once the panels have their sizes.
    for key, axes, places in zip(keys, panels, kept, strict=True):
        _draw_stars(axes, tuning.arms, key, places)
    return drawing


def _set_axis(axes: Axes, tuning: Tuning, key: str) -> dict[Any, float]:
    """Where each value stands: at itself, or one beside the other where values are no numbers."""
    from matplotlib.ticker import NullLocator

    values = sorted(
        {trial.values[key] for arm in tuning.arms for trial in arm.trials}, key=lambda one: (str(type(one)), one)
    )
    axes.set_xlabel(shorten(key))
    numbers = [one for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(numbers) < len(values):
        axes.set_xticks(range(len(values)), [spell_setting(value) for value in values])
        return {value: float(place) for place, value in enumerate(values)}
    if min(numbers) > 0 and max(numbers) >= _WIDEST_RATIO * min(numbers):
        axes.set_xscale("log")
    if len(values) <= _MOST_TICKS and isinstance(tuning.config.settings[key], tuple):
        axes.set_xticks(numbers, [f"{value:g}" for value in numbers])
        axes.xaxis.set_minor_locator(NullLocator())
    return {value: float(value) for value in values}


def _draw_arm(axes: Axes, arm: TunedArm, key: str, places: dict[Any, float], color: str, dashes: Any) -> None:
    means = [(places[trial.values[key]], trial.mean) for trial in arm.trials if trial.mean is not None]
    if not means:
        return
    crest = {across: max(up for place, up in means if place == across) for across, _ in means}
    name = shorten_arm(arm.name)
    axes.plot(
        *zip(*sorted(crest.items()), strict=True), color=color, linestyle=dashes, linewidth=1.2, label=name, zorder=2
    )
    runs = [
        (places[one.values[key]], score) for one in arm.trials for score in one.scores.values() if score is not None
    ]
    across, up = zip(*runs, strict=True)
    axes.scatter(across, up, color=color, s=7, alpha=0.6, linewidths=0, zorder=2.5)


def _draw_stars(axes: Axes, arms: Sequence[TunedArm], key: str, places: dict[Any, float]) -> None:
    """The chosen trial of each arm, at its score, and beside its value where a star of an arm before it stands."""
    from matplotlib.transforms import ScaledTranslation

    drawing, rim = axes.get_figure(root=True), axes.get_window_extent()
    stars = [
        (places[star.values[key]], star.mean, LINES[number % len(LINES)][0])
        for number, arm in enumerate(arms)
        if (star := _find_star(arm)) is not None and star.mean is not None
    ]
    if drawing is None or not stars:
        return
    pixels = [tuple(map(float, axes.transData.transform(star[:2]))) for star in stars]
    aside = set_apart(pixels, _STAR_POINTS * drawing.dpi / 72, (float(rim.x0), float(rim.x1)))
    for (across, up, color), shift in zip(stars, aside, strict=True):
        moved = axes.transData + ScaledTranslation(shift / drawing.dpi, 0, drawing.dpi_scale_trans)
        axes.scatter(
            [across], [up], color=color, s=80, marker="*", edgecolors="white", zorder=3, transform=moved, clip_on=False
        )


def set_apart(points: Sequence[tuple[float, ...]], gap: float, room: tuple[float, float]) -> list[float]:
    """How far each of ``points`` (x, y) goes aside so that no two are nearer than ``gap`` both across and up.

    The first of those that meet stays, the others stand right and left of it, as near as there is room between the
    two ends of ``room``; a point for which there is none stays where it is.
    """
    taken: list[tuple[float, float]] = []
    shifts: list[float] = []
    for across, up in points:
        level = [other for other, height in taken if abs(height - up) < gap]
        free = (
            shift
            for shift in sorted(
                {0.0, *(other + side - across for other in level for side in (gap, -gap))}, key=_nearest
            )
            if all(abs(across + shift - other) >= gap * (1 - _EXACT) for other in level)
            and (shift == 0 or room[0] <= across + shift <= room[1])
        )
        shifts.append(next(free, 0.0))
        taken.append((across + shifts[-1], up))
    return shifts


def _nearest(shift: float) -> tuple[float, bool]:
    return abs(shift), shift < 0


def _find_star(arm: TunedArm) -> Trial | None:
    """The trial that was chosen, if it is better than all others."""
    return arm.best if arm.best is not None and arm.best.mean is not None and arm.is_told_apart else None


FIGURES.add("response_curves", Figure(title=TITLE, draw=draw_responses, below=True, explain=explain_responses))
