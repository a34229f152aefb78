import json
import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import encode, make_image, make_parquet, make_table
from PIL import Image

from vtbench.configuration import DataConfig
from vtbench.datasets import load_dataset
from vtbench.errors import UserError

NAMED = {"huggingface": json.dumps({"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}})}


@pytest.fixture
def root(tmp_path):
    return make_parquet(tmp_path / "data")


def load(root, split="train", knobs="", **config):
    return load_dataset(DataConfig(spec=f"parquet:{root}{knobs}", **config), split, seed=0)


def expect_refusal(root, *parts, knobs=""):
    with pytest.raises(UserError) as caught:
        load(root, knobs=knobs)
    for part in parts:
        assert str(part) in str(caught.value)


def test_files_give_their_images_and_labels_over_row_groups(root):
    train, val = load(root), load(root, "val")
    assert train.labels.tolist() == [0, 1, 0, 1] and val.labels.tolist() == [0, 1]
    assert train.class_names == ("0", "1") and train.image_size == (8, 8)
    for row in range(4):
        np.testing.assert_array_equal(train.read(np.array([row]))[0], np.asarray(make_image(row)))


def test_class_names_come_from_the_metadata(tmp_path):
    assert load(make_parquet(tmp_path, metadata=NAMED)).class_names == ("cat", "dog")


def test_columns_of_other_names_are_found_or_given(tmp_path):
    root = make_parquet(tmp_path, image="motif", label="kind")
    for split in ("train", "val"):
        path = root / f"{split}-00000-of-00001.parquet"
        table = pq.read_table(path)
        table = table.append_column("thumb", table["motif"]).append_column("rating", pa.array([1] * len(table)))
        pq.write_table(table, path)
    expect_refusal(root, "no column of images by its name", f"parquet:{root},image=NAME", "thumb (struct", "motif (")
    expect_refusal(root, "no column of labels by its name", f"parquet:{root},label=NAME", knobs=",image=motif")
    data = load(root, knobs=",image=motif,label=kind")
    assert data.labels.tolist() == [0, 1, 0, 1]
    assert data.name == f"parquet:{root},image=motif,label=kind"
    assert data.split.taken == {"image": "motif", "label": "kind", "train": "train", "val": "val"}


def test_a_usual_name_decides_between_several_columns(root):
    for path in root.iterdir():
        table = pq.read_table(path)
        pq.write_table(
            table.append_column("mask", table["image"]).append_column("id", pa.array([7] * len(table))), path
        )
    assert load(root).labels.tolist() == [0, 1, 0, 1]


def test_plain_bytes_are_images_too(tmp_path):
    for split in ("train", "val"):
        images = pa.array([encode(make_image(number)) for number in range(4)], pa.binary())
        pq.write_table(pa.table({"image": images, "label": [0, 1, 1, 0]}), tmp_path / f"{split}.parquet")
    np.testing.assert_array_equal(load(tmp_path).read(np.array([2]))[0], np.asarray(make_image(2)))


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("data/train-0.parquet", "data/validation-0.parquet"),
        ("train/0000.parquet", "test/0000.parquet"),
        ("TRAIN.parquet", "dev.parquet"),
        ("set.training/train_1.parquet", "valid_1.parquet"),
    ],
)
def test_the_split_is_read_off_the_name_of_file_or_folder(root, tmp_path, train, val):
    new = tmp_path / "new"
    for old, name in (("train", train), ("val", val)):
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{old}-00000-of-00001.parquet").rename(new / name)
    assert (len(load(new)), len(load(new, "val"))) == (4, 2)


def test_test_is_val_only_when_there_is_no_val(root):
    pq.write_table(make_table([0, 1, 1]), root / "test-0.parquet")
    assert len(load(root, "val")) == 2
    (root / "val-00000-of-00001.parquet").unlink()
    assert len(load(root, "val")) == 3


def test_several_files_of_a_split_follow_each_other_by_name(root):
    (root / "train-00000-of-00001.parquet").rename(root / "train-00000-of-00002.parquet")
    pq.write_table(make_table([1, 1]), root / "train-00001-of-00002.parquet")
    data = load(root)
    assert data.labels.tolist() == [0, 1, 0, 1, 1, 1]
    np.testing.assert_array_equal(data.read(np.array([5, 0]))[0], np.asarray(make_image(1)))


def test_a_split_can_be_sent_to_another_process(root):
    split = load(root).split
    split.read(np.arange(4))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(split)).read(np.arange(4)), split.read(np.arange(4)))


def test_a_missing_path_is_named(tmp_path):
    expect_refusal(tmp_path / "nowhere", "There is no file or folder", tmp_path / "nowhere")


def test_an_empty_folder_is_named(tmp_path):
    expect_refusal(tmp_path, tmp_path, "has no train split", "it holds no parquet file")


def test_a_missing_split_is_named(root):
    (root / "val-00000-of-00001.parquet").unlink()
    expect_refusal(root, root, "has no val split")
    (root / "train-00000-of-00001.parquet").rename(root / "val-0.parquet")
    expect_refusal(root, root, "has no train split", "it holds val-0.parquet")


def test_a_file_of_no_split_is_named(root):
    (root / "extra.parquet").write_bytes(b"")
    expect_refusal(root, root / "extra.parquet", "cannot be seen which split")


@pytest.mark.parametrize("content", [b"", b"PAR1 but no more", b"text" * 100])
def test_an_unreadable_file_is_named(root, content):
    path = root / "train-00000-of-00001.parquet"
    path.write_bytes(content)
    expect_refusal(root, path, "cannot be read as a parquet file")


def test_a_torn_second_file_is_named(root):
    data = (root / "train-00000-of-00001.parquet").read_bytes()
    (root / "train-00000-of-00001.parquet").rename(root / "train-00000-of-00002.parquet")
    (root / "train-00001-of-00002.parquet").write_bytes(data[: len(data) // 2])
    expect_refusal(root, root / "train-00001-of-00002.parquet", "cannot be read")


@pytest.mark.parametrize(
    ("knobs", "parts"),
    [
        (",image=imgae", ("no column 'imgae'. Did you mean 'image'",)),
        (",label=lable", ("no column 'lable'. Did you mean 'label'",)),
        (",label=image", ("The column 'image'", "but labels are integers")),
        (",image=label", ("The column 'label'", "holds int64, but images are bytes")),
    ],
)
def test_a_wrong_column_is_named_with_what_there_is(root, knobs, parts):
    expect_refusal(root, root / "train-00000-of-00001.parquet", *parts, knobs=knobs)


@pytest.mark.parametrize(("values", "kind"), [(["a", "b"], "string"), ([0.0, 1.0], "double")])
def test_labels_that_are_not_integers_are_refused(tmp_path, values, kind):
    expect_refusal(
        make_parquet(
            tmp_path, train=values, val=values, label_type=getattr(pa, "float64" if kind == "double" else kind)()
        ),
        f"The column 'label' of {tmp_path / 'train-00000-of-00001.parquet'} holds {kind}, but labels are integers.",
        f"label ({kind})",
    )


def test_a_row_without_label_is_named(tmp_path):
    expect_refusal(make_parquet(tmp_path, train=(0, 1, None, 1)), "Row 2 of", "train-00000", "has no label")


def test_a_negative_label_is_named(tmp_path):
    expect_refusal(
        make_parquet(tmp_path, train=(0, 1, 0, -1)), "Row 3 of", "has the label -1", "1 of its 4 rows", "val=NAME"
    )
    expect_refusal(make_parquet(tmp_path, train=(0, 1, -7, -1)), "Row 2 of", "the label -7", "Labels start at 0.")


def test_a_label_beyond_the_named_classes_is_named(tmp_path):
    expect_refusal(
        make_parquet(tmp_path, train=(0, 1, 2), metadata=NAMED),
        "Row 2 of",
        "has the label 2",
        "There are 2 classes, 0 to 1",
    )


def test_a_label_of_val_that_train_does_not_have_is_named(tmp_path):
    expect_refusal(
        make_parquet(tmp_path, val=(0, 1, 5)), "Row 2 of", "val-00000", "has the label 5", "There are 2 classes"
    )


def test_a_class_without_images_is_named(tmp_path):
    expect_refusal(make_parquet(tmp_path, train=(0, 2, 0, 2)), "has no image of 1 of the 3 classes: 1 (1)")


def test_a_huge_label_is_refused_without_making_as_many_classes(tmp_path):
    expect_refusal(make_parquet(tmp_path, train=(0, 1, 10**12)), "Row 2 of", "has the label 1000000000000")


def test_one_class_alone_or_no_rows_are_refused(tmp_path):
    expect_refusal(make_parquet(tmp_path / "one", train=(0, 0), val=(0,)), "one class only")
    expect_refusal(make_parquet(tmp_path / "none", train=(), val=()), "has no rows")


def test_a_corrupt_image_is_named_by_file_and_row(tmp_path):
    images = [encode(make_image(0)), encode(make_image(1)), encode(make_image(2)), b"text"]
    root = make_parquet(tmp_path / "a")
    pq.write_table(make_table([0, 1, 0, 1], images=images), root / "train-00000-of-00001.parquet", row_group_size=3)
    expect_refusal(root, f"The image in row 3 of {root / 'train-00000-of-00001.parquet'} cannot be read")


def test_a_row_with_a_path_but_no_bytes_is_explained(tmp_path):
    root = make_parquet(tmp_path)
    cells = pa.array([{"bytes": None, "path": "cat.png"}] * 3, pa.struct({"bytes": "binary", "path": "string"}))
    pq.write_table(pa.table({"image": cells, "label": [0, 1, 0]}), root / "train-00000-of-00001.parquet")
    expect_refusal(root, "row 0 of", "holds only the path 'cat.png'")


def test_two_columns_of_one_name_are_refused(root):
    for path in root.iterdir():
        table = pq.read_table(path)
        pq.write_table(pa.table([*table.columns, table["label"]], names=[*table.column_names, "label"]), path)
    expect_refusal(root, "has several columns of the name label", "Rename all but one")


def test_a_run_on_other_data_does_not_load_the_library_that_reads_parquet():
    program = "import sys, vtbench.datasets; print('pyarrow' in sys.modules)"
    call = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert call.stdout == "False\n"


def write_told_by_rows(root, splits, *, name="data.parquet", labels=None, **options):
    root.mkdir(parents=True, exist_ok=True)
    table = make_table(labels or [number % 2 for number in range(len(splits))], **options)
    pq.write_table(table.append_column("Split", pa.array(splits)), root / name, row_group_size=3)
    return root


SPLITS = ["train", "validation", "train", "train", "train", "validation", "test", "test"]


def test_rows_tell_their_split_where_no_name_of_a_file_does(tmp_path):
    root = write_told_by_rows(tmp_path / "data", SPLITS, labels=[0, 0, 1, 0, 1, 1, 0, 1])
    train, val = load(root), load(root, "val")
    assert (train.labels.tolist(), val.labels.tolist()) == ([0, 1, 0, 1], [0, 1])
    whole = load(make_parquet(tmp_path / "whole", train=[0, 0, 1, 0, 1, 1, 0, 1]))
    np.testing.assert_array_equal(train.read(np.arange(4)), whole.read(np.array([0, 2, 3, 4])))
    np.testing.assert_array_equal(val.read(np.array([1, 0])), whole.read(np.array([5, 1])))
    assert train.taken == {"image": "image", "label": "label", "train": "Split:train", "val": "Split:validation"}
    assert len({train.content, val.content, load(root, "val", ",val=test").content}) == 3
    assert pickle.loads(pickle.dumps(val.split)).fetch(np.arange(2)) == val.split.fetch(np.arange(2))


def test_rows_of_several_files_tell_their_split_in_values_that_the_user_names(tmp_path):
    root = write_told_by_rows(tmp_path / "data", ["fit", "fit", "try"], name="a.parquet")
    write_told_by_rows(root, ["fit", "try", "fit", "fit"], name="b.parquet")
    assert load(root, knobs=",train=fit,val=try").labels.tolist() == [0, 1, 0, 0, 1]
    assert load(root, "val", ",train=fit,val=try").labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("splits", "knobs", "message"),
    [
        (["train", "train", "odd"], "", "values that name no split, such as 'odd': 'train' in 2 rows, 'odd' in 1 rows"),
        (["train"] * 4, "", "No row of .* is of the val split, by its column 'Split': 'train' in 4 rows"),
        (["train", "train", None, "val"], "", "1 of the 4 rows of .* do not say in the column 'Split'"),
        (["fit", "fit", "try", "try"], ",train=fit,val=fit", "with Split=fit are to be trained and validated on"),
    ],
)
def test_rows_that_do_not_tell_both_splits_are_refused(tmp_path, splits, knobs, message):
    root = write_told_by_rows(tmp_path / "data", splits)
    with pytest.raises(UserError, match=message):
        load(root, knobs=knobs)


def test_rows_that_contradict_the_name_of_their_file_are_refused(tmp_path):
    root = write_told_by_rows(tmp_path / "data", ["train", "val", "train", "train"], name="train.parquet")
    write_told_by_rows(root, ["val", "val"], name="val.parquet")
    with pytest.raises(UserError, match=r"taken for the train split, and its column 'Split' says otherwise of 1 of"):
        load(root)
    write_told_by_rows(root, ["train", "train", "train", "train"], name="train.parquet")
    assert load(root).taken["train"] == "train"


def test_masks_are_those_of_the_rows_that_tell_their_split(tmp_path):
    masks = [np.full((8, 8), number % 3, np.uint8) for number in range(6)]
    for mask in masks:
        mask[0, 0] = 1
    images = [encode(make_image(number, (8, 8))) for number in range(6)]
    table = pa.table({"image": images, "mask": [encode(Image.fromarray(mask)) for mask in masks]})
    root = tmp_path / "data"
    root.mkdir()
    pq.write_table(table.append_column("split", pa.array(["train", "val"] * 3)), root / "all.parquet")
    val = load(root, "val", ",num_classes=3")
    np.testing.assert_array_equal(val.read_masks(np.arange(3)), np.stack(masks[1::2]))


def test_a_row_group_is_held_while_it_is_read_and_let_go_with_its_last_row(root):
    rows = load(root).split.rows
    held = []
    for row in (0, 1, 2, 3):
        rows.fetch(np.array([row]))
        held.append(len(rows._last))
    assert held == [1, 1, 0, 0]
    assert len(rows.fetch(np.array([2, 0, 3, 1]))) == 4
    assert not rows._last
