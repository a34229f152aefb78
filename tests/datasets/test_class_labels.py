import json

import datasets as hub
import numpy as np
import pyarrow.parquet as pq
import pytest
from image_files import make_folder, make_image, make_table

from vtbench.configuration import DataConfig
from vtbench.datasets import load_dataset
from vtbench.errors import UserError

AB, BA, ABC = ["cat", "dog"], ["dog", "cat"], ["cat", "dog", "emu"]
NAMES = ["cat", "dog"]


@pytest.fixture(autouse=True)
def library_folder(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(hub.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("library")))


def write(root, name, classes, names):
    """Rows of the classes by their names, each with a picture that its class and row decide."""
    root.mkdir(parents=True, exist_ok=True)
    told = {"huggingface": json.dumps({"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}})}
    numbers = [(names or NAMES).index(one) for one in classes]
    images = [encode_class(one, row) for row, one in enumerate(classes)]
    pq.write_table(make_table(numbers, images=images, metadata=told if names else None), root / f"{name}.parquet")


def encode_class(name, row):
    from image_files import encode

    return encode(make_image(100 * ABC.index(name) + row))


def load(root, split="train", kind="parquet"):
    return load_dataset(DataConfig(spec=f"{kind}:{root}"), split, seed=0)


def read_names(data):
    return [data.class_names[label] for label in data.labels]


@pytest.mark.parametrize("kind", ["parquet", "huggingface"])
def test_the_same_names_in_another_order_are_mapped_by_name(tmp_path, kind):
    write(tmp_path, "train-0", ["cat", "dog", "dog"], AB)
    write(tmp_path, "train-1", ["dog", "dog", "cat"], BA)
    write(tmp_path, "val", ["dog", "cat", "cat"], BA)
    train, val = load(tmp_path, kind=kind), load(tmp_path, "val", kind)
    assert read_names(train) == ["cat", "dog", "dog", "dog", "dog", "cat"]
    assert read_names(val) == ["dog", "cat", "cat"]
    assert train.class_names == val.class_names == ("cat", "dog")
    np.testing.assert_array_equal(train.read(np.array([3]))[0], np.asarray(make_image(100)))


@pytest.mark.parametrize("kind", ["parquet", "huggingface"])
@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (ABC, ("names other classes in column 'label'", "has emu")),
        (["cat", "fox"], ("has fox", "has dog")),
        (None, ("does not name its classes", "(cat, dog)")),
    ],
)
def test_other_names_and_missing_ones_are_refused_with_the_difference(tmp_path, kind, names, parts):
    write(tmp_path, "train-0", ["cat", "dog", "dog"], AB)
    write(tmp_path, "train-1", ["cat", "cat"], names)
    write(tmp_path, "val", ["dog", "cat"], AB)
    with pytest.raises(UserError) as caught:
        load(tmp_path, kind=kind)
    for part in ("train-1.parquet", "train-0.parquet", *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize("kind", ["parquet", "huggingface"])
@pytest.mark.parametrize(
    ("train", "val", "part"),
    [
        (["cat", "dog", "dog"], [], "no rows"),
        (["cat", "dog", "dog"], ["dog"], "The val split of {} has no image of 1 of the 2 classes: 0 (cat)."),
        (["cat", "cat", "cat"], ["cat"], "The train split of {} has no image of 1 of the 2 classes: 1 (dog)."),
        (["cat", "dog"], ["cat", "dog"], "as many classes as images, 2"),
    ],
)
def test_splits_too_small_to_learn_or_judge_are_refused_at_opening(tmp_path, kind, train, val, part):
    write(tmp_path, "train", train, AB)
    write(tmp_path, "val", val, AB)
    with pytest.raises(UserError) as caught:
        load(tmp_path, kind=kind)
    assert part.format(f"{'' if kind == 'parquet' else 'huggingface:'}{tmp_path} (column 'label')") in str(caught.value)


@pytest.mark.parametrize("kind", ["parquet", "huggingface"])
def test_an_unlabelled_split_is_left_out_or_another_named(tmp_path, kind):
    for name, labels in (("train", [0, 1, 0]), ("test", [-1, -1]), ("extra", [0, 1])):
        pq.write_table(make_table(labels), tmp_path / f"{name}.parquet")
    (tmp_path / "extra.parquet").rename(tmp_path / "validation.parquet")
    assert load(tmp_path, "val", kind).labels.tolist() == [0, 1]
    with pytest.raises(UserError, match=r"2 of its 2 rows: -1 stands for .* without a label\. .*,val=NAME"):
        load(f"{tmp_path},val=test", "val", kind)


def test_a_folder_is_refused_for_the_same_reasons(tmp_path):
    with pytest.raises(UserError, match="as many classes as images, 2"):
        load(make_folder(tmp_path / "a", num_train=1), kind="folder")
    root = make_folder(tmp_path / "b")
    for path in (root / "val/cat").iterdir():
        path.unlink()
    (root / "val/cat").rmdir()
    with pytest.raises(UserError, match=r"The val split of .*b has no image of 1 of the 2 classes: 0 \(cat\)"):
        load(root, kind="folder")


def test_two_classes_of_one_name_are_refused(tmp_path):
    for split in ("train", "val"):
        write(tmp_path, split, ["cat", "dog", "dog"], [*AB, "cat"])
    with pytest.raises(UserError, match="calls two classes of column 'label' 'cat'"):
        load(tmp_path)
