import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vtbench.datasets.data_files import DataFile
from vtbench.datasets.parquet_table import (
    check_column,
    find_image_column,
    find_label_column,
    find_mask_columns,
    shows_masks,
)
from vtbench.errors import UserError, format_names

IMAGE = pa.struct({"bytes": "binary", "path": "string"})
WORDS = pa.dictionary(pa.int32(), pa.string())


def make_schema(features=None, **columns):
    kinds = {"images": IMAGE, "words": pa.string(), "coded": WORDS, "ints": pa.int64(), "floats": pa.float64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    info = {"info": {"features": {name: {"_type": kind} for name, kind in (features or {}).items()}}}
    return schema.with_metadata({"huggingface": json.dumps(info)})


def expect_refusal(find, schema, *parts, wanted=None):
    with pytest.raises(UserError) as caught:
        find("data/train.parquet", schema, wanted, "parquet:data")
    for part in ("data/train.parquet", *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("label", "other"),
    [
        ("words", "__index_level_0__"),
        ("coded", "fold"),
        ("floats", "image_id"),
        ("words", "Unnamed: 0"),
        ("words", "target"),
    ],
)
def test_a_label_column_that_cannot_be_is_refused_and_no_other_taken_for_it(label, other):
    schema = make_schema(image="images", label=label, **{other: "ints"})
    listed = f"{format_names([other])} (int64"
    expect_refusal(find_label_column, schema, "The column 'label'", "labels are integers", "label=NAME", listed)


@pytest.mark.parametrize("other", ["__index_level_0__", "id", "fold", "width", "age"])
def test_the_only_column_of_integers_is_not_labels_for_being_the_only_one(other):
    schema = make_schema(image="images", **{other: "ints"})
    expect_refusal(find_label_column, schema, "no column of labels by its name", "parquet:data,label=NAME", other)
    assert find_label_column("", schema, other) == other


@pytest.mark.parametrize("other", ["mask", "thumb", "annotation", "motif"])
def test_the_only_column_of_bytes_is_not_images_for_being_the_only_one(other):
    expect_refusal(find_image_column, make_schema(label="ints", **{other: "images"}), "no column of images", other)
    paths = make_schema(image="words", label="ints", **{other: "images"})
    expect_refusal(find_image_column, paths, "'image'", "holds string", "not their paths", "parquet:data,image=NAME")


def test_usual_names_count_in_any_case_and_the_metadata_decide_where_names_do_not():
    assert find_label_column("", make_schema(Image="images", LABEL="ints"), None) == "LABEL"
    assert find_image_column("", make_schema(Image="images", LABEL="ints"), None) == "Image"
    told = {"photo_file": "Image", "motif": "Image", "mask": "Image", "breed": "ClassLabel", "fold": "ClassLabel"}
    schema = make_schema(
        told, photo_file="images", motif="images", mask="images", breed="ints", age="ints", fold="ints"
    )
    assert find_image_column("", schema, None) == "motif" and find_label_column("", schema, None) == "breed"
    two = make_schema({"breed": "ClassLabel", "sex": "ClassLabel"}, breed="ints", sex="ints")
    expect_refusal(find_label_column, two, "several columns", "breed, sex")


def test_two_usual_names_are_refused_unless_the_metadata_tell_them_apart():
    expect_refusal(find_label_column, make_schema(label="ints", target="ints"), "several", "label, target")
    told = make_schema({"target": "ClassLabel"}, label="ints", target="ints")
    assert find_label_column("", told, None) == "target"
    expect_refusal(find_image_column, make_schema(image="images", img="images"), "several", "image, img")
    assert find_label_column("", make_schema({}, fine_label="ints", coarse_label="ints"), None) == "fine_label"


def test_two_columns_of_one_name_are_refused():
    schema = pa.schema([("image", IMAGE), ("label", pa.int64()), ("label", pa.int64())])
    expect_refusal(find_label_column, schema, "2 columns called 'label'. Rename them.")


def test_masks_are_told_by_their_names_and_are_not_images():
    schema = make_schema(image="images", mask="images", __index_level_0__="ints")
    assert shows_masks(schema) and find_mask_columns("", schema, None, None) == ("image", "mask")
    assert not shows_masks(make_schema(image="images", mask="images", label="words"))
    assert find_mask_columns("", make_schema(image="images", label="images"), None, None) == ("image", "label")
    expect_refusal(find_label_column, make_schema(image="images", label="images"), "mask=label", "num_classes=NUMBER")
    with pytest.raises(UserError, match="several columns that may be of masks: annotation, mask"):
        find_mask_columns("", make_schema(image="images", mask="images", annotation="images"), None, None)


def test_every_file_has_the_columns_of_the_first(tmp_path):
    schemas = [make_schema(image="images", label="ints"), make_schema(image="words", label="ints"), pa.schema([])]
    paths = [tmp_path / f"train-{number}.parquet" for number in range(3)]
    for path, schema in zip(paths, schemas, strict=True):
        pq.write_table(schema.empty_table(), path)
    first, second, third = (DataFile.find(path, tmp_path) for path in paths)
    with pytest.raises(UserError, match=r"'image' holds string in .*train-1\.parquet and struct"):
        check_column(second, schemas[1], "image", IMAGE, first)
    with pytest.raises(UserError, match=r"train-2\.parquet has no column 'label', which .*train-0\.parquet has"):
        check_column(third, schemas[2], "label", pa.int64(), first)
    check_column(second, schemas[1], "label", pa.int32(), first)


def test_where_masks_are_and_no_labels_the_message_says_how_to_ask_for_masks():
    schema = make_schema(image="images", annotation="images")
    expect_refusal(find_label_column, schema, "For masks, write parquet:data,num_classes=NUMBER")
