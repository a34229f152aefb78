import math

import numpy as np
import pytest

from vtbench.records import NotMeasured
from vtbench.stats.attention_maps import (
    TokenMaps,
    compare_foreground,
    compare_maps,
    describe_maps,
    measure_entropy,
    split_classes,
)


def one_hot(cell: int, num_cells: int = 4) -> np.ndarray:
    return np.eye(num_cells)[cell].reshape(2, -1)


UNIFORM = np.full((2, 2), 0.25)


def make_maps(attention: list[np.ndarray], mixing: list[list[float]] | None = None) -> TokenMaps:
    weights = None if mixing is None else np.array(mixing)
    return TokenMaps(0, "filter", "transformer", np.array(attention), weights, "not mixed")


def test_the_papers_entropy_of_a_uniform_map_is_in_nats():
    side = 473
    uniform = np.full((1, side, side), 1 / side**2)
    assert measure_entropy(uniform)[0] == pytest.approx(12.3, abs=0.05)


def test_entropy_goes_from_zero_for_one_cell_to_the_logarithm_of_their_number():
    assert measure_entropy(np.array([one_hot(1), UNIFORM])) == pytest.approx([0, math.log(4)])


def test_equal_maps_do_not_diverge_and_maps_without_a_common_cell_do_by_one_bit():
    assert compare_maps(np.array([UNIFORM, UNIFORM])) == pytest.approx((0, 1))
    assert compare_maps(np.array([one_hot(0), one_hot(3)])) == pytest.approx((1, 0))
    # Two of three pairs share nothing.
    assert compare_maps(np.array([one_hot(0), one_hot(0), one_hot(3)])) == pytest.approx((2 / 3, 1 / 3))


def test_one_token_has_nothing_to_be_compared_with():
    assert all(isinstance(value, NotMeasured) for value in compare_maps(np.array([UNIFORM])))


def test_reach_mixes_the_maps_of_all_tokens_by_the_rows_of_the_weights():
    maps = make_maps([one_hot(0), one_hot(3)], [[0.75, 0.25], [0, 1]])
    assert maps.reach is not None
    assert maps.reach[0] == pytest.approx(np.array([[0.75, 0], [0, 0.25]]))
    assert maps.reach[1] == pytest.approx(one_hot(3))
    record = describe_maps(maps, None)
    assert record.tokens[0].reach_entropy_nats == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert record.mean_reach_jensen_shannon_bits < record.mean_jensen_shannon_bits == pytest.approx(1)


def test_without_weights_the_reach_is_not_measured_and_the_reason_is_given():
    record = describe_maps(make_maps([UNIFORM, one_hot(2)]), None)
    assert record.mean_reach_entropy_nats == NotMeasured(reason="not mixed")
    assert record.tokens[1].reach_entropy_nats == NotMeasured(reason="not mixed")
    assert record.mean_entropy_nats == pytest.approx(math.log(4) / 2)
    assert record.uniform_entropy_nats == pytest.approx(math.log(4))
    assert (record.tokens[1].peak_cell, record.tokens[1].peak_over_uniform) == ((1, 0), 4)
    assert record.num_distinct_peaks == 2


MASK = np.zeros((4, 4), np.int8)
MASK[:2, :2] = 1  # The pixels of the first of four cells.


def test_uniform_attention_favours_neither_foreground_nor_background():
    found = compare_foreground(UNIFORM, MASK)
    assert (found.ratio, found.attention_percent, found.area_percent) == pytest.approx((1, 25, 25))


def test_attention_on_foreground_is_compared_pixel_by_pixel():
    found = compare_foreground(np.array([[0.4, 0.2], [0.2, 0.2]]), MASK)
    assert (found.ratio, found.attention_percent) == pytest.approx((2, 40))
    small = MASK.copy()
    small[0, 0] = 0  # Three of the four pixels of the cell; the fourth is background with its attention.
    found = compare_foreground(np.array([[0.4, 0.2], [0.2, 0.2]]), small)
    assert found.ratio == pytest.approx(0.1 / ((0.1 + 0.6) / 13))


def test_pixels_that_are_left_out_count_on_neither_side():
    mask = MASK.copy()
    mask[2:] = -1
    found = compare_foreground(np.array([[0.3, 0.1], [0.6, 0]]), mask)
    assert (found.ratio, found.attention_percent, found.area_percent) == pytest.approx((3, 75, 50))


def test_a_map_whose_cells_do_not_divide_the_mask_still_favours_nothing_when_it_follows_the_area():
    rows = np.array([2, 3, 2]) / 7  # Pixels of each of three rows of cells over seven rows.
    found = compare_foreground(np.outer(rows, [3 / 6, 3 / 6]), np.eye(7, 6, dtype=np.int8))
    assert found.ratio == pytest.approx(1)


@pytest.mark.parametrize(
    ("attention", "mask", "reason"),
    [
        (UNIFORM, np.zeros((4, 4), np.int8), "no foreground"),
        (UNIFORM, np.ones((4, 4), np.int8), "no background"),
        (one_hot(0), MASK, "All attention is on foreground"),
    ],
)
def test_what_cannot_be_compared_is_not_measured(attention, mask, reason):
    found = compare_foreground(attention, mask)
    assert isinstance(found, NotMeasured)
    assert reason in found.reason


def test_classes_become_foreground_background_and_left_out():
    classes = np.array([[0, 1], [2, 11]], np.uint8)
    assert split_classes(classes).tolist() == [[0, 1], [1, 1]]
    assert split_classes(classes, [0, 2], [11]).tolist() == [[1, 0], [1, -1]]
