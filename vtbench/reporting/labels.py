"""Labels beside points so that nothing overlaps: a deterministic search over positions around each point.

Every label tries the positions on rings around its point. A position costs for what it covers (other labels, points,
lines, the rim of the plot) and for its distance. Labels are placed one after the other, the most crowded first, and
then moved in turn as long as one can do better. A label that stands away from its point gets a thin leader.
Coordinates of the search are pixels; a box is (left, bottom, right, top).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vtbench.reporting.style import MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Dimensions: N labels, M points, K positions tried for a label, O obstacles; a box has 4 numbers.
Floats = NDArray[np.float64]
Box = tuple[float, float, float, float]

RINGS_PX = (7.0, 13.0, 22.0, 34.0, 50.0, 70.0, 95.0)
ANGLES_DEG = (0, 90, 270, 180, 45, 315, 135, 225, 22.5, 337.5, 67.5, 292.5, 112.5, 247.5, 157.5, 202.5)
POINT_RADIUS_PX = 5.0
_OVERLAP, _RIM, _LINE, _LEADER, _DISTANCE, _TURN = 1000.0, 4000.0, 150.0, 400.0, 1.0, 0.15
_TOUCH, _TANGLE = 0.3, 80.0
_LEADER_FROM_PX = 20.0
_BREAK_AFTER = 22
_LINE_SPACING = 1.1


@dataclass(frozen=True)
class Placement:
    """Where a label went. ``distance_px`` is from the point to the nearest edge of the label's box."""

    box: tuple[float, float, float, float]
    distance_px: float


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    bounds: tuple[float, float, float, float],
    obstacles: Sequence[tuple[float, float, float, float]] = (),
    *,
    unlabelled: Sequence[tuple[float, float]] = (),
    sweeps: int = 12,
) -> list[Placement]:
    """One placement for each of the N ``points``, whose labels have the ``sizes`` (width, height).

    ``bounds`` is the box that labels should stay in; ``obstacles`` are boxes better not covered, such as error bars and
    pieces of lines, and ``unlabelled`` are points without a label. Equal input gives equal output. The time grows with
    the square of N, and with the number of ``unlabelled`` points times N.
    """
    if not points:
        return []
    centres_N2 = np.asarray(points, dtype=np.float64)
    spots_M2 = np.asarray([*points, *unlabelled], dtype=np.float64)
    markers_M4 = np.concatenate([spots_M2 - POINT_RADIUS_PX, spots_M2 + POINT_RADIUS_PX], axis=1)
    lines_O4 = np.asarray(obstacles, dtype=np.float64).reshape(-1, 4)
    tried = [_list_positions(centre, size) for centre, size in zip(centres_N2, sizes, strict=True)]
    fixed = [
        _overlap(boxes, markers_M4) * _OVERLAP
        + _overlap(boxes, lines_O4) * _LINE
        + _outside(boxes, bounds) * _RIM
        + distances * _DISTANCE
        + np.arange(len(boxes)) % len(ANGLES_DEG) * _TURN
        + _cross(centres_N2[index], boxes, np.delete(markers_M4, index, axis=0)) * _LEADER
        for index, (boxes, distances) in enumerate(tried)
    ]
    chosen = _search(centres_N2, tried, fixed, sweeps)
    return [
        Placement((box[0], box[1], box[2], box[3]), float(tried[index][1][choice]))
        for index, choice in enumerate(chosen)
        for box in [tried[index][0][choice].tolist()]
    ]


def _search(centres_N2: Floats, tried: list[tuple[Floats, Floats]], fixed: list[Floats], sweeps: int) -> list[int]:
    order = sorted(range(len(tried)), key=lambda index: (-float(np.sort(fixed[index])[:8].mean()), index))
    chosen: dict[int, int] = {}
    for sweep in range(sweeps):
        moved = False
        for index in order:
            boxes, _ = tried[index]
            others = [other for other in chosen if other != index]
            taken_O4 = np.array([tried[other][0][chosen[other]] for other in others]).reshape(-1, 4)
            cost = fixed[index] + _overlap(boxes, taken_O4) * _OVERLAP
            cost = cost + _cross(centres_N2[index], boxes, taken_O4) * _LEADER
            for other in others:  # Leaders of the other labels should not run through this one.
                box_4 = tried[other][0][chosen[other]]
                cost = cost + _pierced(boxes, centres_N2[other], box_4) * _LEADER
                cost = cost + _tangled(centres_N2[index], boxes, centres_N2[other], box_4) * _TANGLE
            best = int(np.argmin(cost))
            moved |= chosen.get(index) != best
            chosen[index] = best
        if sweep and not moved:
            break
    return [chosen[index] for index in range(len(tried))]


def _list_positions(centre_2: Floats, size: tuple[float, float]) -> tuple[Floats, Floats]:
    """Boxes (K, 4) whose nearest edge or corner lies on a ring around the point, and the radius of the ring (K,)."""
    boxes, distances = [], []
    for radius in RINGS_PX:
        for angle in np.deg2rad(ANGLES_DEG):
            across, up = float(np.cos(angle)), float(np.sin(angle))
            half = np.asarray(size) / 2
            leaning = np.clip(np.array([across, up]) * np.sqrt(2), -1, 1)
            middle = centre_2 + np.array([across, up]) * radius + leaning * half
            boxes.append(np.concatenate([middle - half, middle + half]))
            distances.append(radius)
    return np.array(boxes), np.array(distances)


def _overlap(boxes_K4: Floats, others_O4: Floats) -> Floats:
    """How much of each box the others cover, as a part of its own area; plus `_TOUCH` for each that touches it."""
    if not len(others_O4):
        return np.zeros(len(boxes_K4))
    low = np.maximum(boxes_K4[:, None, :2], others_O4[None, :, :2])
    high = np.minimum(boxes_K4[:, None, 2:], others_O4[None, :, 2:])
    shared_KO2 = np.clip(high - low, 0, None)
    touching = (shared_KO2 > 0).all(axis=2)
    area_K1 = np.prod(boxes_K4[:, 2:] - boxes_K4[:, :2], axis=1)[:, None]
    return np.asarray((touching * (_TOUCH + shared_KO2.prod(axis=2) / area_K1)).sum(axis=1))


def _outside(boxes_K4: Floats, bounds: tuple[float, float, float, float]) -> Floats:
    low, high = np.asarray(bounds[:2]), np.asarray(bounds[2:])
    beyond = np.clip(low - boxes_K4[:, :2], 0, None) + np.clip(boxes_K4[:, 2:] - high, 0, None)
    return np.asarray((beyond / (boxes_K4[:, 2:] - boxes_K4[:, :2])).sum(axis=1))


def _leader_ends(centre_2: Floats, boxes_K4: Floats) -> Floats:
    return np.clip(centre_2, boxes_K4[:, :2], boxes_K4[:, 2:])


def _cross(centre_2: Floats, boxes_K4: Floats, others_O4: Floats) -> Floats:
    """How many of the other boxes the line from the point to each of its label's positions runs through."""
    if not len(others_O4):
        return np.zeros(len(boxes_K4))
    ends_K2 = _leader_ends(centre_2, boxes_K4)
    steps = np.linspace(0.15, 0.95, 9)
    samples_KS2 = centre_2 + (ends_K2[:, None, :] - centre_2) * steps[None, :, None]
    inside = (samples_KS2[:, :, None, :] > others_O4[None, None, :, :2]) & (
        samples_KS2[:, :, None, :] < others_O4[None, None, :, 2:]
    )
    return np.asarray(np.any(inside.all(axis=3), axis=1).sum(axis=1), dtype=np.float64)


def _pierced(boxes_K4: Floats, centre_2: Floats, box_4: Floats) -> Floats:
    """Whether the leader from ``centre_2`` to its label's ``box_4`` runs through each of the boxes."""
    end_2 = _leader_ends(centre_2, box_4[None])[0]
    samples_S2 = centre_2 + (end_2 - centre_2) * np.linspace(0.0, 1.0, 11)[:, None]
    inside = (samples_S2[None] > boxes_K4[:, None, :2]) & (samples_S2[None] < boxes_K4[:, None, 2:])
    return np.asarray(np.any(inside.all(axis=2), axis=1), dtype=np.float64)


def _tangled(centre_2: Floats, boxes_K4: Floats, other_2: Floats, box_4: Floats) -> Floats:
    """Whether the leader to each of the boxes crosses the leader from ``other_2`` to its own ``box_4``."""
    ends_K2 = _leader_ends(centre_2, boxes_K4)
    end_2 = _leader_ends(other_2, box_4[None])[0]
    other_side = _turn(other_2, end_2, centre_2) * _turn(other_2, end_2, ends_K2) < 0
    own_side = _turn(centre_2, ends_K2, other_2) * _turn(centre_2, ends_K2, end_2) < 0
    return np.asarray(other_side & own_side, dtype=np.float64)


def _turn(from_2: Floats, to_2: Floats, point_2: Floats) -> Floats:
    """Positive where ``point_2`` lies to the left of the way ``from_2`` -> ``to_2``; broadcasts over K."""
    way, view = to_2 - from_2, point_2 - from_2
    return np.asarray(way[..., 0] * view[..., 1] - way[..., 1] * view[..., 0])


@dataclass(frozen=True)
class Label:
    """A text for the point (x, y), in data coordinates; ``low`` and ``high`` are the ends of the point's error bar."""

    text: str
    x: float
    y: float
    low: float
    high: float
    color: str


def draw_labels(
    axes: Axes,
    labels: Sequence[Label],
    line: Sequence[tuple[float, float]],
    *,
    size: float,
    unlabelled: Sequence[Label] = (),
) -> None:
    """Write ``labels`` into ``axes``, whose limits must be final; they avoid each other, all points and ``line``."""
    from matplotlib.patheffects import withStroke

    texts = [_break_label(label.text) for label in labels]
    rim = axes.get_window_extent()
    centres = [_to_pixels(axes, label.x, label.y) for label in labels]
    bars = [_box_bar(axes, label) for label in labels]
    others = [_to_pixels(axes, label.x, label.y) for label in unlabelled]
    placements = place_labels(
        centres,
        [_measure(axes, text, size) for text in texts],
        (rim.x0 + 3, rim.y0 + 3, rim.x1 - 3, rim.y1 - 3),
        [*bars, *cut_line([_to_pixels(axes, x, y) for x, y in line])],
        unlabelled=others,
    )
    halo = withStroke(linewidth=2.0, foreground="white", alpha=0.85)
    to_data = axes.transData.inverted().transform
    for text, label, centre, placement in zip(texts, labels, centres, placements, strict=True):
        left, bottom, right, top = placement.box
        if placement.distance_px >= _LEADER_FROM_PX:
            end = (min(max(centre[0], left), right), min(max(centre[1], bottom), top))
            (ax, ay), (bx, by) = to_data([centre, end])
            axes.plot([ax, bx], [ay, by], color=MUTED, linewidth=0.7, zorder=1.5, scalex=False, scaley=False)
        x, y = to_data(((left + right) / 2, (bottom + top) / 2))
        written = axes.text(
            x, y, text, fontsize=size, color=label.color, ha="center", va="center", linespacing=_LINE_SPACING, zorder=4
        )
        written.set_path_effects([halo])


def cut_line(corners: Sequence[tuple[float, float]]) -> list[Box]:
    """A line through ``corners`` as a chain of small boxes, for the ``obstacles`` of `place_labels`."""
    boxes = []
    for (ax, ay), (bx, by) in itertools.pairwise(corners):
        pieces = max(1, round(math.hypot(bx - ax, by - ay) / (2 * POINT_RADIUS_PX)))
        for piece in range(pieces + 1):
            x, y = ax + (bx - ax) * piece / pieces, ay + (by - ay) * piece / pieces
            boxes.append((x - 3, y - 3, x + 3, y + 3))
    return boxes


def _to_pixels(axes: Axes, x: float, y: float) -> tuple[float, float]:
    across, up = axes.transData.transform((x, y))
    return float(across), float(up)


def _break_label(label: str) -> str:
    """Break the spelling of a variant at its colon and commas where it is long."""
    lines = [""]
    for piece in label.replace(":", ":\0").replace(",", ",\0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(piece) > _BREAK_AFTER:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def _measure(axes: Axes, text: str, size: float) -> tuple[float, float]:
    probe = axes.text(0.5, 0.5, text, fontsize=size, linespacing=_LINE_SPACING, transform=axes.transAxes)
    extent = probe.get_window_extent()
    probe.remove()
    return math.ceil(extent.width) + 2.0, math.ceil(extent.height) + 2.0


def _box_bar(axes: Axes, label: Label) -> Box:
    x, low = _to_pixels(axes, label.x, label.low)
    _, high = _to_pixels(axes, label.x, label.high)
    return x - 3, low - 2, x + 3, high + 2
