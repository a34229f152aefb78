"""Files of examples come back as they were, open in any viewer, and say so when they are damaged."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from vtbench.errors import UserError
from vtbench.palettes import VOID_COLOUR
from vtbench.records.examples import (
    Example,
    ExampleNote,
    Examples,
    TokenMapsNote,
    decode_attention,
    encode_attention,
    pack_examples,
    read_examples,
)

PALETTE = ((10, 20, 30), (200, 0, 0), (0, 200, 0))
DRAW = np.random.default_rng(0)
NOTE = ExampleNote(
    index=7,
    kept_as=("fixed", "worst"),
    outcome={"miou_percent": 12.5},
    maps=(TokenMapsNote(module=2, tokens=(0, 3), num_tokens=8),),
)
EXAMPLE = Example(
    NOTE,
    DRAW.integers(0, 256, (6, 9, 3), np.uint8),
    np.array([[0, 1, 255], [2, 2, 255]], np.uint8),
    np.array([[0, 0, 1], [2, 1, 0]], np.uint8),
    (DRAW.integers(3, 254, (2, 4, 5), np.uint8),),
)
PACKED = pack_examples(Examples((EXAMPLE,), (7,), 30), PALETTE)


def test_examples_come_back_as_they_were_and_equal_ones_give_equal_bytes() -> None:
    kept = read_examples(PACKED, "these")
    (found,) = kept.examples
    assert (kept.worst, kept.num_judged, kept.list_fixed(), found.note) == ((7,), 30, (7,), NOTE)
    for name in ("image", "truth", "prediction"):
        np.testing.assert_array_equal(getattr(found, name), getattr(EXAMPLE, name))
    np.testing.assert_array_equal(found.maps[0], EXAMPLE.maps[0])
    assert pack_examples(kept, PALETTE) == PACKED
    assert kept.find(8) is None


def test_the_values_of_a_mask_are_classes_and_its_colours_those_of_the_palette() -> None:
    with zipfile.ZipFile(io.BytesIO(PACKED)) as archive:
        mask = Image.open(io.BytesIO(archive.read("000007-truth.png")))
        mask.load()
    assert mask.mode == "P"
    np.testing.assert_array_equal(np.asarray(mask), EXAMPLE.truth)
    colours = np.asarray(mask.convert("RGB"))
    assert [tuple(colours[0, column].tolist()) for column in range(3)] == [PALETTE[0], PALETTE[1], VOID_COLOUR]


def test_attention_comes_back_to_a_step_between_a_thirty_second_and_thirty_two_times_uniform() -> None:
    maps = np.exp(DRAW.normal(0, 0.7, (3, 6, 7)))
    maps /= maps.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(decode_attention(encode_attention(maps)), maps, rtol=0.03)
    spike = np.zeros((1, 20, 20))
    spike[0, 3, 4] = 1
    decoded = decode_attention(encode_attention(spike))[0]
    assert np.unravel_index(decoded.argmax(), decoded.shape) == (3, 4)


@pytest.mark.parametrize("data", [b"", b"PK", PACKED[:200], PACKED.replace(b'"index": 7', b'"index": 8', 1)])
def test_a_damaged_file_is_named(data: bytes) -> None:
    with pytest.raises(UserError, match="FPN is no file of examples, or is damaged"):
        read_examples(data, "FPN")
