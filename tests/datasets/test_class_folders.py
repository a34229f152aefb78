"""Class folders of many files: listed in full at every opening, their content read once."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import pytest
from image_files import encode, make_folder, make_image

from vtbench.configuration import DataConfig
from vtbench.datasets import data_files, load_dataset, load_datasets
from vtbench.datasets.class_folders import list_classes, list_images
from vtbench.datasets.data_files import DataFile, fingerprint_files
from vtbench.datasets.loading import identify_data
from vtbench.datasets.sources import folder as folder_source
from vtbench.datasets.walking import walk_files
from vtbench.errors import UserError

OLD = 10**9


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_folder(tmp_path / "data", num_train=4)
    (tmp_path / "data/train/cat/more").mkdir()
    (tmp_path / "data/train/cat/more/x.JPEG").write_bytes(encode(make_image(50), "JPEG"))
    for path in (tmp_path / "data").rglob("*.*"):
        os.utime(path, (OLD, OLD))
    return tmp_path / "data"


def test_the_table_has_every_file_as_it_is_found_one_by_one_and_is_sent_as_arrays(root: Path) -> None:
    folder = root / "train"
    table, labels = list_images(folder, list_classes(folder))
    found = tuple(DataFile.find(path, folder) for path in walk_files(folder))
    assert tuple(table) == table[:] == found
    assert (table[4], len(table)) == (DataFile.find(folder / "cat/more/x.JPEG", folder), 9)
    assert labels.tolist() == [0] * 5 + [1] * 4
    assert fingerprint_files(table) == fingerprint_files(found)
    assert b"DataFile" not in pickle.dumps(table)
    assert tuple(pickle.loads(pickle.dumps(table))) == found
    for number in (9, -1):
        with pytest.raises(IndexError):
            table[number]


def test_a_folder_that_was_opened_before_is_listed_and_not_read_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    hash_file = data_files.hash_file
    monkeypatch.setattr(data_files, "hash_file", lambda path: read.append(path) or hash_file(path))
    first = identify(root)
    assert len(read) == 13
    assert identify(root) == first
    assert len(read) == 13


def test_each_split_is_listed_once_for_whoever_wants_both(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    monkeypatch.setattr(
        folder_source, "list_images", lambda folder, names: listed.append(folder.name) or list_images(folder, names)
    )
    data = DataConfig(spec=f"folder:{root}", limit_train=4)
    both = load_datasets(data, seed=1)
    assert listed == ["train", "val"]
    for one, split in zip(both, ("train", "val"), strict=True):
        assert one.fingerprint == load_dataset(data, split, seed=1).fingerprint


def identify(root: Path) -> str:
    return str(identify_data(DataConfig(spec=f"folder:{root}"), [0])[0]["train"])


CHANGES = {
    "a file came": lambda folder: (folder / "9.png").write_bytes((folder / "0.png").read_bytes()),
    "a file went": lambda folder: (folder / "0.png").unlink(),
    "a file was renamed": lambda folder: (folder / "0.png").rename(folder / "9.png"),
    "a file moved into another class": lambda folder: (folder / "0.png").rename(folder / "../dog/9.png"),
    "a file was written again, as long as before": lambda folder: rewrite(folder / "0.png"),
    "a file in a folder below was written again": lambda folder: rewrite(folder / "more/x.JPEG"),
    "a file became longer, with its time set back": lambda folder: rewrite(folder / "0.png", b"x", OLD),
}


def rewrite(path: Path, more: bytes = b"", time: int = OLD + 1) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"\0" + more)
    os.utime(path, (time, time))


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_since_the_folder_was_opened_is_noticed_when(root: Path, what: str) -> None:
    first = identify(root)
    CHANGES[what](root / "train/cat")
    assert identify(root) != first


def test_other_bytes_under_the_same_name_size_and_time_are_believed_to_be_the_same(root: Path) -> None:
    first = identify(root)
    rewrite(root / "train/cat/0.png", time=OLD)
    assert identify(root) == first


def test_pictures_that_stand_twice_under_an_ending_in_small_and_capital_letters_are_refused(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "data", num_train=2)
    for path in [*(root / "train").rglob("*.png")]:
        (capital := path.with_suffix(".PNG")).write_bytes(path.read_bytes())
        if capital.samefile(path):
            pytest.skip("this disk does not tell small letters from capital ones")
    with pytest.raises(UserError, match=r"4 of the 8 images of .*cat/0\.PNG and cat/0\.png"):
        list_images(root / "train", ("cat", "dog"))


def test_a_link_that_leads_nowhere_is_named(root: Path) -> None:
    (root / "train/dog/9.png").symlink_to(root / "nowhere.png")
    with pytest.raises(UserError, match=r"9\.png cannot be had"):
        identify(root)


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems have no such names")
def test_a_file_whose_name_is_no_text_is_data_like_any_other(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = identify(root)
    (root / "train/cat/0.png").rename(Path(os.fsdecode(os.fsencode(root / "train/cat") + b"/\xff.png")))
    assert identify(root) != first
    monkeypatch.setattr(data_files, "MOST_BYTES_HASHED", 0)
    assert identify(root) not in (first, "")
