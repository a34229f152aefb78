import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vtbench.configuration import DataConfig
from vtbench.datasets import load_dataset
from vtbench.datasets.decoding import decode_mask
from vtbench.datasets.shown_images import decode_shown, read_rows
from vtbench.errors import UserError


def encode(pixels: np.ndarray, format: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format)
    return stream.getvalue()


# The ids of a mask stand in the red channel of its image, so that one shows how the other was cut.
CLASSES = np.zeros((40, 60), np.uint8)
CLASSES[:, 30:] = 200
IMAGE = np.stack([CLASSES] * 3, axis=2)


def write_annotated(folder: Path) -> str:
    cells = [{"bytes": encode(np.full((40, 60, 3), shade, np.uint8)), "path": None} for shade in (10, 20, 30)]
    masks = [{"bytes": encode(np.full((40, 60), shade, np.uint8)), "path": None} for shade in (1, 2, 3)]
    for split in ("train", "val"):
        pq.write_table(pa.table({"image": cells, "annotation": masks}), folder / f"{split}.parquet", row_group_size=2)
    return f"parquet:{folder}"


def test_an_image_its_picture_and_its_mask_are_cut_alike():
    shown = decode_shown(encode(IMAGE), "a", (20, 20), encode(CLASSES))
    assert shown.pixels.shape == (20, 20, 3)
    assert shown.picture.shape == (40, 40, 3)
    assert shown.original_size == (40, 60)
    assert np.array_equal(shown.classes == 200, shown.pixels[..., 0] > 100)
    assert set(np.unique(shown.classes)) == {0, 200}


def test_a_small_image_is_shown_as_the_network_sees_it():
    shown = decode_shown(encode(IMAGE), "a", (64, 64), None)
    assert np.array_equal(shown.picture, shown.pixels)
    assert shown.classes is None


@pytest.mark.parametrize(
    ("mask", "ids"),
    [
        (Image.fromarray(np.array([[3, 250]], np.uint8)), [[3, 250]]),
        (Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1"), [[0, 1]]),
        (Image.fromarray(np.array([[2, 7]], np.uint8)).convert("P"), [[2, 7]]),
    ],
)
def test_grey_palette_and_black_and_white_masks_hold_class_ids(mask, ids):
    stream = io.BytesIO()
    mask.save(stream, "PNG")
    assert decode_mask(stream.getvalue(), "m", (1, 2)).tolist() == ids


def test_a_mask_in_colour_or_of_another_size_or_torn_is_refused():
    with pytest.raises(UserError, match="one channel of whole numbers"):
        decode_mask(encode(IMAGE), "m", (8, 8))
    with pytest.raises(UserError, match="has 40x60 pixels and the image 40x40"):
        decode_shown(encode(IMAGE[:, :40]), "a", (8, 8), encode(CLASSES))
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    with pytest.raises(UserError, match="mask m is corrupt"):
        decode_mask(encode(noise)[:2000], "m", (8, 8))


def test_an_annotated_parquet_file_needs_no_labels(tmp_path):
    shown = read_rows(write_annotated(tmp_path), "val", [2, 0], (16, 24))
    assert [int(image.pixels.mean()) for image in shown] == [30, 10]
    assert [np.unique(image.classes).tolist() for image in shown] == [[3], [1]]
    assert shown[0].pixels.shape == (16, 24, 3)
    with pytest.raises(UserError, match=r"There is no image 3 in parquet:.* it has 3, numbered 0 to 2"):
        read_rows(f"parquet:{tmp_path}", "val", [3], (16, 16))


def test_rows_of_a_data_set_are_square_and_bring_their_masks():
    shown = read_rows("scenes:num_val=20", "val", [7], (48, 48))[0]
    assert shown.name == "scenes:num_val=20 val 7"
    assert shown.pixels.shape == (48, 48, 3)
    assert set(np.unique(shown.classes)) > {0}
    with pytest.raises(UserError, match="cut to a square"):
        read_rows("scenes", "val", [0], (32, 48))


def test_rows_of_masks_that_are_seen_whole_are_what_validation_reads(tmp_path):
    spec = write_masked(tmp_path)
    data = load_dataset(DataConfig(spec=spec, image_size=20), "val", seed=0)
    shown = read_rows(spec, "val", [1, 0], data.image_size, whole=True)
    assert data.image_size == (20, 30)
    for number, image in zip((1, 0), shown, strict=True):
        rows = np.array([number])
        assert np.array_equal(image.pixels, data.read(rows)[0])
        mask = data.read_masks(rows)[0]
        assert np.array_equal(image.classes, np.where(mask == 255, -1, mask.astype(int)))
        assert image.picture.shape == (40, 60, 3)
    assert (shown[0].classes[:, 16:] == -1).all(), "a square image leaves a margin at its right"
    with pytest.raises(UserError, match=r"There is no image 2 in folder:.* it has 2"):
        read_rows(spec, "val", [2], data.image_size, whole=True)


def write_masked(folder: Path) -> str:
    """Two images of 40 rows, one of them square, and masks of classes 0 and 1 with void, 255."""
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (folder / kind / split).mkdir(parents=True)
        for number, width in enumerate((60, 32)):
            ids = np.zeros((40, width), np.uint8)
            ids[:, 20:], ids[:3] = 1, 255
            Image.fromarray(ids).save(folder / f"masks/{split}/{number}.png")
            Image.fromarray(np.stack([255 * (ids == 1)] * 3, axis=2).astype(np.uint8)).save(
                folder / f"images/{split}/{number}.png"
            )
    for split in ("train", "val"):  # The proportions of most images are those of the run.
        for kind in ("images", "masks"):
            for number in ("2", "3") if split == "train" else ():
                source = folder / kind / split / "0.png"
                (folder / kind / split / f"{number}.png").write_bytes(source.read_bytes())
    return f"folder:{folder},num_classes=2"


def test_an_image_that_is_seen_whole_has_its_mask_at_its_place_and_no_class_in_its_margin():
    shown = decode_shown(encode(IMAGE), "a", (20, 20), encode(CLASSES), whole=True)
    assert shown.pixels.shape == (20, 20, 3)
    assert (shown.classes[13:] == -1).all() and set(np.unique(shown.classes[:13])) == {0, 200}
    assert np.array_equal(shown.classes[:12] == 200, shown.pixels[:12, :, 0] > 100)
    assert shown.picture.shape == (60, 60, 3)
