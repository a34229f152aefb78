from __future__ import annotations

import numpy as np

from vtbench.palettes import VOID_COLOUR, find_palette, make_palette, measure_likeness

NAMES = tuple(f"class {number}" for number in range(255))


def test_a_palette_that_is_made_up_has_another_colour_for_each_class_and_none_like_that_of_void() -> None:
    palette = make_palette(NAMES)
    assert len(set(palette)) == 255
    assert measure_likeness(palette, [VOID_COLOUR]).min() > 0.015


def test_a_dozen_classes_are_told_apart_without_the_long_or_the_middle_cones() -> None:
    palette = make_palette(("background", *NAMES[:12]))
    distance = measure_likeness(palette, palette)
    assert distance[~np.eye(13, dtype=bool)].min() > 0.07
    assert measure_likeness([(255, 0, 0)], [(130, 110, 0)])[0, 0] < 0.07, "red and olive are alike to some eyes"


def test_a_further_class_leaves_the_others_their_colours() -> None:
    assert make_palette(NAMES)[:9] == make_palette(NAMES[:9])


def test_the_background_is_black_wherever_it_stands() -> None:
    assert make_palette(("sky", "background", "road"))[1] == (0, 0, 0)
    assert make_palette(("sky", "background", "road"))[2] == make_palette(("sky", "road"))[1]


def test_white_is_one_from_black_and_a_colour_nothing_from_itself() -> None:
    likeness = measure_likeness([(0, 0, 0), (12, 200, 90)], [(255, 255, 255), (12, 200, 90)])
    np.testing.assert_allclose([likeness[0, 0], likeness[1, 1]], [1, 0], atol=1e-6)


def test_the_palette_of_a_preset_is_found_by_the_name_of_data_that_are_not_there() -> None:
    voc = find_palette(NAMES[:21], "folder:/nowhere/VOC,2012,ignore=255,classes=voc")
    assert voc[:3] == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    assert find_palette(NAMES[:21], "folder:/nowhere,classes=classes.toml") == make_palette(NAMES[:21])
    assert find_palette(NAMES[:20], "folder:/nowhere,classes=voc") == make_palette(NAMES[:20])
    assert find_palette(NAMES[:21], "folder:/classes=voc") == make_palette(NAMES[:21])
