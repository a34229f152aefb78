import hashlib
import json
import pickle
import sys
import types
import zipfile

import datasets as hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import encode, make_folder, make_image, make_parquet, make_table
from PIL import Image

from vtbench.configuration import AugmentationConfig, DataConfig
from vtbench.datasets import load_dataset
from vtbench.datasets.batches import TrainBatches
from vtbench.datasets.cache import CachedImages
from vtbench.datasets.sources.huggingface import HuggingFaceSplit
from vtbench.errors import UserError

WAYS = ("off", "on")


class TransportError(Exception):
    """What the library's own library for the network raises; it has changed from version to version."""


class StatusError(Exception):
    """The same when the network works and the answer is no."""


@pytest.fixture(autouse=True)
def library_folder(tmp_path_factory, monkeypatch):
    """Keep the library's own cache out of the user's, too."""
    folder = tmp_path_factory.mktemp("library")
    monkeypatch.setattr(hub.config, "HF_DATASETS_CACHE", str(folder))
    return folder


@pytest.fixture
def use_cache(tmp_path_factory, monkeypatch):
    """Give a function that goes to a new, empty cache folder."""
    return lambda: monkeypatch.setenv("VTBENCH_CACHE", str(tmp_path_factory.mktemp("other")))


def load(root, split="train", knobs="", **config):
    return load_dataset(DataConfig(spec=f"huggingface:{root}{knobs}", **config), split, seed=0)


def expect_refusal(root, *parts, knobs=""):
    with pytest.raises(UserError) as caught:
        load(root, knobs=knobs)
    for part in parts:
        assert str(part) in str(caught.value)
    assert "\n" not in str(caught.value)


def make_hub_parquet(root):
    """Files as the hub has them: image and class-label features in the metadata, several files of a split."""
    features = hub.Features({"image": hub.Image(), "label": hub.ClassLabel(names=["cat", "dog"])})
    root.mkdir(parents=True)
    for name, labels in (("train-0", [0, 1, 0]), ("train-1", [1, 1]), ("test-0", [1, 0])):
        images = [{"bytes": encode(make_image(len(name) + label)), "path": None} for label in labels]
        table = hub.Dataset.from_dict({"image": images, "label": labels}, features=features)
        table.to_parquet(str(root / f"{name}.parquet"))
    return root


def make_zipped_folder(root):
    root.mkdir()
    for split, labels in (("train", (0, 1, 0)), ("val", (1, 0))):
        with zipfile.ZipFile(root / f"{split}.zip", "w") as archive:
            for row in range(len(labels)):
                archive.writestr(f"{row}.png", encode(make_image(row)))
            lines = [json.dumps({"file_name": f"{row}.png", "label": label}) for row, label in enumerate(labels)]
            archive.writestr("metadata.jsonl", "\n".join(lines))
    return root


def hash_batches(data):
    batches = TrainBatches(data, batch_size=2, seed=0, augmentation=AugmentationConfig())
    digest = hashlib.sha256()
    for epoch in range(2):
        for images, labels in batches.epoch(epoch):
            digest.update(images.numpy().tobytes() + labels.numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("limit", ["2048", "0"])
@pytest.mark.parametrize("make", [make_parquet, make_hub_parquet, make_folder, make_zipped_folder])
def test_streamed_and_not_streamed_are_the_same_data(make, limit, tmp_path, use_cache, monkeypatch):
    monkeypatch.setenv("VTBENCH_CACHE_LIMIT_MB", limit)
    root = make(tmp_path / "data")
    found = []
    for way in WAYS:
        use_cache()
        train, val = load(root, knobs=f",streaming={way}"), load(root, "val", knobs=f",streaming={way}")
        assert isinstance(train.images, CachedImages if limit == "2048" else HuggingFaceSplit)
        pixels = [data.read(np.arange(len(data))).tobytes() for data in (train, val)]
        labels = [data.labels.tolist() for data in (train, val)]
        found.append((pixels, labels, train.class_names, train.mean, train.fingerprint, hash_batches(train)))
    assert found[0] == found[1]


@pytest.mark.parametrize("way", WAYS)
def test_rows_give_their_images_and_labels_in_order(tmp_path, way):
    root = make_parquet(tmp_path / "data")
    data = load(root, knobs=f",streaming={way}")
    assert data.labels.tolist() == [0, 1, 0, 1] and data.class_names == ("0", "1") and data.image_size == (8, 8)
    for row in (3, 0, 2, 1):
        np.testing.assert_array_equal(data.read(np.array([row]))[0], np.asarray(make_image(row)))


def test_class_names_come_from_the_features_and_test_stands_in_for_val(tmp_path):
    root = make_hub_parquet(tmp_path / "data")
    train, val = load(root), load(root, "val")
    assert train.class_names == val.class_names == ("cat", "dog")
    assert train.labels.tolist() == [0, 1, 0, 1, 1] and val.labels.tolist() == [1, 0]


def test_an_image_folder_gives_its_classes(tmp_path):
    data = load(make_folder(tmp_path / "data"))
    assert data.class_names == ("cat", "dog") and data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(data.read(np.array([4]))[0], np.asarray(make_image(4)))


def test_a_large_split_is_read_by_index_also_in_another_process(tmp_path, monkeypatch):
    monkeypatch.setenv("VTBENCH_CACHE_LIMIT_MB", "0")
    images = load(make_parquet(tmp_path / "data"), knobs=",streaming=on").images
    sent = pickle.loads(pickle.dumps(images))
    np.testing.assert_array_equal(sent.read(np.array([2, 0])), images.read(np.array([2, 0])))


def test_data_is_read_through_once_however_it_is_fetched(tmp_path, monkeypatch):
    root = make_parquet(tmp_path / "data")
    first = load(root, knobs=",streaming=on")

    def refuse(*_, **__):
        raise AssertionError("read through again")

    monkeypatch.setattr(hub.DatasetBuilder, "as_streaming_dataset", refuse)
    monkeypatch.setattr(hub.DatasetBuilder, "as_dataset", refuse)
    assert load(root, knobs=",streaming=on").fingerprint == first.fingerprint
    assert load(root).fingerprint == first.fingerprint


@pytest.mark.parametrize("make", [make_parquet, make_folder])
def test_changed_data_is_packed_anew(make, tmp_path):
    root = make(tmp_path / "data")
    before = load(root)
    path = next(iter(sorted(root.rglob("*0.p*"))), None) or root / "train-00000-of-00001.parquet"
    if path.suffix == ".png":
        make_image(77).save(path)
    else:
        pq.write_table(make_table([1, 0, 1]), path)
    after = load(root)
    assert after.fingerprint != before.fingerprint
    assert after.read(np.arange(3)).tobytes() != before.read(np.arange(3)).tobytes() or len(after) != len(before)


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b""), lambda path: path.unlink()])
@pytest.mark.parametrize("ending", ["json", "pack", "index"])
def test_a_torn_or_missing_file_of_the_pack_is_made_anew(tmp_path, cache_folder, ending, damage):
    root = make_parquet(tmp_path / "data")
    before = load(root)
    for path in (cache_folder / "packed").glob(f"*.{ending}"):
        damage(path)
    np.testing.assert_array_equal(load(root).read(np.arange(4)), before.read(np.arange(4)))
    assert load(root).fingerprint == before.fingerprint


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_that_breaks_off_leaves_no_pack(tmp_path, cache_folder, monkeypatch, way):
    root = make_parquet(tmp_path / "data")

    class Breaking:
        def __init__(self, table):
            self.table, self.features, self.info = table, table.features, table.info

        def select_columns(self, columns):
            return Breaking(self.table.select_columns(columns))

        def __iter__(self):
            for _, cells in zip(range(1), self.table, strict=False):
                yield cells
            raise TransportError("the read operation timed out")

    whole = hub.DatasetBuilder.as_streaming_dataset, hub.DatasetBuilder.as_dataset
    with monkeypatch.context() as broken:
        broken.setattr(
            hub.DatasetBuilder,
            "as_streaming_dataset",
            lambda self: {name: Breaking(table) for name, table in whole[0](self).items()},
        )
        broken.setattr(hub.DatasetBuilder, "as_dataset", lambda self, split: Breaking(whole[1](self, split=split)))
        expect_refusal(root, "cannot be reached", "the read operation timed out", knobs=f",streaming={way}")
    assert not list((cache_folder / "packed").iterdir())
    assert len(load(root, knobs=f",streaming={way}")) == 4


def test_without_the_library_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    expect_refusal("owner/name", "needs the library datasets", "pip install 'vtbench[huggingface]'")
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(__path__=["work/datasets"]))
    expect_refusal("owner/name", "What is imported by that name is ['work/datasets']")
    old = types.SimpleNamespace(__version__="2.21.0", load_dataset_builder=None)
    monkeypatch.setitem(sys.modules, "datasets", old)
    expect_refusal("owner/name", "version 3 or newer", "pip install 'vtbench[huggingface]'", "Installed is 2.21.0")


def raise_always(error):
    def refuse(*_, **__):
        raise error

    return refuse


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Couldn't reach 'owner/name' on the Hub"),
        TransportError("Name or service not known"),
        TimeoutError("timed out"),
    ],
)
def test_without_network_the_message_says_what_to_do(error, monkeypatch):
    monkeypatch.setattr(hub, "load_dataset_builder", raise_always(error))
    expect_refusal("owner/name", "huggingface:owner/name", "cannot be reached", error, "scenes")


def test_the_library_in_offline_mode_is_no_network(monkeypatch):
    monkeypatch.setattr(hub.config, "HF_HUB_OFFLINE", True)
    expect_refusal("owner/name", "huggingface:owner/name", "cannot be reached")


def test_a_name_that_the_hub_does_not_have_is_not_taken_for_a_broken_network(monkeypatch):
    error = hub.exceptions.DatasetNotFoundError("Dataset 'owner/name' doesn't exist on the Hub or cannot be accessed.")
    error.__cause__ = TransportError("not the point")
    monkeypatch.setattr(hub, "load_dataset_builder", raise_always(error))
    expect_refusal("owner/name", "no data set 'owner/name'", "Check the name", "hf auth login")
    unknown = hub.exceptions.DataFilesNotFoundError("No (supported) data files found in owner/name")
    unknown.__cause__ = StatusError("404")
    monkeypatch.setattr(hub, "load_dataset_builder", raise_always(unknown))
    expect_refusal("owner/name", "No (supported) data files found")


def test_what_was_packed_is_used_while_the_hub_cannot_be_reached(tmp_path, monkeypatch):
    root = make_parquet(tmp_path / "data")
    before = load(root, knobs=",streaming=on")
    monkeypatch.setattr(hub, "load_dataset_builder", raise_always(ConnectionError("no route")))
    after = load(root, knobs=",streaming=on")
    assert after.fingerprint == before.fingerprint
    np.testing.assert_array_equal(after.read(np.arange(4)), before.read(np.arange(4)))
    expect_refusal(root, "cannot be reached", "no route", knobs=",streaming=on,label=label")


def test_a_missing_path_and_a_file_are_named(tmp_path):
    expect_refusal(tmp_path / "nowhere", "There is no file or folder", tmp_path / "nowhere")
    expect_refusal("./nowhere", "There is no file or folder nowhere")
    expect_refusal("a/b/c", "huggingface:a/b/c is neither a name on the Hugging Face hub (OWNER/NAME) nor a folder")
    (tmp_path / "load.py").write_text("raise SystemExit(3)")
    expect_refusal(tmp_path / "load.py", "is a file", "parquet:PATH", "never run")


def test_a_folder_of_much_else_is_refused_before_the_library_walks_through_it(tmp_path, monkeypatch):
    make_parquet(tmp_path / "data")
    (tmp_path / "module.py").touch()
    (tmp_path / "module.so").touch()
    (tmp_path / "module.h").touch()
    monkeypatch.setattr("vtbench.datasets.hub_library._MOST_OTHER_FILES", 3)
    monkeypatch.setattr(hub, "load_dataset_builder", raise_always(AssertionError()))
    expect_refusal(tmp_path, f"The folder {tmp_path} holds much else than data", "Give the folder of the data alone")


def test_a_folder_with_a_loading_script_is_not_run(tmp_path):
    root = make_parquet(tmp_path / "data")
    (root / "data.py").write_text("raise SystemExit(3)")
    expect_refusal(root, f"cannot read huggingface:{root}", "script")


def test_a_library_that_could_run_scripts_is_told_not_to(tmp_path, monkeypatch):
    told = []
    whole = hub.load_dataset_builder

    def as_in_version_3(path, name=None, trust_remote_code=None):
        told.append(trust_remote_code)
        return whole(path, name)

    monkeypatch.setattr(hub, "load_dataset_builder", as_in_version_3)
    load(make_parquet(tmp_path / "data"))
    assert told == [False]


def test_an_empty_folder_is_named(tmp_path):
    expect_refusal(tmp_path, f"huggingface:{tmp_path}")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("knobs", "parts"),
    [
        (",image=imgae", ("has no column 'imgae'. Did you mean 'image'",)),
        (",label=lable", ("has no column 'lable'. Did you mean 'label'",)),
        (",label=image", ("The column 'image' of the val split of huggingface:", "but labels are integers")),
        (",train=trian", ("has no split 'trian'. Did you mean 'train'",)),
        (",val=validaton", ("has no split 'validaton'. Did you mean 'validation'",)),
        (",val=train", ("the same split, 'train'", "validation")),
        (",config=plain", ("BuilderConfig 'plain' not found. Available: ['default']", "config=NAME")),
        (",streaming=maybe", ("'streaming'", "'maybe'")),
    ],
)
def test_a_wrong_knob_is_answered_with_what_there_is(tmp_path, knobs, parts, way):
    knobs = knobs if "streaming" in knobs else f"{knobs},streaming={way}"
    expect_refusal(make_parquet(tmp_path / "data"), *parts, knobs=knobs)


def test_columns_and_splits_of_other_names_are_found_or_given(tmp_path):
    root = make_parquet(tmp_path / "data", image="picture", label="kind", val=(1, 0, 0))
    expect_refusal(root, "no column of labels by its name", f"huggingface:{root},label=NAME", "kind (int64)")
    data = load(root, knobs=",label=kind,val=train,train=validation")
    assert data.labels.tolist() == [1, 0, 0] and data.name.endswith(",label=kind,train=validation,val=train")
    assert data.split.taken == {"image": "picture", "label": "kind", "train": "validation", "val": "train"}


def test_a_class_that_is_called_like_a_split_puts_no_image_into_both(tmp_path):
    root = make_folder(tmp_path / "data", classes=("bus", "train"))
    expect_refusal(root, "2 files of", "for both splits", "val/train/0.png", f"folder:{root}")


def test_subsets_side_by_side_and_what_systems_leave_are_refused_behind_links_too(tmp_path):
    for name in ("a", "b"):
        make_parquet(tmp_path / "data" / name, train=[0, 1, 1] if name == "a" else [0, 1, 1, 0])
    (tmp_path / "link").symlink_to(tmp_path / "data")
    expect_refusal(tmp_path / "link", "2 places (a, b)", f"huggingface:{tmp_path / 'link'}/b")
    assert len(load(tmp_path / "link" / "b")) == 4
    root = make_folder(tmp_path / "folder")
    (root / "train" / "cat" / "@eaDir").mkdir()
    make_image().save(root / "train" / "cat" / "@eaDir" / "0.png")
    expect_refusal(root, "Of the 7 files", "1 were left behind", "@eaDir/0.png", f"folder:{root}")


def test_a_subset_is_chosen_by_its_name(tmp_path):
    root = tmp_path / "data"
    for name, labels in (("small", [0, 1, 1]), ("large", [0, 1, 1, 0])):
        make_parquet(root / name, train=labels)
    card = "".join(
        f"  - config_name: {name}\n    data_files:\n"
        f"      - split: train\n        path: {name}/train-*\n"
        f"      - split: validation\n        path: {name}/val-*\n"
        for name in ("small", "large")
    )
    (root / "README.md").write_text(f"---\nconfigs:\n{card}---\n")
    assert len(load(root, knobs=",config=large")) == 4 and len(load(root, knobs=",config=small")) == 3
    expect_refusal(root, "small", "large", "Choose a subset with config=NAME")


def test_a_missing_split_is_named(tmp_path):
    root = make_parquet(tmp_path / "data")
    (root / "val-00000-of-00001.parquet").unlink()
    expect_refusal(root, "has no val split", "it has train", f"huggingface:{root},val=NAME")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("labels", "part"),
    [
        ({"train": (0, 1, None)}, "Row 2 of the train split of huggingface:"),
        ({"train": (0, 1, -1)}, "has the label -1 in column 'label', as have 1 of its 3 rows"),
        ({"val": (0, 5)}, "Row 1 of the val split of huggingface:"),
        ({"train": (0, 2, 2)}, "no image of 1 of the 3 classes: 1 (1)"),
        ({"train": (0, 0)}, "one class only"),
    ],
)
def test_wrong_labels_are_named_by_split_and_row(tmp_path, labels, part, way):
    if labels.get("train") == (0, 0):
        labels = {**labels, "val": (0,)}
    expect_refusal(make_parquet(tmp_path / "data", **labels), part, knobs=f",streaming={way}")


@pytest.mark.parametrize("way", WAYS)
def test_a_split_without_rows_is_named(tmp_path, monkeypatch, way):
    whole = hub.DatasetBuilder.as_dataset
    monkeypatch.setattr(hub.DatasetBuilder, "as_dataset", lambda self, split: whole(self, split=split).select([]))
    streamed = hub.DatasetBuilder.as_streaming_dataset
    monkeypatch.setattr(
        hub.DatasetBuilder,
        "as_streaming_dataset",
        lambda self: {name: table.take(0) for name, table in streamed(self).items()},
    )
    expect_refusal(make_parquet(tmp_path / "data"), "has no rows in its val split", knobs=f",streaming={way}")


def test_a_file_that_cannot_be_read_is_explained_by_the_cause(tmp_path):
    root = make_parquet(tmp_path / "data")
    (root / "train-00000-of-00001.parquet").write_bytes(b"PAR1 but no more")
    expect_refusal(root, f"cannot read huggingface:{root}: ", "Parquet magic bytes")


def test_labels_in_words_are_refused(tmp_path):
    root = make_parquet(tmp_path / "data", train=["a", "b"], val=["a", "b"], label_type=pa.string())
    expect_refusal(root, "'label' of the val split of", "holds string, but labels are integers", "Number the classes")


def test_a_corrupt_and_a_missing_image_are_named_by_split_and_number(tmp_path):
    root = make_parquet(tmp_path / "data")
    images = [encode(make_image(0)), b"text", encode(make_image(2))]
    pq.write_table(make_table([0, 1, 0], images=images), root / "train-00000-of-00001.parquet")
    expect_refusal(root, f"The image number 1 of the train split of huggingface:{root} cannot be read")
    cells = pa.array([{"bytes": None, "path": None}] * 2, pa.struct({"bytes": "binary", "path": "string"}))
    pq.write_table(pa.table({"image": cells, "label": [0, 1]}), root / "train-00000-of-00001.parquet")
    expect_refusal(root, f"The image in row 0 of the train split of huggingface:{root} holds nothing")


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_a_table_names_is_not_opened(tmp_path, way):
    root = make_parquet(tmp_path / "data")
    (tmp_path / "secret.png").write_bytes(encode(make_image()))
    cells = [{"bytes": None, "path": str(tmp_path / "secret.png")}] * 2
    table = pa.table({"image": pa.array(cells, pa.struct({"bytes": "binary", "path": "string"})), "label": [0, 1]})
    features = json.dumps({"info": {"features": {"image": {"_type": "Image"}, "label": {"dtype": "int64"}}}})
    for metadata in ({}, {"huggingface": features.replace('"int64"', '"int64", "_type": "Value"')}):
        pq.write_table(table.replace_schema_metadata(metadata), root / "train-00000-of-00001.parquet")
        expect_refusal(root, "holds only the path", "secret.png", knobs=f",streaming={way}")


def test_a_cache_that_cannot_be_written_is_explained(tmp_path, monkeypatch):
    (tmp_path / "blocked").write_text("not a folder")
    monkeypatch.setenv("VTBENCH_CACHE", str(tmp_path / "blocked"))
    expect_refusal(make_parquet(tmp_path / "data"), "Set VTBENCH_CACHE to a folder with room")


@pytest.mark.parametrize("shown", [True, False])
def test_the_library_shows_no_bars_and_is_left_as_it_was(tmp_path, capfd, shown):
    set_bars = hub.utils.enable_progress_bars if shown else hub.utils.disable_progress_bars
    set_bars()
    try:
        load(make_parquet(tmp_path / "data"))
        assert hub.utils.are_progress_bars_disabled() is not shown
    finally:
        hub.utils.enable_progress_bars()
    assert capfd.readouterr() == ("", "")


def test_masks_are_packed_beside_their_images(tmp_path):
    masks = [np.full((6, 8), value, np.uint8) for value in (0, 1, 2)]
    features = hub.Features({"image": hub.Image(), "annotation": hub.Image(), "label": hub.Value("int64")})
    for split in ("train", "test"):
        table = hub.Dataset.from_dict(
            {
                "image": [{"bytes": encode(make_image(number, (6, 8))), "path": None} for number in range(3)],
                "annotation": [{"bytes": encode(Image.fromarray(mask)), "path": None} for mask in masks],
                "label": [0, 1, 0],
            },
            features=features,
        )
        table.to_parquet(str(tmp_path / f"{split}.parquet"))
    for knobs in (",num_classes=3", ",num_classes=3,mask=annotation,streaming=on"):
        data = load(tmp_path, "val", knobs)
        np.testing.assert_array_equal(data.read_masks(np.array([2, 0])), [masks[2], masks[0]])
        np.testing.assert_array_equal(data.read(np.array([1]))[0], np.asarray(make_image(1, (6, 8))))
    assert load(tmp_path).labels.tolist() == [0, 1, 0]
    expect_refusal(tmp_path, "number 2 of the", "value 2 in 48 pixels", knobs=",num_classes=2")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_images_that_the_metadata_of_a_folder_leave_out_are_counted(tmp_path):
    for split, listed in (("train", 3), ("test", 4)):
        (tmp_path / split).mkdir()
        for number in range(4):
            make_image(number).save(tmp_path / split / f"{number}.png")
        lines = [f"{number}.png,{number % 2}" for number in range(listed)]
        (tmp_path / split / "metadata.csv").write_text("\n".join(["file_name,label", *lines]))
    expect_refusal(tmp_path, "gave 3 of the 4 images of the train split")


def test_splits_of_two_subsets_are_refused_unless_both_are_named(tmp_path):
    for folder, split in (("small", "train"), ("large", "test")):
        (tmp_path / folder).mkdir()
        pq.write_table(make_table([0, 1, 0, 1]), tmp_path / folder / f"{split}.parquet")
    expect_refusal(tmp_path, "train split in small", "val split in large")
    assert len(load(tmp_path, knobs=",train=train,val=test")) == 4


def write_arrow(path, labels, names, *, stream):
    features = hub.Features({"image": hub.Image(), "label": hub.ClassLabel(names=names)})
    images = [{"bytes": encode(make_image(number)), "path": None} for number in range(len(labels))]
    table = hub.Dataset.from_dict({"image": images, "label": labels}, features=features).data.table
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(str(path), table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "file"])
@pytest.mark.parametrize("way", WAYS)
def test_arrow_files_that_name_classes_in_another_order_are_numbered_alike(tmp_path, way, stream):
    write_arrow(tmp_path / "train-0.arrow", [0, 1, 1], ["cat", "dog"], stream=stream)
    write_arrow(tmp_path / "train-1.arrow", [0, 1], ["dog", "cat"], stream=stream)
    write_arrow(tmp_path / "test-0.arrow", [0, 1, 1], ["dog", "cat"], stream=stream)
    knobs = f",streaming={way}"
    assert (data := load(tmp_path, knobs=knobs)).labels.tolist() == [0, 1, 1, 1, 0]
    assert data.class_names == ("cat", "dog")
    assert load(tmp_path, "val", knobs).labels.tolist() == [1, 0, 0]


def test_arrow_files_that_name_other_classes_are_refused(tmp_path):
    write_arrow(tmp_path / "train-0.arrow", [0, 1, 1], ["cat", "dog"], stream=True)
    write_arrow(tmp_path / "train-1.arrow", [0, 1], ["cat", "cow"], stream=True)
    write_arrow(tmp_path / "test-0.arrow", [0, 1, 1], ["cat", "dog"], stream=True)
    expect_refusal(tmp_path, "names other classes in column 'label'", "has cow", "has dog")


def test_a_row_that_says_it_is_of_another_split_is_refused(tmp_path):
    make_parquet(tmp_path)
    path = tmp_path / "train-00000-of-00001.parquet"
    pq.write_table(pq.read_table(path).append_column("split", pa.array(["train", "train", "valid", "train"])), path)
    expect_refusal(tmp_path, "Row 2 of the train split", "in the column 'split' that it is of the split 'valid'")
