import shutil

import numpy as np
import pytest
from image_files import encode, make_folder, make_image
from PIL import Image

from vtbench.configuration import DataConfig
from vtbench.datasets import load_dataset
from vtbench.errors import UserError


@pytest.fixture
def root(tmp_path):
    return make_folder(tmp_path / "data")


def load(root, split="train", **config):
    return load_dataset(DataConfig(spec=f"folder:{root}", **config), split, seed=0)


def expect_refusal(root, *parts, split="train"):
    with pytest.raises(UserError) as caught:
        load(root, split)
    for part in parts:
        assert str(part) in str(caught.value)


def test_a_folder_gives_its_images_labels_and_class_names(root):
    train, val = load(root), load(root, "val")
    assert train.name == f"folder:{root}"
    assert train.class_names == val.class_names == ("cat", "dog")
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1] and val.labels.tolist() == [0, 0, 1, 1]
    assert train.image_size == (8, 8)
    np.testing.assert_array_equal(train.read(np.array([4]))[0], np.asarray(make_image(4)))
    np.testing.assert_array_equal(val.read(np.array([3]))[0], np.asarray(make_image(9)))


def test_folders_inside_a_class_hidden_files_and_other_formats_are_taken_as_meant(root):
    (root / "train" / "cat" / "more").mkdir()
    (root / "train" / "cat" / "more" / "x.JPEG").write_bytes(encode(make_image(), "JPEG"))
    (root / "train" / "cat" / "y.webp").write_bytes(encode(make_image(), "WEBP"))
    (root / "train" / "cat" / ".DS_Store").write_text("junk")
    (root / "train" / ".cache").mkdir()
    (root / "train" / "dog" / "Thumbs.db").write_text("junk")
    assert load(root).labels.tolist() == [0] * 5 + [1] * 3


@pytest.mark.parametrize("name", ["valid", "validation", "test", "Testing"])
def test_the_held_out_split_may_have_other_names(root, name):
    (root / "val").rename(root / name)
    assert len(load(root, "val")) == 4


def test_images_of_mixed_sizes_are_resized_to_one(root):
    make_image(1, (30, 20)).save(root / "train" / "cat" / "large.png")
    assert load(root).image_size == (8, 8)
    assert load(root).read(np.arange(7)).shape == (7, 8, 8, 3)
    assert load(root, image_size=12).read(np.arange(7)).shape == (7, 12, 12, 3)


def test_the_fingerprint_is_of_the_content_and_not_of_the_place(root, tmp_path):
    shutil.copytree(root, tmp_path / "copy")
    assert load(tmp_path / "copy").fingerprint == load(root).fingerprint
    before = load(root).fingerprint
    make_image(99).save(root / "train" / "cat" / "0.png")
    assert load(root).fingerprint != before
    assert load(root).read(np.array([0]))[0].tolist() == np.asarray(make_image(99)).tolist()


def test_a_missing_path_is_named(tmp_path):
    expect_refusal(tmp_path / "nowhere", "There is no file or folder", tmp_path / "nowhere")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "data.parquet").write_text("")
    expect_refusal(tmp_path / "data.parquet", "is a file, not a folder", "parquet:PATH")


@pytest.mark.parametrize(("split", "asked"), [("train", "val"), ("val", "train")])
def test_a_missing_split_is_named_whichever_split_is_asked_for(root, split, asked):
    shutil.rmtree(root / split)
    expect_refusal(root, root, f"has no {split} split", f"but {asked}", split=asked)


def test_an_empty_split_is_named(root):
    shutil.rmtree(root / "train")
    (root / "train").mkdir()
    expect_refusal(root, root / "train", "is empty")


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_class_folder_is_named(root, split):
    (root / "train" / "emu").mkdir()
    make_image().save(root / "train" / "emu" / "0.png")
    (root / split / "emu").mkdir(exist_ok=True)
    (root / split / "emu" / "0.png").unlink(missing_ok=True)
    expect_refusal(root, f"The class folder {root / split / 'emu'} has no images")


def test_a_single_class_is_refused(root):
    for split in ("train", "val"):
        shutil.rmtree(root / split / "dog")
    expect_refusal(root, "one class only, 'cat'", "two or more")


def test_a_class_of_val_that_train_lacks_is_answered_with_the_nearest(root):
    (root / "val" / "dog").rename(root / "val" / "dogs")
    expect_refusal(root, root / "val" / "dogs", "training split does not have. Did you mean 'dog'?")


def test_an_image_outside_the_class_folders_is_named(root):
    make_image().save(root / "train" / "stray.png")
    expect_refusal(root, root / "train" / "stray.png", "beside the class folders")


def test_a_text_file_among_the_images_is_named(root):
    (root / "val" / "dog" / "notes.txt").write_text("remember")
    expect_refusal(root, root / "val" / "dog" / "notes.txt", "is not an image, by its name")


def test_a_text_file_with_the_name_of_an_image_is_named(root):
    (root / "train" / "dog" / "9.jpg").write_text("remember")
    expect_refusal(root, root / "train" / "dog" / "9.jpg", "not in any image format")


def test_a_truncated_image_is_named_and_leaves_no_cache_behind(root, cache_folder):
    make_image(0, (64, 64)).save(root / "train" / "dog" / "9.png")
    data = (root / "train" / "dog" / "9.png").read_bytes()
    (root / "train" / "dog" / "9.png").write_bytes(data[: len(data) // 2])
    expect_refusal(root, root / "train" / "dog" / "9.png", "is corrupt")
    assert not list(cache_folder.rglob("*.u8"))


def test_grey_palette_transparent_and_16_bit_images_stand_beside_rgb_ones(root):
    for number, mode in enumerate(("L", "P", "RGBA", "1", "LA")):
        make_image(number, mode=mode).save(root / "train" / "dog" / f"mode {mode}.png")
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(root / "train" / "dog" / "deep.png")
    images = load(root).read(np.arange(12))
    assert images.shape == (12, 8, 8, 3)
    assert (images == 40000 >> 8).all(axis=(1, 2, 3)).any()


def test_pictures_that_stand_twice_under_two_endings_are_refused_if_most_do(root):
    path = root / "train" / "cat" / "0.png"
    Image.open(path).save(path.with_suffix(".webp"))
    assert len(load(root)) == 7
    for path in (root / "train").rglob("*.png"):
        Image.open(path).save(path.with_suffix(".webp"))
    expect_refusal(root, "6 of the 12 images of", "cat/0.png and cat/0.webp", "the same pictures twice")


@pytest.mark.parametrize("name", ["Cat", "CAT", "cafe\u0301"])
def test_class_folders_that_differ_in_case_or_accents_alone_are_refused(root, name):
    for other in (name, "caf\u00e9"):
        (root / "train" / other).mkdir()
        make_image().save(root / "train" / other / "0.png")
    expect_refusal(root, "class folders", repr(name), "Put them together")


@pytest.mark.parametrize(("split", "name"), [("train", "training"), ("val", "Validation")])
def test_two_folders_of_one_split_are_refused_unless_one_is_named(root, split, name):
    shutil.copytree(root / split, root / name)
    expect_refusal(root, f"{root} holds", name, f"folder:{root},{split}=NAME")
    data = load(f"{root},{split}={name}")
    assert len(data) == 6 and data.taken[split] == name


def test_a_split_of_another_name_is_named(root):
    (root / "val").rename(root / "holdout")
    expect_refusal(root, "has no val split", f"folder:{root},val=NAME")
    assert len(load(f"{root},val=holdout", "val")) == 4
    expect_refusal(f"{root},val=holdut", "there is none of holdut/ in it, but holdout, train")


def test_limits_take_a_balanced_subset(root):
    assert np.bincount(load(root, limit_train=4).labels).tolist() == [2, 2]
    with pytest.raises(UserError, match="--limit-val asks for 5 images"):
        load(root, "val", limit_val=5)


def test_data_without_masks_says_so(root):
    assert not load(root).has_masks
    with pytest.raises(UserError, match="has no masks"):
        load(root).read_masks(np.arange(2))
    with pytest.raises(UserError, match="has no masks"):
        load(root).mask_class_names  # noqa: B018


@pytest.mark.parametrize("knob", ["val=train", "train=val"])
def test_one_folder_for_both_splits_is_refused(root, knob):
    expect_refusal(f"{root},{knob}", "trained and validated on the same folder")


def test_a_class_whose_accents_are_encoded_otherwise_in_one_split_is_the_same_class(root):
    for split, form in (("train", "caf\u00e9"), ("val", "cafe\u0301")):
        (root / split / "cat").rename(root / split / form)
    assert load(root).class_names == load(root, split="val").class_names
    assert load(root, split="val").labels.tolist() == [0, 0, 1, 1]


def test_smaller_copies_in_a_folder_below_the_pictures_are_refused(root):
    (root / "train/cat/small").mkdir()
    make_image(size=(4, 4)).save(root / f"train/cat/small/{next((root / 'train/cat').glob('*.png')).name}")
    expect_refusal(root, "train/cat/small", "called like images in the folder above")
