from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vtbench.palettes import Colour, make_palette
from vtbench.reporting import overlays
from vtbench.reporting.overlays import blend_classes, draw_key, encode_mask, encode_overlay, show_share

NAMES = ("sky", "road\nor so", *(f"class {number}" for number in range(30)))
PALETTE = make_palette(NAMES)
CLASSES = np.arange(12, dtype=np.uint8).reshape(3, 4) % 5


def decode(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_a_mask_holds_the_values_of_the_data_set_and_their_colours() -> None:
    values = (7, 0, 255, 3, 12)
    mask = decode(encode_mask(CLASSES, values, PALETTE[:5]))
    assert mask.mode == "P"
    assert np.asarray(mask).tolist() == np.array(values)[CLASSES].tolist()
    assert (np.asarray(mask.convert("RGB")) == np.array(PALETTE)[CLASSES]).all()


def test_a_picture_shines_through_the_colours_of_its_classes() -> None:
    black, white = np.zeros((3, 4, 3), np.uint8), np.full((3, 4, 3), 255, np.uint8)
    dark, bright = (blend_classes(picture, CLASSES, PALETTE).astype(int) for picture in (black, white))
    assert (abs(dark - 0.55 * np.array(PALETTE)[CLASSES]) < 0.51).all()
    assert (abs(bright - dark - 0.45 * 255) <= 1).all()


def test_an_overlay_is_large_enough_to_be_seen_and_has_a_key_below() -> None:
    overlay = np.asarray(decode(encode_overlay(np.zeros((3, 4, 3), np.uint8), CLASSES, NAMES[:5], PALETTE[:5])))
    assert overlay.shape[1] == 4 * 107
    assert overlay.shape[0] > 3 * 107
    key = overlay[3 * 107 :]
    for colour in PALETTE[:5]:
        assert (key == colour).all(axis=2).any()
    assert not (key == PALETTE[5]).all(axis=2).any(), "a class that no pixel has stands in no key"


def test_a_key_sets_names_that_are_numbers_apart_from_their_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def keep(entries: list[tuple[str, Colour]], width: int) -> Image.Image:
        drawn.extend(text for text, _ in entries)
        return draw_key(entries, width)

    monkeypatch.setattr(overlays, "draw_key", keep)
    encode_overlay(np.zeros((3, 4, 3), np.uint8), np.minimum(CLASSES, 1), ("3", "4"), PALETTE[:2])
    assert drawn == ["4: 75.0 %", "3: 25.0 %"]


def test_a_key_takes_as_many_columns_as_fit_and_at_least_one() -> None:
    entries = list(zip(NAMES, PALETTE, strict=True))
    narrow, wide = draw_key(entries, 60), draw_key(entries, 900)
    assert narrow.width == 60 and narrow.height > 32 * 13
    assert wide.height < narrow.height / 5


def test_what_rounds_to_nothing_is_not_shown_as_nothing() -> None:
    assert [show_share(pixels, 10_000) for pixels in (1, 5, 1234, 10_000)] == ["<0.1 %", "0.1 %", "12.3 %", "100.0 %"]
