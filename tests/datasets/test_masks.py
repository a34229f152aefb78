import pickle
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import encode
from PIL import Image

from vtbench.configuration import AugmentationConfig, DataConfig, Recipe
from vtbench.datasets import load_dataset
from vtbench.datasets.augmentation import Augmentation
from vtbench.datasets.conventions import PRESETS, MaskKnobs, find_convention
from vtbench.datasets.dataset import DataError
from vtbench.errors import UserError
from vtbench.tasks import TASKS

MASK = np.arange(48, dtype=np.uint8).reshape(6, 8) % 3


def make_masked(root, masks, *, images=None, layout="{kind}/{split}", kind="PNG"):
    for split in ("train", "val"):
        for number, mask in enumerate(masks):
            folders = [root / layout.format(kind=name, split=split) for name in ("images", "masks")]
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            image = images[number] if images else paint(to_image(mask).size, number)
            image.save(folders[0] / f"{number}.png")
            to_image(mask).save(folders[1] / f"{number}.{kind.lower()}", kind)
    return root


def paint(size, number=0):
    """A picture of two colours, so that there is something to see."""
    image = Image.new("RGB", size, (9 * number, 1, 2))
    image.putpixel((0, 0), (255, 255, 255))
    return image


def to_image(mask):
    return mask if isinstance(mask, Image.Image) else Image.fromarray(mask)


def load(root, knobs=",num_classes=3", split="train", kind="folder", **config):
    return load_dataset(DataConfig(spec=f"{kind}:{root}{knobs}", **config), split, seed=0)


def read(data):
    return data.read_masks(np.arange(len(data)))


def expect_refusal(root, *parts, knobs=",num_classes=3"):
    with pytest.raises(UserError) as caught:
        load(root, knobs)
    for part in parts:
        assert str(part) in str(caught.value)


@pytest.mark.parametrize("layout", ["{kind}/{split}", "{split}/{kind}"])
def test_a_folder_of_images_and_masks_opens_without_labels(tmp_path, layout):
    data = load(make_masked(tmp_path, [MASK, MASK], layout=layout))
    assert data.image_size == (6, 8) and data.mask_class_names == ("0", "1", "2") and len(data) == 2
    np.testing.assert_array_equal(read(data), [MASK, MASK])
    with pytest.raises(UserError, match="for segmentation"):
        _ = data.class_names


def test_two_folders_of_one_split_are_refused_and_test_beside_val_is_left_out(tmp_path):
    root = make_masked(tmp_path, [MASK, MASK])
    for kind in ("images", "masks"):
        shutil.copytree(root / kind / "val", root / kind / "test")
    assert load(root, split="val").taken["val"] == "images/val, masks/val"
    assert load(root, ",num_classes=3,val=test", "val").taken["val"] == "images/test, masks/test"
    for kind in ("images", "masks"):
        (root / kind / "test").rename(root / kind / "validation")
    expect_refusal(root, "images and masks of val and validation", f"folder:{root},val=NAME")


def test_masks_come_from_the_cache_and_from_other_processes(tmp_path):
    data = load(make_masked(tmp_path, [MASK]))
    copy = pickle.loads(pickle.dumps(data))
    (tmp_path / "masks/train/0.png").unlink()
    np.testing.assert_array_equal(read(data), [MASK])
    np.testing.assert_array_equal(read(copy), [MASK])


def test_masks_too_large_for_the_cache_are_decoded_when_read(tmp_path, monkeypatch):
    monkeypatch.setenv("VTBENCH_CACHE_LIMIT_MB", "0")
    data = load(make_masked(tmp_path, [MASK, MASK[::-1].copy()]), limit_train=1)
    assert read(data).shape == (1, 6, 8)


def test_parquet_columns_of_images_and_masks_open_without_labels(tmp_path):
    images = [encode(Image.new("RGB", (8, 6), (number, 0, 0))) for number in range(3)]
    masks = [encode(to_image((MASK + number) % 3)) for number in range(3)]
    for split in ("train", "val"):
        pq.write_table(
            pa.table({"image": images, "annotation": masks}), tmp_path / f"{split}.parquet", row_group_size=2
        )
    data = load(tmp_path, kind="parquet")
    np.testing.assert_array_equal(read(data), [MASK, (MASK + 1) % 3, (MASK + 2) % 3])
    table = pq.read_table(tmp_path / "train.parquet")
    for split in ("train", "val"):
        pq.write_table(table.append_column("label", pa.array([0, 1, 0])), tmp_path / f"{split}.parquet")
    assert load(tmp_path, "", kind="parquet").class_names == ("0", "1")
    assert load(tmp_path, ",num_classes=3,mask=annotation", kind="parquet").mask_class_names == ("0", "1", "2")


def test_a_palette_mask_gives_its_indices(tmp_path):
    palette = Image.fromarray(MASK, "L")
    palette.putpalette([7, 7, 7, 200, 0, 0, 0, 90, 0])
    assert palette.mode == "P"
    np.testing.assert_array_equal(read(load(make_masked(tmp_path, [palette, MASK]))), [MASK, MASK])


def test_an_rgb_mask_is_read_by_its_table_and_an_unknown_colour_refused(tmp_path):
    colours = np.array([[0, 0, 0], [200, 0, 0], [0, 90, 0]], np.uint8)
    root = make_masked(tmp_path, [colours[MASK]])
    toml = 'names = ["a", "b"]\npalette = [[200, 0, 0], [0, 90, 0]]\n'
    (root / "classes.toml").write_text(f"{toml}ignore_colours = [[0, 0, 0]]\n")
    data = load(root, "")
    assert data.mask_class_names == ("a", "b")
    np.testing.assert_array_equal(read(data)[0], np.array([255, 0, 1])[MASK])
    (root / "classes.toml").write_text(toml)
    expect_refusal(root, "0.png", "colour (0, 0, 0) in 16 pixels", knobs="")
    (root / "classes.toml").unlink()
    expect_refusal(root, "kind RGB", "classes=FILE")


def test_reduce_zero_label_keeps_zero_and_255_void_and_wraps_nothing(tmp_path):
    mask = np.array([[0, 1], [150, 255]], np.uint8)
    for split in ("training", "validation"):
        for folder, image in (("images", paint((2, 2))), ("annotations", to_image(mask))):
            (tmp_path / folder / split).mkdir(parents=True)
            image.save(tmp_path / folder / split / f"a.{'jpg' if folder == 'images' else 'png'}")
    data = load(tmp_path, ",classes=ade20k")
    assert data.mask_class_names[0] == "wall" and len(data.mask_class_names) == 150
    np.testing.assert_array_equal(read(data)[0], [[255, 0], [149, 255]])


def test_a_label_map_says_the_class_of_each_value(tmp_path):
    root = make_masked(tmp_path, [np.array([[0, 255], [255, 0]], np.uint8)])
    np.testing.assert_array_equal(read(load(root, ",label_map=0:0+255:1"))[0], [[0, 1], [1, 0]])
    expect_refusal(root, "0.png", "255 in 2 pixels", "label_map=0:0+255:1", knobs=",num_classes=2")


def test_a_value_outside_the_classes_is_refused_with_its_file_and_count(tmp_path):
    expect_refusal(make_masked(tmp_path, [MASK, MASK + 4]), "1.png", "value 6 in 16 pixels", "0 to 2")
    np.testing.assert_array_equal(read(load(tmp_path, ",num_classes=3,ignore=4+5+6"))[1], np.full((6, 8), 255))
    expect_refusal(tmp_path, "ignore", "which is class 2", knobs=",num_classes=3,ignore=2")


def test_masks_of_another_size_jpeg_masks_and_missing_pairs_are_refused(tmp_path):
    image = Image.new("RGB", (8, 5))
    expect_refusal(make_masked(tmp_path / "size", [MASK], images=[image]), "0.png", "6x8", "5x8")
    expect_refusal(make_masked(tmp_path / "jpeg", [MASK], kind="JPEG"), "JPEG", "0.jpeg")
    root = make_masked(tmp_path / "pair", [MASK, MASK])
    (root / "masks/val/1.png").unlink()
    expect_refusal(root, "1 of the 2", "no mask", "images/val/1.png")
    (root / "images/val/1.png").unlink()
    (root / "images/val/0.png").unlink()
    expect_refusal(root, "no image", "masks/val/0.png")


def test_masks_without_a_number_of_classes_are_refused(tmp_path):
    expect_refusal(make_masked(tmp_path, [MASK]), "num_classes=NUMBER", "voc", knobs="")


def paint_mask(first):
    mask = Image.new("L", (3, 2), first)
    mask.putpixel((2, 1), first + 1)
    return mask


def make_gradient(size):
    """Red tells the column and green the row, in parts of 240; the mask is 1 in the lower right quarter."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([240 * columns // width, 240 * rows // height, 0 * rows], -1).astype(np.uint8)
    return Image.fromarray(image), ((2 * rows >= height) & (2 * columns >= width)).astype(np.uint8)


@pytest.mark.parametrize("sizes", [[(60, 80)] * 3, [(60, 80), (60, 80), (80, 60)], [(60, 80), (60, 80), (40, 100)]])
def test_images_and_masks_are_scaled_alike_and_whole(tmp_path, sizes):
    images, masks = zip(*map(make_gradient, sizes), strict=True)
    data = load(make_masked(tmp_path, list(masks), images=images), ",num_classes=2", image_size=30)
    assert data.image_size == (30, 40)
    rows = np.arange(len(sizes))
    for image, mask, original, size in zip(
        data.read(rows), data.read_masks(rows), data.read_original_masks(rows), sizes, strict=True
    ):
        inside = mask != 255
        height, width = inside[:, 0].sum(), inside[0].sum()
        assert inside.sum() == height * width
        assert abs(height / width - size[0] / size[1]) < 0.05
        part = image[:height, :width].astype(int)
        assert part[0, 0, :2].max() < 15 and part[-1, -1, :2].min() > 220  # No corner is cut away.
        quarter = (part[..., 0] >= 120) & (part[..., 1] >= 120)
        border = (abs(part[..., 0] - 120) < 10) | (abs(part[..., 1] - 120) < 10)
        assert (quarter == (mask[:height, :width] == 1))[~border].all()
        assert abs(original.shape[0] / original.shape[1] - 30 / 40) < 0.02
        assert (original != 255).sum() == size[0] * size[1]


def test_the_fingerprint_covers_masks_and_what_they_mean(tmp_path):
    make_masked(tmp_path, [MASK])
    prints = [load(tmp_path).fingerprint, load(tmp_path, ",num_classes=4").fingerprint]
    prints.append(load(tmp_path, ",num_classes=3,ignore=9").fingerprint)
    to_image(2 - MASK).save(tmp_path / "masks/train/0.png")
    assert len({*prints, load(tmp_path).fingerprint}) == 4


def test_masks_of_16_bits_hold_values_that_may_be_void_or_mapped(tmp_path):
    deep = np.where(MASK == 2, np.uint16(65535), MASK)
    root = make_masked(tmp_path, [deep, deep])
    expected = np.where(MASK == 2, 255, MASK)
    np.testing.assert_array_equal(read(load(root, ",num_classes=2,ignore=65535"))[0], expected)
    np.testing.assert_array_equal(read(load(root, ",label_map=0:0+1:1+65535:2"))[0], MASK)
    expect_refusal(root, "0.png", "value 65535 in 16 pixels", "0 to 1", knobs=",num_classes=2")


def test_masks_of_one_class_are_refused_and_one_that_comes_late_is_found(tmp_path):
    root = make_masked(tmp_path / "one", [MASK * 0 + 1] * 9)
    expect_refusal(root, "The 9 masks of the train split show one class, '1',", "label_map=")
    expect_refusal(
        root, "The 9 masks of the train split show no class", knobs=",num_classes=2,label_map=0:0+7:1,ignore=1"
    )
    assert len(load(make_masked(tmp_path / "late", [MASK * 0] * 9 + [MASK]))) == 10


PUBLISHED = {
    "ade20k": ("images/{training}/a.jpg", "annotations/{training}/a.png", 150, 1),
    "camvid": ("{train}/a.png", "{train}annot/a.png", 11, 0),
    "cityscapes": ("leftImg8bit/{train}/b/a_leftImg8bit.png", "gtFine/{train}/b/a_gtFine_labelIds.png", 19, 7),
    "cityscapes_train_ids": (
        "leftImg8bit/{train}/b/a_leftImg8bit.png",
        "gtFine/{train}/b/a_gtFine_labelTrainIds.png",
        19,
        0,
    ),
    "cocostuff": ("images/{train}2017/a.jpg", "annotations/{train}2017/a.png", 171, 0),
    "lip": ("TrainVal_images/{train}_images/a.jpg", "TrainVal_parsing_annotations/{train}_segmentations/a.png", 20, 0),
    "voc": ("JPEGImages/{train}.jpg", "SegmentationClass/{train}.png", 21, 0),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_opens_its_published_layout(tmp_path, preset):
    image_at, mask_at, count, first = PUBLISHED[preset]
    for split in ("train", "val"):
        word = {"train": "training", "val": "validation"}[split] if preset == "ade20k" else split
        for at, picture in ((image_at, paint((3, 2))), (mask_at, paint_mask(first))):
            path = tmp_path / at.replace("{training}", word).replace("{train}", word)
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
        (tmp_path / "ImageSets/Segmentation").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"ImageSets/Segmentation/{split}.txt").write_text(f"{split}\n")
    data = load(tmp_path, f",classes={preset}")
    assert len(data.mask_class_names) == count and len(data) == 1
    assert read(data).tolist() == [[[0, 0, 0], [0, 0, 1]]]


def test_the_values_of_published_masks_mean_what_their_definitions_say(tmp_path):
    def find(preset):
        return find_convention(MaskKnobs(path="x", classes=preset), tmp_path)

    values = np.arange(256, dtype=np.uint8)[None]
    city = find("cityscapes").translate(values[:, list(range(34))], "m")[0]
    assert city[[7, 11, 26, 33]].tolist() == [0, 2, 13, 18] and (city != 255).sum() == 19
    coco = find("cocostuff")
    assert coco.label_map[0] == 0 and coco.label_map[181] == 170 and coco.names[-1] == "wood"
    unused = {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90}
    assert set(range(182)) - set(coco.label_map) == unused
    assert find("lip").left_right == ((14, 15), (16, 17), (18, 19)) and find("lip").names[14] == "left-arm"
    assert find("voc").translate(values[:, [0, 20, 255]], "m").tolist() == [[0, 20, 255]]


def test_the_colours_of_voc_are_the_bits_of_the_class_dealt_to_the_channels_from_the_top(tmp_path):
    def spread(number):
        return tuple(sum((number >> 3 * bit + channel & 1) << 7 - bit for bit in range(8)) for channel in range(3))

    voc = find_convention(MaskKnobs(path="x", classes="voc"), tmp_path)
    assert voc.palette == tuple(map(spread, range(21))) and voc.ignore_colours == (spread(255),)


def test_every_preset_has_a_colour_for_each_class_and_which_share_one_is_known(tmp_path):
    shared = {}
    for preset in PRESETS:
        found = find_convention(MaskKnobs(path="x", classes=preset), tmp_path)
        assert len(found.palette) == len(found.names), preset
        shared[preset] = len(found.palette) - len(set(found.palette))
    assert shared == dict.fromkeys(PRESETS, 0) | {"ade20k": 1, "cocostuff": 9}
    ade = find_convention(MaskKnobs(path="x", classes="ade20k"), tmp_path)
    assert dict(zip(ade.names, ade.palette, strict=True))["wall"] == (120, 120, 120)
    assert ade.palette[ade.names.index("flag")] == (92, 0, 255)


def test_the_values_of_a_convention_undo_what_masks_mean(tmp_path):
    for preset in PRESETS:
        found = find_convention(MaskKnobs(path="x", classes=preset), tmp_path)
        values = np.array([found.values], np.uint8)
        assert found.translate(values, "m").tolist() == [list(range(len(found.names)))]
    assert find_convention(MaskKnobs(path="x", classes="ade20k"), tmp_path).values == tuple(range(1, 151))
    assert find_convention(MaskKnobs(path="x", label_map="9:1+0:0+255:1"), tmp_path).values == (0, 9)


def test_a_colour_that_two_classes_share_is_refused_and_not_guessed(tmp_path):
    ade = find_convention(MaskKnobs(path="x", classes="ade20k"), tmp_path)
    assert ade.translate(np.array([[[92, 0, 255]]], np.uint8), "m").tolist() == [[149]]
    with pytest.raises(DataError, match=r"colour \(140, 140, 140\), which is that of road and of skyscraper"):
        ade.translate(np.array([[[140, 140, 140]]], np.uint8), "m")


def test_a_preset_that_is_not_known_gets_the_nearest(tmp_path):
    expect_refusal(make_masked(tmp_path, [MASK]), "ade20k", knobs=",classes=ade20")


SIDES = 'names = ["ground", "left", "right"]\nleft_right = [[1, 2]]\n'


def test_left_and_right_are_exchanged_on_a_flip_because_the_data_say_so(tmp_path):
    root = make_masked(tmp_path, [MASK, MASK])
    (root / "classes.toml").write_text(SIDES)
    data = load(root, "")
    assert data.left_right == ((1, 2),)
    asked = Recipe(name="plain", batch_size=1, augmentation=AugmentationConfig(crop_padding=0))
    task = TASKS["segmentation"]
    settled = task.settle_recipe(asked, data)
    augmentation = Augmentation(settled.augmentation, seed=0, image_size=data.image_size)
    assert augmentation.config.swap_on_flip == ((1, 2),)
    indices = np.arange(2)
    epoch = next(epoch for epoch in range(20) if augmentation.draw(epoch, indices).flip.all())
    draws = augmentation.draw(epoch, indices)
    once = augmentation.apply_to_masks(read(data), draws)
    np.testing.assert_array_equal(once, np.array([0, 2, 1], np.uint8)[read(data)[:, :, ::-1]])
    np.testing.assert_array_equal(augmentation.apply_to_masks(once, draws), read(data))


def test_a_recipe_that_exchanges_others_than_the_data_name_is_refused_unless_it_never_flips(tmp_path):
    root = make_masked(tmp_path, [MASK])
    (root / "classes.toml").write_text(SIDES)
    data, task = load(root, ""), TASKS["segmentation"]

    def settle(**augmentation):
        return task.settle_recipe(Recipe(name="plain", augmentation=AugmentationConfig(**augmentation)), data)

    with pytest.raises(UserError, match=r"0 and 1 on a flip.*are 1 and 2\. Leave swap_on_flip out"):
        settle(swap_on_flip=((0, 1),))
    assert settle(swap_on_flip=((2, 1),)).augmentation.swap_on_flip == ((2, 1),)
    assert settle(flip=False).augmentation.swap_on_flip == ()


@pytest.mark.parametrize("pairs", ["[[1, 3]]", "[[1, 2], [2, 0]]"])
def test_sides_that_are_no_classes_or_stand_in_two_pairs_are_refused(tmp_path, pairs):
    root = make_masked(tmp_path, [MASK])
    (root / "classes.toml").write_text(SIDES.replace("[[1, 2]]", pairs))
    expect_refusal(root, "'left_right' is", "below 3, each class once", knobs="")


COLOURS = ((128, 0, 0), (0, 128, 0), (0, 0, 128))


def write_colours(root):
    listed = [list(colour) for colour in COLOURS]
    (root / "classes.toml").write_text(f'names = ["a", "b", "c"]\npalette = {listed}\n')


def paint_palette(mask, colours):
    image = Image.frombytes("P", mask.shape[::-1], mask.tobytes())
    image.putpalette([channel for colour in colours for channel in colour])
    return image


def test_a_palette_whose_colours_contradict_its_values_is_refused(tmp_path):
    in_rgb = Image.fromarray(np.array(COLOURS, np.uint8)[MASK])
    make_masked(tmp_path, [in_rgb.convert("P", palette=Image.Palette.ADAPTIVE)])
    write_colours(tmp_path)
    expect_refusal(tmp_path, "has a palette in which the value", "Save the masks in RGB", knobs="")


@pytest.mark.parametrize("colours", [COLOURS, ((1, 1, 1), (9, 0, 0), (0, 9, 0)), tuple((n, n, n) for n in range(256))])
def test_a_palette_that_agrees_or_shows_other_colours_leaves_values_what_they_are(tmp_path, colours):
    make_masked(tmp_path, [paint_palette(MASK, colours)])
    write_colours(tmp_path)
    assert np.array_equal(read(load(tmp_path, ""))[0], MASK)


def test_masks_that_each_have_a_palette_of_their_own_are_refused(tmp_path):
    make_masked(tmp_path, [paint_palette(MASK, COLOURS), paint_palette(2 - MASK, COLOURS[::-1])])
    expect_refusal(tmp_path, "The value 0 has the colour (128, 0, 0)", "(0, 0, 128)", "a palette of its own")


@pytest.mark.parametrize("alpha", [255, 254])
def test_a_mask_in_colour_may_have_a_channel_of_transparency_if_it_has_no_transparency(tmp_path, alpha):
    mask = Image.fromarray(np.array(COLOURS, np.uint8)[MASK])
    mask.putalpha(alpha)
    make_masked(tmp_path, [mask])
    write_colours(tmp_path)
    if alpha == 255:
        assert np.array_equal(read(load(tmp_path, ""))[0], MASK)
    else:
        expect_refusal(tmp_path, "of kind RGBA", "without transparency", knobs="")


def test_masks_to_validate_on_that_are_all_void_are_refused(tmp_path):
    make_masked(tmp_path, [MASK])
    to_image(np.full_like(MASK, 255)).save(tmp_path / "masks/val/0.png")
    expect_refusal(tmp_path, "masks of the val split show no class", "nothing to judge by")


def test_a_mask_that_lies_as_its_image_is_stored_and_not_as_it_is_seen_is_told_so(tmp_path):
    image, exif = paint((8, 6)), Image.Exif()
    exif[274] = 6
    make_masked(tmp_path, [MASK], images=[image])
    image.save(tmp_path / "images/train/0.png", exif=exif)
    expect_refusal(tmp_path, "has 6x8 pixels", "turned as its EXIF data say")


def test_two_folders_of_masks_are_refused_unless_one_holds_no_images_or_one_is_named(tmp_path):
    make_masked(tmp_path, [MASK])
    for split in ("train", "val"):
        (tmp_path / "annotations" / split).mkdir(parents=True)
        (tmp_path / "annotations" / split / "0.xml").write_text("boxes")
    assert np.array_equal(read(load(tmp_path))[0], MASK)
    for split in ("train", "val"):
        (tmp_path / "annotations" / split / "0.xml").unlink()
        to_image(2 - MASK).save(tmp_path / "annotations" / split / "0.png")
    expect_refusal(tmp_path, "masks/train and annotations/train", "[layout]")
    (tmp_path / "classes.toml").write_text('names = ["a", "b", "c"]\n[layout]\nmasks = ["annotations/{}"]\n')
    assert np.array_equal(read(load(tmp_path, ""))[0], 2 - MASK)


@pytest.mark.parametrize("layout", ["", 'names = ["a", "b", "c"]\n[layout]\nimages = ["images"]\nmasks = ["masks"]\n'])
def test_one_folder_for_both_splits_is_refused(tmp_path, layout):
    make_masked(tmp_path, [MASK])
    if layout:
        (tmp_path / "classes.toml").write_text(layout)
    expect_refusal(tmp_path, "on the same folder", knobs="" if layout else ",num_classes=3,val=train")


@pytest.mark.parametrize(
    ("knob", "part"), [("0:0+1:1+2:2+1:0", "one value two classes"), ("0:0+1:2+2:2", "no value of class 1")]
)
def test_a_label_map_that_contradicts_itself_or_leaves_a_class_out_is_refused(tmp_path, knob, part):
    expect_refusal(make_masked(tmp_path, [MASK]), part, knobs=f",label_map={knob}")


def test_a_list_of_images_is_read_by_lines_and_an_empty_one_named(tmp_path):
    make_masked(tmp_path, [MASK], layout="{kind}")
    lists = tmp_path / "train.txt", tmp_path / "val.txt"
    for path in (*(tmp_path / "images").iterdir(), *(tmp_path / "masks").iterdir()):
        path.rename(path.with_name("street 1.png"))
    for path in lists:
        path.write_text("street 1\r\n", "utf-8-sig")
    (tmp_path / "classes.toml").write_text(
        'names = ["a", "b", "c"]\n[layout]\nimages = ["images"]\nmasks = ["masks"]\nlisting = "{}.txt"\n'
    )
    assert np.array_equal(read(load(tmp_path, ""))[0], MASK)
    lists[1].write_text("")
    expect_refusal(tmp_path, "list of the val split", "is empty", knobs="")


def test_the_folders_of_mmsegmentation_are_found(tmp_path):
    make_masked(tmp_path, [MASK])
    (tmp_path / "images").rename(tmp_path / "img_dir")
    (tmp_path / "masks").rename(tmp_path / "ann_dir")
    assert load(tmp_path).taken["train"] == "img_dir/train, ann_dir/train"


def test_many_masks_are_read_a_few_files_at_a_time_and_in_order(tmp_path, monkeypatch):
    data = load(make_masked(tmp_path, [np.roll(MASK, number) for number in range(5)]))
    whole = read(data)
    monkeypatch.setattr("vtbench.datasets.masked._FILES_AT_A_TIME", 2)
    asked = []
    fetch = data.split.files.masks
    object.__setattr__(data.split.files, "masks", lambda rows: asked.append(len(rows)) or fetch(rows))
    np.testing.assert_array_equal(data.read_original_masks(np.arange(5)), whole)
    assert asked == [2, 2, 1]


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ("voc", "there is no folder JPEGImages beside SegmentationClass. Add them"),
        ("camvid", "there is no folder {} beside {}annot, with train or training for {}. Add them"),
    ],
)
def test_folders_that_are_missing_are_named_as_the_layout_spells_them(tmp_path, classes, said):
    (tmp_path / "SegmentationClass").mkdir()
    with pytest.raises(UserError, match=re.escape(said)):
        load_dataset(DataConfig(spec=f"folder:{tmp_path},classes={classes}", image_size=32), "train", seed=0)
