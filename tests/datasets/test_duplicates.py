"""Images that stand in both splits are counted; so are those that stand in one split twice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from image_files import make_folder, make_image

from vtbench.configuration import DataConfig
from vtbench.datasets import load_dataset
from vtbench.datasets.duplicates import Duplicates, describe_leakage, find_duplicates


def count(root: Path, *, in_files: bool = False, **limits: int) -> Duplicates | None:
    config = DataConfig(spec=f"folder:{root}", **limits)
    train, val = load_dataset(config, "train", seed=0), load_dataset(config, "val", seed=0)
    return find_duplicates(train, val, in_files=in_files)


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """Six training and four validation images: one of these stands in train as it is, one under another label."""
    root = make_folder(tmp_path / "data")
    shutil.copy(root / "train" / "cat" / "0.png", root / "train" / "cat" / "1.png")
    shutil.copy(root / "train" / "cat" / "2.png", root / "val" / "cat" / "0.png")
    shutil.copy(root / "train" / "dog" / "1.png", root / "val" / "cat" / "1.png")
    return root


def test_equal_images_are_counted_within_and_between_splits(leaky: Path) -> None:
    assert count(leaky) == Duplicates(
        by="pixels", num_train=1, num_val=0, num_shared=2, num_relabelled=1, shared=((0, 2), (1, 4))
    )
    assert count(leaky) == count(leaky), "counted again from what was kept beside the cache"


def test_another_file_of_the_same_pixels_is_the_same_image(leaky: Path) -> None:
    make_image(5).save(leaky / "val" / "dog" / "0.bmp")
    (leaky / "val" / "dog" / "0.png").unlink()
    found = count(leaky)
    assert found is not None
    assert found.num_shared == 3


def test_a_limit_cuts_what_is_compared(leaky: Path) -> None:
    (leaky / "val" / "cat" / "0.png").unlink()
    found = count(leaky, limit_train=4)
    assert found is not None
    assert found.num_train + found.num_shared < 2 + 1


def test_where_images_cannot_be_held_they_are_looked_at_only_on_request(
    leaky: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = count(leaky)
    monkeypatch.setenv("VTBENCH_CACHE_LIMIT_MB", "0")
    assert count(leaky) is None
    assert expected is not None
    assert count(leaky, in_files=True) == replace(expected, by="files")


def test_training_is_told_of_a_leak_and_of_nothing_else(leaky: Path, tmp_path: Path) -> None:
    def describe(root: Path) -> str | None:
        config = DataConfig(spec=f"folder:{root}")
        return describe_leakage(load_dataset(config, "train", seed=0), load_dataset(config, "val", seed=0))

    said = describe(leaky)
    assert said is not None
    assert said.startswith("2 of the 4 validation images of folder:")
    assert "1 of them under another label" in said
    assert describe(make_folder(tmp_path / "clean")) is None
