"""Tar shards of images and labels: read from their places, in any order, and refused where a pair is not whole."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import encode, make_image
from PIL import Image

from vtbench.configuration import DataConfig
from vtbench.datasets import LoadedDataset, load_dataset, tar_shards
from vtbench.datasets.loading import identify_data
from vtbench.datasets.tar_shards import expand_braces
from vtbench.errors import UserError

Members = Mapping[str, bytes]


def write_shard(path: Path, members: Members, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    os.utime(path, (10**9, 10**9))


def make_samples(first: int, labels: list[Any], label: str = "cls", image: str = "png") -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    for number, value in enumerate(labels, first):
        members[f"{number:04d}.{image}"] = encode(make_image(number), {"png": "PNG", "jpg": "JPEG"}[image])
        members[f"{number:04d}.{label}"] = (json.dumps(value) if label == "json" else str(value)).encode()
    return members


def make_shards(root: Path, label: str = "cls", values: tuple[Any, Any] = (0, 1), image: str = "png") -> Path:
    """Images 0 to 3 and 4 to 6 to train on, 7 to 9 to validate; classes take turns, but for the first of a shard."""
    for name, first, labels in (
        ("train-000", 0, [0, 1, 0, 1]),
        ("train-001", 4, [1, 1, 0]),
        ("val-000", 7, [0, 1, 0]),
    ):
        write_shard(root / f"{name}.tar", make_samples(first, [values[at] for at in labels], label, image))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_shards(tmp_path / "shards")


def load(spec: object, split: Any = "train", **config: Any) -> LoadedDataset:
    return load_dataset(DataConfig(spec=f"webdataset:{spec}", **config), split, seed=0)


def refused(spec: object, *parts: object) -> None:
    with pytest.raises(UserError) as caught:
        load(spec)
    for part in parts:
        assert str(part) in str(caught.value)


def test_shards_give_their_images_and_labels_in_any_order(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTBENCH_CACHE_LIMIT_MB", "0")
    train, val = load(root), load(root, "val")
    assert train.class_names == val.class_names == ("0", "1")
    assert (train.labels.tolist(), val.labels.tolist()) == ([0, 1, 0, 1, 1, 1, 0], [0, 1, 0])
    assert train.taken == {"image": "png", "label": "cls", "train": "train", "val": "val"}
    assert train.images is train.split, "nothing is copied"
    order = np.array([6, 0, 5, 2, 6])
    for data in (train, pickle.loads(pickle.dumps(train))):
        read = data.read(order)
        assert all(np.array_equal(read[at], np.asarray(make_image(n))) for at, n in enumerate(order.tolist()))


@pytest.mark.parametrize(
    "spec", ["{root}/{{train,val}}-{{000..001}}.tar", "{root}/*", "{root},train=train-{{000..001}},val=val-000"]
)
def test_braces_name_shards_and_what_is_not_there_is_said(root: Path, spec: str) -> None:
    write_shard(root / "val-001.tar", make_samples(10, [1, 0]))
    if "*" in spec:
        return refused(spec.format(root=root), "There is no file or folder")
    assert load(spec.format(root=root)).labels.tolist() == [0, 1, 0, 1, 1, 1, 0]
    assert len(load(spec.format(root=root), "val")) == (5 if "train,val" in spec else 3)
    (root / "train-001.tar").unlink()
    said = "1 of the 4 files" if "train,val" in spec else "no file for train="
    return refused(spec.format(root=root), said, "train-001")


def test_of_subsets_that_braces_name_one_is_to_be_said_and_is_taken(tmp_path: Path) -> None:
    for subset, labels in ("de", [0, 1, 1]), ("en", [1, 0, 0]):
        for split in "train", "val":
            write_shard(tmp_path / subset / f"{split}-0.tar", make_samples(len(subset + split), labels))
    spec = f"{tmp_path}/{{de,en}}/{{train,val}}-{{0..0}}.tar"
    refused(spec, "2 files of the train split in 2 places (de, en)", f"webdataset:{spec},subset=en")
    for subset, labels in ("de", [0, 1, 1]), ("en", [1, 0, 0]):
        for split in "train", "val":
            assert load(f"{spec},subset={subset}", split).labels.tolist() == labels
    refused(f"{spec},subset=fr", "no subset 'fr' of tar files; there are: de, en")


def test_braces_are_ranges_and_alternatives_or_refused() -> None:
    assert expand_braces("a-{9..11}.tar") == ["a-9.tar", "a-10.tar", "a-11.tar"]
    assert expand_braces("plain.tar") == ["plain.tar"]
    for text in ("a{1..}.tar", "a{3..1}.tar", "a{1..2.tar", "a1..2}.tar", "{a}", "{000..999}{000..999}{000..999}"):
        with pytest.raises(UserError, match=r"brace|names more than"):
            expand_braces(text)


@pytest.mark.parametrize(
    ("label", "values", "more", "names"),
    [
        ("cls", ("cat", "ant"), "", ("ant", "cat")),
        ("json", ({"label": 0}, {"label": 1, "w": 3}), "", ("0", "1")),
        ("json", ({"label": 7, "kind": "dog"}, {"label": 8, "kind": "cat"}), ",field=kind", ("cat", "dog")),
        ("txt", ("cat", "ant"), ",label=txt", ("ant", "cat")),
    ],
)
def test_labels_are_numbers_or_names_in_a_member_or_a_field_of_it(
    tmp_path: Path, label: str, values: tuple[Any, Any], more: str, names: tuple[str, ...]
) -> None:
    data = load(f"{make_shards(tmp_path, label, values, 'jpg')}{more}")
    assert data.class_names == names
    turned = names == ("ant", "cat") or names == ("cat", "dog")
    assert data.labels.tolist() == [int(turned) ^ one for one in [0, 1, 0, 1, 1, 1, 0]]


def test_members_are_listed_once_and_again_when_a_shard_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    find = tar_shards._list_members
    monkeypatch.setattr(tar_shards, "_list_members", lambda file: listed.append(file.name) or find(file))
    first = load(root)
    assert load(root).labels.tolist() == first.labels.tolist()
    assert sorted(listed) == ["train-000.tar", "train-001.tar", "val-000.tar"]
    write_shard(root / "train-001.tar", make_samples(4, [1, 1, 0, 0]))
    os.utime(root / "train-001.tar", (10**9, 10**9 + 1))
    assert load(root).labels.tolist() == [*first.labels.tolist(), 0]
    assert sorted(listed) == ["train-000.tar", "train-001.tar", "train-001.tar", "val-000.tar"]
    with pytest.raises(UserError, match="has changed since the data was opened"):
        first.split.read(np.array([5]))


def test_shards_are_told_apart_by_content_and_by_which_members_count(root: Path, tmp_path: Path) -> None:
    def identify(spec: object) -> str:
        return str(identify_data(DataConfig(spec=f"webdataset:{spec}"), [0])[0]["train"])

    first = identify(root)
    assert identify(make_shards(tmp_path / "copy")) == first
    for path in root.iterdir():
        with tarfile.open(path) as tar:
            members = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
        texts = {name.replace("cls", "txt"): data for name, data in members.items() if name.endswith("cls")}
        write_shard(path, members | texts)
        os.utime(path, (10**9, 10**9 + 1))
    assert identify(root) != first
    assert identify(f"{root},label=txt") != identify(root)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (
            {"0004.cls": None},
            ["1 of the 3 samples of", "train-001.tar have no label (.cls)", "the first '0004'", ".png"],
        ),
        ({"0005.png": None}, ["1 of the 3 samples of", "have no image", "the first '0005', which has .cls"]),
        ({"0005.jpg": b""}, ["'0005'", "several members that may be its image: .png, .jpg", "image=png"]),
        ({"readme": b"x"}, ["'readme', whose name has no ending"]),
        ({"0005.cls": b"one"}, ["The label of '0005' in", "is 'one'"]),
        ({"0005.cls": b" "}, ["The label of '0005' in", "is ''"]),
        ({"0005.cls": b"-1"}, ["has the label -1"]),
        ({"0005.cls": b"\xff"}, ["is no text in UTF-8"]),
        ({"0005.cls": b"2", "0006.cls": b"3"}, ["val split", "no image of 2 of the 4 classes"]),
    ],
)
def test_a_sample_that_is_not_whole_is_named(root: Path, change: dict[str, bytes | None], parts: list[str]) -> None:
    members = make_samples(4, [1, 1, 0]) | change
    write_shard(root / "train-001.tar", {name: data for name, data in members.items() if data is not None})
    refused(root, *parts)


def test_shards_that_are_cut_off_packed_or_no_tar_files_are_named(root: Path) -> None:
    whole = (root / "train-001.tar").read_bytes()
    end = 2 * 512 * len(make_samples(4, [1, 1, 0]))
    for cut in (whole[:end], whole[: end - 100], whole[:700]):
        (root / "train-001.tar").write_bytes(cut)
        refused(root, "train-001.tar", "cut off" if len(cut) == end else "cannot be read as a tar file")
    write_shard(root / "train-001.tar", {"4.cls": b"0", "./4.cls": b"1"})
    refused(root, "train-001.tar holds '4.cls' twice")
    with tarfile.open(root / "train-001.tar", "w:gz"):
        pass
    refused(root, "train-001.tar cannot be read as a tar file", "unpack it first")
    with tarfile.open(root / "train-001.tar", "w") as tar:
        link = tarfile.TarInfo("4.png")
        link.type, link.linkname = tarfile.SYMTYPE, "5.png"
        tar.addfile(link)
    refused(root, "holds '4.png', which is a link or no plain file")


def test_folders_of_splits_left_behind_files_and_capital_endings_are_taken_as_meant(tmp_path: Path) -> None:
    for split, first in (("train", 0), ("test", 4)):
        members = {f"a/{name.upper()}": data for name, data in make_samples(first, [0, 1, 1, 0]).items()}
        write_shard(tmp_path / split / "0.tar", members | {"a/._0000.PNG": b"", "a/__index__": b""})
    data = load(tmp_path)
    assert data.labels.tolist() == [0, 1, 1, 0]
    assert data.taken == {"image": "png", "label": "cls", "train": "train", "val": "test"}


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (",label=txt", ["4 of the 4 samples", "no label (.txt)"]),
        (",image=xyz", ["'xyz' is of no format of images", ".png, .cls"]),
        (",field=label", ["field=label is for labels in json", ".cls"]),
        (",train=nope", ["no file for train=nope", "train-000.tar"]),
        ("/none", ["There is no file or folder"]),
    ],
)
def test_knobs_that_name_nothing_are_answered_with_what_there_is(root: Path, more: str, parts: list[str]) -> None:
    refused(f"{root}{more}", *parts)


def test_json_without_a_usual_field_or_label_members_are_asked_for(tmp_path: Path) -> None:
    root = make_shards(tmp_path / "a", "json", ({"x": 0, "y": 1}, {"x": 1, "y": 0}))
    refused(root, "none of label", "Its fields: x, y", "field=NAME")
    refused(f"{root},field=z", "no field 'z'")
    assert load(f"{root},field=y").labels.tolist() == [1, 0, 1, 0, 0, 0, 1]
    refused(make_shards(tmp_path / "b", "json", (3, 4)), "has no fields: it is no object")
    refused(make_shards(tmp_path / "c", "json", ({"label": 1.5}, {"label": True})), "is 1.5")
    refused(make_shards(tmp_path / "d", "txt"), "no labels that are known by their ending", ".png, .txt")
    write_shard(make_shards(tmp_path / "e") / "train-001.tar", make_samples(4, ["a", "b", "a"]))
    refused(tmp_path / "e", "names of classes in", "numbers in")


@pytest.mark.parametrize("number", [99999999999999999999, -(10**18), 10**18])
def test_a_number_in_json_that_no_class_can_have_is_named(tmp_path: Path, number: int) -> None:
    write_shard(
        make_shards(tmp_path, "json", ({"label": 0}, {"label": 1})) / "train-001.tar",
        make_samples(4, [{"label": 1}, {"label": number}, {"label": 0}], "json"),
    )
    refused(tmp_path, "The label of '0005' in", f"train-001.tar is {number}.", "of 18 digits at most")


def test_a_tar_file_without_a_kind_is_answered_with_the_kind(root: Path) -> None:
    with pytest.raises(UserError, match="webdataset:"):
        load_dataset(DataConfig(spec=str(root / "train-000.tar")), "train", seed=0)


MASK = np.arange(64, dtype=np.uint8).reshape(8, 8) % 3


def make_masked_shards(root: Path, image: str = "jpg", mask: str = "png") -> Path:
    """Samples of an image, a mask whose pixels move on by one a sample, and a label."""
    for name, numbers in (("train-000", range(3)), ("train-001", range(3, 5)), ("val-000", range(5, 7))):
        members = make_samples(numbers[0], [at % 2 for at in numbers], image=image)
        members |= {f"{at:04d}.{mask}": encode(Image.fromarray((MASK + at) % 3)) for at in numbers}
        write_shard(root / f"{name}.tar", members)
    return root


@pytest.mark.parametrize(
    ("image", "mask", "knobs"),
    [
        ("jpg", "png", "num_classes=3"),
        ("png", "seg.png", "num_classes=3"),
        ("png", "truth.png", "mask=truth.png,num_classes=3"),
    ],
)
def test_shards_give_the_mask_of_each_image_and_to_others_its_label(
    tmp_path: Path, image: str, mask: str, knobs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTBENCH_CACHE_LIMIT_MB", "0")
    root = make_masked_shards(tmp_path, image, mask)
    data = pickle.loads(pickle.dumps(load(f"{root},{knobs}")))
    assert not data.split.class_names
    assert (len(data), data.taken["mask"], data.taken["image"]) == (5, mask, image)
    rows = np.array([4, 0, 3])
    assert np.array_equal(data.read_masks(rows), np.stack([(MASK + at) % 3 for at in rows]))
    assert data.read(rows).shape == (3, 8, 8, 3)
    assert len(load(f"{root},{knobs}", "val")) == 2
    if mask != "png":
        assert load(root).labels.tolist() == [0, 1, 0, 1, 0]


def test_what_is_wrong_with_masks_in_shards_is_named(tmp_path: Path) -> None:
    root = make_masked_shards(tmp_path / "a")
    refused(f"{root},mask=png", "nothing says how many there are")
    refused(f"{root},num_classes=2", "0000.png in", "train-000.tar")
    refused(f"{root},num_classes=3,label=cls", "label= is of labels")
    refused(f"{root},num_classes=3,mask=seg.png", "have no mask (.seg.png)", "0000")
    unmasked = make_masked_shards(tmp_path / "c")
    write_shard(unmasked / "val-000.tar", make_samples(5, [0, 1], image="jpg"))
    refused(f"{unmasked},num_classes=3", "2 of the 2 samples", "no mask (.png)")
    refused(f"{make_shards(tmp_path / 'b')},num_classes=3", "none of mask.png, seg.png", "mask=ENDING")


def test_an_ending_that_is_said_to_be_of_images_is_of_no_masks(tmp_path: Path) -> None:
    both = tmp_path / "both"
    for split, first in (("train", 0), ("val", 2)):
        members = make_samples(first, [0, 1]) | make_samples(first, [0, 1], image="jpg")
        members |= {f"{at:04d}.seg.png": encode(Image.fromarray(MASK)) for at in (first, first + 1)}
        members |= {f"{at:04d}.mask.png": encode(make_image(at)) for at in (first, first + 1)}
        write_shard(both / f"{split}-000.tar", members)
    taken = load(f"{both},image=mask.png,num_classes=3").taken
    assert (taken["image"], taken["mask"]) == ("mask.png", "seg.png")
    root = make_masked_shards(tmp_path / "a")
    refused(f"{root},image=png,num_classes=3", "none of mask.png, seg.png", "mask=ENDING")
    for images in ("png", ".PNG", "jpg+png"):
        refused(f"{root},image={images},mask=png,num_classes=3", "name the same ending, 'png'", "has .jpg, .cls, .png")
    assert load(f"{root},image=jpg,num_classes=3").taken["mask"] == "png"
