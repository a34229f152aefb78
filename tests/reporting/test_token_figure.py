import numpy as np

from vtbench.reporting.style import house_style
from vtbench.reporting.token_figure import Panel, blend, choose_doublings, draw_tokens
from vtbench.stats.attention_maps import choose_tokens

GREY = np.full((240, 240, 3), 128, np.uint8)


def make_map(*weights: float) -> np.ndarray:
    values = np.array(weights).reshape(2, -1)
    return values / values.sum()


def test_red_is_more_than_uniform_attention_blue_is_less_and_white_is_as_much():
    red_left = blend(GREY, make_map(9, 1, 9, 1), 3).astype(int)
    assert red_left[120, 10, 0] - red_left[120, 10, 2] > 30
    assert red_left[120, -10, 2] - red_left[120, -10, 0] > 80
    uniform = blend(GREY, make_map(1, 1, 1, 1), 3).astype(int)
    assert np.ptp(uniform) <= 3


def test_the_map_lies_over_the_picture_cell_by_cell_and_small_pictures_are_enlarged():
    small = blend(np.full((16, 32, 3), 200, np.uint8), make_map(1, 1, 1, 1, 1, 9), 3).astype(int)
    assert small.shape == (240, 480, 3)
    redness = small[..., 0] - small[..., 2]
    row, column = np.unravel_index(redness.argmax(), redness.shape)
    assert row > 160
    assert column > 370


def test_attention_of_zero_is_the_darkest_blue_and_no_warning():
    assert (
        blend(GREY, make_map(1, 0, 0, 0), 2)[-10, -10].tolist()
        == blend(GREY, make_map(99, 1, 1, 1), 2)[-10, -10].tolist()
    )


def test_the_key_reaches_the_highest_peak_of_all_maps_up_to_32_times():
    assert choose_doublings([make_map(1, 1, 1, 1)]) == 1
    assert choose_doublings([make_map(1, 1, 1, 1), make_map(1, 0, 0, 0)]) == 2
    assert choose_doublings([np.eye(1, 4096).reshape(64, 64)]) == 5


def test_sixteen_square_panels_fill_four_rows_and_every_token_has_its_title():
    panels = [Panel(f"{token} · 1.00 nats", GREY, make_map(1, 2, 3, 4)) for token in range(16)]
    with house_style():
        figure = draw_tokens(GREY, panels, title="title", caption="caption", mask=np.eye(8, dtype=np.int8))
    titled = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in titled] == [panel.title for panel in panels]
    assert {axes.get_subplotspec().get_gridspec().get_geometry() for axes in titled} == {(4, 4)}


def test_any_number_of_tokens_has_room():
    for number in (1, 7):
        with house_style():
            figure = draw_tokens(GREY, [Panel("", GREY, make_map(1, 1))] * number, title="", caption="", mask=None)
        assert len(figure.axes) == number + 2
        assert all(axes.get_position().width > 0.01 for axes in figure.axes)


def test_the_overview_takes_the_sharpest_token_and_those_unlike_it():
    alike = [make_map(8, 1, 1, 1), make_map(8, 1, 1, 1.1), make_map(8, 1.1, 1, 1)]
    maps = np.array([*alike, make_map(1, 20, 1, 1), *alike, make_map(1, 1, 6, 1), make_map(1, 1, 1, 6)])
    chosen = choose_tokens([maps])
    assert len(chosen) == 6
    assert {3, 7, 8} <= set(chosen)
    assert chosen == sorted(set(chosen))
    assert choose_tokens([maps[:2], maps[:2]]) == [0, 1]
