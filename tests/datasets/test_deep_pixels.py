import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from vtbench.configuration import DataConfig
from vtbench.datasets import DataError, load_dataset
from vtbench.datasets.decoding import decode_image, decode_mask, decode_raw_mask
from vtbench.datasets.shown_images import read_files
from vtbench.datasets.source import find_white

RAMP = np.arange(64).reshape(8, 8)


def encode_tiff(values, **tags):
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory[int(tag.removeprefix("tag"))] = value
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "TIFF", tiffinfo=directory)
    return stream.getvalue()


def encode_png(values_HWC):
    """A PNG of 16 bits a channel, which Pillow cannot write in colour."""
    height, width, channels = values_HWC.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values_HWC)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)), (b"IDAT", zlib.compress(rows)))
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, body in (*chunks, (b"IEND", b"")):
        parts.append(struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)))
    return b"".join(parts)


def decode(data, white=None):
    return decode_image(data, "a.tif", (8, 8), white)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_a_channel_are_scaled_from_the_whole_range_in_grey_and_in_colour(channels):
    values = np.repeat(RAMP[..., None] * 1040, channels, axis=2)
    if channels in (2, 4):
        values[..., -1] = 65535
        values[0, :, -1] = 0
    expected = np.rint(RAMP * 1040 / 257)
    expected[0] *= channels in (1, 3)
    expected = np.repeat(expected[..., None], 3, axis=2)
    assert abs(decode(encode_png(values)) - expected).max() <= (0 if channels == 1 else 1)
    with pytest.raises(DataError, match=r"(outside of 0 to 4095|white=4095 cannot be followed)"):
        decode(encode_png(values), 4095)


def test_8_bits_in_16_of_colour_are_refused():
    data = encode_png(np.repeat(RAMP[..., None] + 100, 3, axis=2))
    with pytest.raises(DataError, match=r"a\.tif is in colour with 16 bits a channel, .* which are empty\. Make"):
        decode(data)
    assert decode(data, 65535).max() == 0


def test_8_or_12_bits_in_16_are_refused_or_read_by_the_white_that_is_named():
    values = RAMP[..., None] + 100
    with pytest.raises(DataError, match=r"a\.tif has 16-bit pixels from 100 to 163, as if 8 bits .* white=NUMBER"):
        decode(encode_png(values))
    np.testing.assert_array_equal(decode(encode_png(values), 255)[..., 0], RAMP + 100)
    np.testing.assert_array_equal(
        decode(encode_png(values * 16), 4095)[..., 0], np.rint((RAMP + 100) * 16 * 255 / 4095)
    )
    with pytest.raises(DataError, match="pixels from 1600 to 2608, which is outside of 0 to 255"):
        decode(encode_png(values * 16), 255)


@pytest.mark.parametrize(
    ("kind", "said"), [(np.int32, "32-bit pixels from 0 to 63"), (np.float32, "floating-point pixels from 0 to 63")]
)
def test_32_bits_have_no_range_unless_it_is_stated_or_named(kind, said):
    data = encode_tiff(RAMP.astype(kind))
    with pytest.raises(DataError, match=rf"a\.tif has {said}, and nothing says which value is white\. .* such as 255"):
        decode(data)
    np.testing.assert_array_equal(decode(data, 255)[..., 0], RAMP)
    np.testing.assert_array_equal(decode(data, 63)[..., 0], np.rint(RAMP * 255 / 63))
    np.testing.assert_array_equal(decode(encode_tiff(RAMP.astype(kind), tag281=255))[..., 0], RAMP)
    with pytest.raises(DataError, match="from -5 to 58, which is outside of 0 to 255"):
        decode(encode_tiff((RAMP - 5).astype(kind)), 255)


def test_pixels_that_are_no_numbers_are_refused():
    with pytest.raises(DataError, match="no numbers"):
        decode(encode_tiff(np.full((8, 8), np.nan, np.float32)), 1)


def test_white_may_be_zero_and_black_pictures_are_black():
    data = encode_tiff((RAMP * 1040).astype(np.uint16), tag262=0)
    np.testing.assert_array_equal(decode(data)[..., 0], np.rint(255 - RAMP * 1040 / 257))
    assert decode(encode_png(np.zeros((8, 8, 1)))).max() == 0


def write_folder(root, highest, encode, ending):
    for split, count in (("train", 3), ("val", 2)):
        for number, name in enumerate(("bright", "dark")):
            (root / split / name).mkdir(parents=True)
            for picture in range(count):
                values = (RAMP + picture) % 64 * highest // 63 // (1 + 3 * number)
                (root / split / name / f"{picture}.{ending}").write_bytes(encode(values))
    return root


def load(root, knobs=""):
    return load_dataset(DataConfig(spec=f"folder:{root}{knobs}"), "train", seed=0)


@pytest.mark.parametrize("highest", [225, 1023, 4095, 16383])
def test_a_split_of_16_bits_that_leaves_the_uppermost_empty_is_refused_at_opening(tmp_path, highest):
    root = write_folder(tmp_path, highest, lambda values: encode_png(values[..., None]), "png")
    white = next(white for white in (255, 1023, 4095, 16383) if highest <= white)
    with pytest.raises(DataError, match=rf"Of 6 images looked at, 6 have more .* above {highest} .* such as {white},"):
        load(root)
    data = load(root, f",white={white}")
    assert abs(int(data.read(np.array([0])).max()) - 255 * highest / white) < 1
    assert data.name.endswith(f",white={white}") or data.name.endswith(f",white={white}.0")
    assert data.fingerprint != load(root, ",white=65535").fingerprint


def test_a_split_of_16_bits_that_uses_them_opens_as_it_is(tmp_path):
    data = load(write_folder(tmp_path, 65535, lambda values: encode_png(values[..., None]), "png"))
    assert data.read(np.arange(3)).max() == 255


def test_a_split_of_32_bits_is_refused_with_the_values_that_it_has(tmp_path):
    root = write_folder(tmp_path, 220, lambda values: encode_tiff(values.astype(np.int32)), "tif")
    with pytest.raises(DataError, match=r"above 220 .*bright/[012]\.tif.* white=NUMBER, such as 255"):
        load(root)
    assert load(root, ",white=255").read(np.array([0])).max() == 220


def test_a_training_split_that_is_all_of_one_colour_is_refused(tmp_path):
    root = write_folder(tmp_path, 0, lambda values: encode_png(values[..., None]), "png")
    with pytest.raises(DataError, match=r"Every pixel of the 6 training images .* has one colour, \(0, 0, 0\)"):
        load(root)


def test_masks_of_16_and_32_bits_are_values_and_never_scaled():
    ids = np.array([[0, 7], [200, 255]])
    for data in (encode_png(ids[..., None]), encode_tiff(ids.astype(np.int32)), encode_tiff(ids.astype(np.uint16))):
        assert decode_mask(data, "m", (2, 2)).tolist() == ids.tolist()
    assert decode_raw_mask(encode_png(ids[..., None] * 200), "m", in_colour=False).tolist() == (ids * 200).tolist()
    with pytest.raises(DataError, match="value 51000 in 1 pixels; ids go up to 255"):
        decode_mask(encode_png(ids[..., None] * 200), "m", (2, 2))
    with pytest.raises(DataError, match="value 65536 in 1 pixels; ids are 0 to 65535"):
        decode_raw_mask(encode_tiff(np.array([[0, 65536]], np.int32)), "m", in_colour=False)
    with pytest.raises(DataError, match="kind F"):
        decode_mask(encode_tiff(np.ones((2, 2), np.float32)), "m", (2, 2))
    with pytest.raises(DataError, match="colours of 16 bits"):
        decode_raw_mask(encode_png(np.zeros((2, 2, 3))), "m", in_colour=True)


def test_what_is_white_to_the_data_is_white_to_single_images_and_rows(tmp_path):
    root = write_folder(tmp_path, 255, lambda values: encode_png(values[..., None]), "png")
    assert (
        find_white(f"folder:{root},white=255") == 255 and find_white(f"folder:{root}") is find_white("scenes") is None
    )
    path = root / "train" / "bright" / "0.png"
    for whole in (False, True):
        [shown] = read_files([path], [], (8, 8), whole=whole, white=255)
        np.testing.assert_array_equal(shown.pixels, load(root, ",white=255").read(np.array([0]))[0])
        np.testing.assert_array_equal(shown.pixels, shown.picture)
