import io

import numpy as np
import pytest
from image_files import encode, make_image
from PIL import Image

from vtbench.datasets import DataError
from vtbench.datasets.decoding import (
    choose_image_size,
    decode_image,
    decode_images,
    decode_whole_image,
    measure_image,
    spread_evenly,
)
from vtbench.errors import UserError

GREY_RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def decode(image, kind="PNG", size=(8, 8)):
    return decode_image(encode(image, kind), "a.png", size)


def test_an_rgb_image_of_the_right_size_keeps_its_pixels():
    image = make_image()
    np.testing.assert_array_equal(decode(image), np.asarray(image))


def test_grey_and_bilevel_images_become_rgb():
    np.testing.assert_array_equal(decode(Image.fromarray(GREY_RAMP)), np.repeat(GREY_RAMP[..., None], 3, axis=2))
    assert decode(Image.fromarray(GREY_RAMP > 100)).max() == 255


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_16_bit_image_is_scaled_from_its_whole_range(kind):
    image = Image.fromarray(GREY_RAMP.astype(np.uint16) * 257 + 127)
    np.testing.assert_array_equal(decode(image, kind)[..., 1], GREY_RAMP)


def test_a_palette_image_becomes_rgb_with_and_without_transparency():
    palette = make_image().convert("P")
    np.testing.assert_array_equal(decode(palette), np.asarray(palette.convert("RGB")))
    stream = io.BytesIO()
    palette.save(stream, "PNG", transparency=bytes([0] * 256))
    assert decode_image(stream.getvalue(), "a.png", (8, 8)).max() == 0


def test_a_transparent_image_is_laid_over_black():
    image = make_image().convert("RGBA")
    image.putalpha(Image.fromarray(np.where(np.arange(64).reshape(8, 8) < 32, 0, 255).astype(np.uint8)))
    pixels = decode(image)
    assert pixels[:4].max() == 0
    np.testing.assert_array_equal(pixels[4:], np.asarray(make_image())[4:])


def test_a_cmyk_jpeg_becomes_rgb():
    assert decode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")[0, 0, 0] > 200


def test_another_size_is_scaled_by_the_shorter_side_and_cut_at_the_centre():
    wide = make_image(size=(20, 60))
    expected = np.asarray(wide.resize((30, 10), Image.Resampling.BILINEAR))[:, 10:20].astype(int)
    assert abs(decode(wide, size=(10, 10)) - expected).max() <= 1
    tall = decode(wide.transpose(Image.Transpose.TRANSPOSE), size=(10, 10))
    assert abs(tall.transpose(1, 0, 2) - expected).max() <= 1
    assert decode(make_image(size=(4, 4)), size=(9, 7)).shape == (9, 7, 3)


def test_a_large_jpeg_is_scaled_like_any_other():
    smooth = Image.fromarray(GREY_RAMP).resize((640, 640), Image.Resampling.BICUBIC).convert("RGB")
    jpeg, png = decode(smooth, "JPEG", (16, 16)), decode(smooth, "PNG", (16, 16))
    assert abs(jpeg.astype(int) - png).max() < 6


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "it is empty"),
        (b"these are notes, not pixels", r"not in any image format that is known \(it starts with b'these are no'\)"),
        (encode(make_image(size=(64, 64)))[:300], "corrupt"),
        (encode(make_image(size=(64, 64)), "JPEG")[:500], "corrupt: .*[Tt]runcated"),
        (encode(make_image())[:20], "corrupt|not in any image format"),
        (b"GIF89a" + bytes(30), "corrupt|not in any image format"),
    ],
)
def test_a_broken_image_is_named_with_the_cause(data, cause):
    with pytest.raises(DataError, match=f"The image dir/b.jpg .*({cause})"):
        decode_image(data, "dir/b.jpg", (8, 8))


def test_a_flipped_byte_in_the_pixels_of_a_png_is_noticed():
    data = bytearray(encode(make_image(size=(64, 64))))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(DataError, match=r"a\.png is corrupt"):
        decode_image(bytes(data), "a.png", (64, 64))


def test_an_image_of_too_many_pixels_is_refused(monkeypatch):
    monkeypatch.setenv("VTBENCH_IMAGE_LIMIT_MP", "1")
    large = Image.new("L", (1001, 1000))
    with pytest.raises(DataError, match=r"a\.png has 1001 x 1000 pixels, more .*, set VTBENCH_IMAGE_LIMIT_MP=2, or"):
        decode(large)
    monkeypatch.setenv("VTBENCH_IMAGE_LIMIT_MP", "2")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode(large).shape == (8, 8, 3) and Image.MAX_IMAGE_PIXELS == 10
    monkeypatch.setenv("VTBENCH_IMAGE_LIMIT_MP", "many")
    with pytest.raises(UserError, match=r"VTBENCH_IMAGE_LIMIT_MP is 'many'\. Give a whole number"):
        decode(large)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_lies_as_viewers_show_it(kind, orientation):
    corners = np.kron(np.array([[0, 85, 85], [170, 170, 255]], np.uint8), np.ones((16, 16), np.uint8))
    exif = Image.Exif()
    exif[274] = orientation
    stream = io.BytesIO()
    lossless = {"lossless": True} if kind == "WEBP" else {}
    Image.fromarray(corners).convert("RGB").save(stream, kind, exif=exif, **lossless)
    turned = {
        1: corners,
        2: corners[:, ::-1],
        3: corners[::-1, ::-1],
        4: corners[::-1],
        5: corners.T,
        6: np.rot90(corners, -1),
        7: np.rot90(corners, 2).T,
        8: np.rot90(corners),
    }[orientation]
    assert measure_image(stream.getvalue(), "a") == turned.shape
    found = decode_image(stream.getvalue(), "a", turned.shape)[..., 0].astype(int)
    assert abs(found - turned).max() < 12
    small = decode_whole_image(stream.getvalue(), "a", (12, 12))
    inner = small[: min(12, round(12 * turned.shape[0] / turned.shape[1])), : round(12 * turned.shape[1] / 48)]
    assert (
        abs(inner[0, 0, 0].astype(int) - turned[0, 0]) < 12 and abs(inner[-1, -1, 0].astype(int) - turned[-1, -1]) < 12
    )


def test_broken_exif_data_turn_nothing():
    stream = io.BytesIO()
    make_image().save(stream, "JPEG", exif=b"Exif\0\0nonsense of no kind")
    assert decode_image(stream.getvalue(), "a", (8, 8)).shape == (8, 8, 3)


def test_a_colour_space_that_cannot_be_read_is_named():
    with pytest.raises(DataError, match=r"a\.png is in the colour space LAB"):
        decode(Image.new("LAB", (8, 8)), "TIFF")


def test_many_images_keep_their_order_and_an_error_among_them_is_raised():
    items = [(encode(make_image(seed)), f"{seed}.png") for seed in range(50)]
    images = decode_images([lambda item=item: item for item in items], (8, 8))
    np.testing.assert_array_equal(images[37], np.asarray(make_image(37)))
    items[40] = (b"text", "40.png")
    with pytest.raises(DataError, match=r"40\.png"):
        decode_images([lambda item=item: item for item in items], (8, 8))


def test_the_size_is_the_asked_one_or_the_shared_one_or_a_square_of_the_median_side():
    assert choose_image_size([(4, 6), (9, 9)], 12) == (12, 12)
    assert choose_image_size([(4, 6), (4, 6)], None) == (4, 6)
    assert choose_image_size([(4, 6), (10, 8), (30, 12)], None) == (8, 8)
    assert choose_image_size([(400, 600), (500, 600)], None) == (224, 224)
    assert measure_image(encode(make_image(size=(5, 7))), "a") == (5, 7)


def test_a_spread_reaches_both_ends_and_holds_no_index_twice():
    assert spread_evenly(5, 64).tolist() == [0, 1, 2, 3, 4]
    assert spread_evenly(1000, 3).tolist() == [0, 499, 999]
