"""Labels overlap neither each other nor points, and stay in the plot, wherever there is room."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from vtbench.metrics import TOP1
from vtbench.reporting import labels, scatter
from vtbench.reporting.charts.scatter_chart import chart_points
from vtbench.reporting.charts.svg import LETTER, WIDTH, Scale, draw_frame
from vtbench.reporting.labels import place_labels
from vtbench.reporting.scatter import LABELS_OF_MANY, MOST_LABELS, Point, draw_points
from vtbench.reporting.style import house_style

Box = tuple[float, float, float, float]
PLOT = (0.0, 0.0, 900.0, 480.0)


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("seed", range(8))
def test_thirty_labels_at_random_points_do_not_overlap(seed: int) -> None:
    generator = np.random.default_rng(seed)
    points = [(float(x), float(y)) for x, y in generator.uniform((60, 30), (840, 450), (30, 2))]
    sizes = [(float(width), 14.0) for width in generator.uniform(40, 110, 30)]
    boxes = [placement.box for placement in place_labels(points, sizes, PLOT)]
    for one, other in itertools.combinations(boxes, 2):
        assert not overlap(one, other)
    for box, (x, y) in itertools.product(boxes, points):
        assert not overlap(box, (x - 4, y - 4, x + 4, y + 4))
    for left, bottom, right, top in boxes:
        assert left >= 0 and bottom >= 0 and right <= 900 and top <= 480


def test_points_on_one_spot_still_get_labels_of_their_own() -> None:
    boxes = [placement.box for placement in place_labels([(400.0, 200.0)] * 6, [(80.0, 14.0)] * 6, PLOT)]
    for one, other in itertools.combinations(boxes, 2):
        assert not overlap(one, other)


def test_a_free_point_has_its_label_close_by_on_the_right() -> None:
    (placement,) = place_labels([(400.0, 200.0)], [(80.0, 14.0)], PLOT)
    assert placement.box == pytest.approx((407.0, 193.0, 487.0, 207.0))
    assert placement.distance_px == 7.0


def test_a_label_makes_way_for_a_line() -> None:
    free, beside = (
        place_labels([(400.0, 200.0)], [(80.0, 14.0)], PLOT, obstacles)[0].box
        for obstacles in ([], [(440.0, 150.0, 446.0, 250.0)])
    )
    assert overlap(free, (440.0, 150.0, 446.0, 250.0))
    assert not overlap(beside, (440.0, 150.0, 446.0, 250.0))


def test_no_label_of_a_chart_lies_on_the_line_of_its_front() -> None:
    points = [Point(f"arm number {n}", "resnet20", 1e6 * (10 + 3 * n), 70 + 0.02 * n) for n in range(3)]
    points.append(Point("below", "resnet20", 13e6, 60.0))
    chart = str(chart_points(points, TOP1, title="t", caption="c"))
    (line,) = re.findall(r'points="([^"]+)"[^>]*class="front"|class="front"[^>]*points="([^"]+)"', chart)
    corners = [tuple(map(float, corner.split(","))) for corner in max(line).split()]
    spots = [
        tuple(np.add(one, np.subtract(other, one) * step))
        for one, other in itertools.pairwise(corners)
        for step in np.linspace(0, 1, 50)
    ]
    written = re.findall(r"<text ([^>]*class=\"label\"[^>]*)>([^<]+)<", chart)
    assert len(written) == 4
    for attributes, text in written:
        x, y = (float(re.findall(rf'\b{name}="([^"]+)"', attributes)[0]) for name in "xy")
        half = LETTER * len(text) / 2
        assert not [spot for spot in spots if abs(spot[0] - x) < half and y - 10 < spot[1] < y + 2], text


def test_equal_input_gives_equal_places() -> None:
    points = [(100.0, 100.0), (110.0, 104.0), (120.0, 96.0)]
    sizes = [(90.0, 14.0)] * 3
    assert place_labels(points, sizes, PLOT) == place_labels(points, sizes, PLOT)


def test_no_points_have_no_labels() -> None:
    assert place_labels([], [], PLOT) == []


def make_points(number: int) -> list[Point]:
    return [
        Point(f"arm {n}", "resnet20", 1_000_000 + 1000 * (n * 37 % 1009), 50 + n * 53 % 101 / 4) for n in range(number)
    ]


def test_of_very_many_points_base_and_front_have_labels_and_the_caption_counts_the_others() -> None:
    points = make_points(400)
    with house_style():
        figure = draw_points(points, TOP1, title="t", caption="c", legend=False)
    names = {text.get_text() for text in figure.axes[0].texts}
    assert "arm 0" in names
    assert len(names) <= LABELS_OF_MANY
    best, cheapest = (
        max(points, key=lambda point: (point.value, -point.cost)),
        min(points, key=lambda point: point.cost),
    )
    assert {best.label, cheapest.label} <= names
    assert figure.texts[1].get_text() == f"c; {400 - len(names)} of 400 without label"


def test_the_last_number_of_points_that_all_have_labels_says_nothing_of_others() -> None:
    with house_style():
        figure = draw_points(make_points(MOST_LABELS), TOP1, title="t", caption="c", legend=False)
    assert len(figure.axes[0].texts) == MOST_LABELS
    assert figure.texts[1].get_text() == "c"


def test_the_work_of_a_figure_does_not_grow_with_the_square_of_its_points(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = {"positions": 0, "single points": 0}

    def count(name: str, kind: str, module: object) -> None:
        original = getattr(module, name)

        def call(*arguments: object) -> object:
            counted[kind] += 1
            return original(*arguments)

        monkeypatch.setattr(module, name, call)

    count("_overlap", "positions", labels)
    count("_draw_point", "single points", scatter)
    with house_style():
        draw_points(make_points(1000), TOP1, title="t", caption="c", legend=False)
    assert counted["single points"] == 0
    assert counted["positions"] <= LABELS_OF_MANY * (2 + 12)


def test_the_number_of_the_last_tick_of_a_chart_is_not_cut_off_at_its_edge() -> None:
    across = Scale(9.0, 10.5, 46.0, WIDTH - 8)
    frame = "".join(map(str, draw_frame(across, None, bottom=250.0, top=26.0, names=("", ""))))
    ticks = re.findall(r'<text x="([\d.]+)"[^>]*class="tick"[^>]*>([^<]+)<', frame)
    assert float(ticks[-1][1]) > 10.3
    assert all(float(x) + LETTER * len(number) / 2 <= WIDTH for x, number in ticks)
