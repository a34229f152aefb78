"""Parquet files read by row groups: the data of any other source, of which a window is kept, in an exact order."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets as hub
import numpy as np
import pyarrow.parquet as pq
import pytest
from image_files import make_folder, make_table

from vtbench.configuration import AugmentationConfig, DataConfig
from vtbench.datasets import LoadedDataset, load_dataset
from vtbench.datasets.batches import BatchMaker, TrainBatches
from vtbench.datasets.counter_based import shuffle, shuffle_in_windows
from vtbench.datasets.streamed_groups import StreamedGroups, name_reader
from vtbench.errors import UserError

LABELS = [0, 1] * 12


@pytest.fixture(autouse=True)
def nothing_is_held_decoded(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("library")))
    monkeypatch.setenv("VTBENCH_CACHE_LIMIT_MB", "0")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """24 images to train on in two files, twelve row groups of two."""
    (tmp_path / "data").mkdir()
    table = make_table(LABELS)
    for number in range(2):
        part = table.slice(12 * number, 12)
        pq.write_table(part, tmp_path / f"data/train-0000{number}-of-00002.parquet", row_group_size=2)
    pq.write_table(table.slice(0, 4), tmp_path / "data/val-00000-of-00001.parquet", row_group_size=3)
    return tmp_path / "data"


def load(root: Path, split: Any = "train", knobs: str = ",window=3", kind: str = "huggingface_rows") -> LoadedDataset:
    return load_dataset(DataConfig(spec=f"{kind}:{root}{knobs}"), split, seed=0)


def make_batches(data: LoadedDataset, **share: Any) -> TrainBatches:
    return TrainBatches(data, batch_size=5, seed=3, augmentation=AugmentationConfig(), **share)


def test_rows_are_those_of_the_source_that_keeps_all_and_few_groups_are_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTBENCH_CACHE", str(tmp_path / "cache"))
    for split in ("train", "val"):
        rows, whole = load(root, split, ",window=1"), load(root, split, "", "huggingface")
        every = np.arange(len(whole))[::-1].copy()
        assert np.array_equal(rows.read(every), whole.read(every))
        assert np.array_equal(rows.labels, whole.labels)
    assert 0 < len(list((tmp_path / "cache/streamed").rglob("*.pack"))) <= 4 + 2
    assert rows.taken == {"image": "image", "label": "label", "train": "train", "val": "validation"}
    assert not rows.fingerprint.startswith("sampled-")


def test_an_epoch_comes_in_windows_of_groups_and_brings_each_of_them_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought: list[tuple[int, int]] = []
    data = load(root)
    read = StreamedGroups._read
    monkeypatch.setattr(
        StreamedGroups, "_read", lambda self, file, group: brought.append((file, group)) or read(self, file, group)
    )
    batches = make_batches(data)
    orders = [batches._maker.order(epoch).copy() for epoch in range(2)]
    assert not np.array_equal(*orders)
    for order in orders:
        assert sorted(order.tolist()) == list(range(24))
        windows = [set((order[at : at + 6] // 2).tolist()) for at in range(0, 24, 6)]
        assert [len(groups) for groups in windows] == [3] * 4
    for _ in batches.epoch(0):
        pass
    assert len(brought) == len(set(brought))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_processes_share_an_epoch_without_overlap_or_loss_and_go_on_in_its_middle(root: Path, workers: int) -> None:
    data = pickle.loads(pickle.dumps(load(root)))
    alone = list(make_batches(data).epoch(1))
    shares = [list(make_batches(data, rank=rank, num_ranks=3, workers=workers).epoch(1, 2)) for rank in range(3)]
    for number, (images, labels) in enumerate(alone[2:]):
        for rank in range(3):
            assert np.array_equal(shares[rank][number][0], images[rank::3])
            assert np.array_equal(shares[rank][number][1], labels[rank::3])


def test_a_group_that_another_process_let_go_is_brought_again(root: Path, tmp_path: Path) -> None:
    data = load(root)
    before = data.read(np.arange(4))
    for path in [one for one in data.split.images.folder.iterdir() if one.is_file()]:  # type: ignore[attr-defined]
        path.unlink()
    assert np.array_equal(data.read(np.arange(4)), before)


def test_a_window_of_all_groups_is_the_shuffle_of_all_other_data() -> None:
    groups = np.repeat(np.arange(5), 4)
    assert np.array_equal(shuffle_in_windows(7, groups, 5), shuffle(7, 20))
    few = shuffle_in_windows(7, groups, 2)
    assert [len(set(groups[few[at : at + 8]])) for at in (0, 8, 16)] == [2, 2, 1]


def test_the_order_goes_by_the_groups_of_a_subset_wherever_its_images_are_held(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DataConfig(spec=f"huggingface_rows:{root},window=2", limit_train=10)
    read = load_dataset(config, "train", seed=1)
    monkeypatch.setenv("VTBENCH_CACHE_LIMIT_MB", "100")
    held = load_dataset(config, "train", seed=1)
    orders = [BatchMaker(data, 4, seed=0).order(0) for data in (read, held)]
    assert np.array_equal(*orders)
    assert read.groups is not None
    assert np.array_equal(read.groups[0], read.rows // 2 + 1)


def test_files_of_which_no_part_can_be_had_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"reads as 'imagefolder'.*huggingface:.*,streaming=on"):
        load(make_folder(tmp_path / "images"))


@pytest.mark.parametrize("group_rows", [None, 2])
def test_the_first_file_may_have_no_rows_but_not_all_of_a_split(root: Path, group_rows: int | None) -> None:
    whole = load(root).read(np.arange(24))
    empty = make_table(LABELS).slice(0, 0)
    for number in (1, 0):
        (root / f"train-0000{number}-of-00002.parquet").rename(root / f"train-0000{number + 1}-of-00003.parquet")
    for number in range(3):
        with pq.ParquetWriter(root / f"train-0000{number}-of-00003.parquet", empty.schema) as writer:
            if group_rows is not None:
                writer.write_table(empty, group_rows)
        if number == 0:
            assert np.array_equal(load(root).read(np.arange(24)), whole)
    with pytest.raises(UserError, match=r"huggingface_rows:.* has no rows in its train split"):
        load(root)


def open_groups(root: Path, brought: list[int], monkeypatch: pytest.MonkeyPatch) -> StreamedGroups:
    """Those of the training split, of which four are kept for a reader; ``brought`` gets the number of each brought."""
    read = StreamedGroups._read
    monkeypatch.setattr(
        StreamedGroups, "_read", lambda self, file, group: brought.append(6 * file + group) or read(self, file, group)
    )
    groups: StreamedGroups = load(root, knobs=",window=1").split.images  # type: ignore[attr-defined]
    for path in groups.folder.iterdir():
        path.unlink()
    brought.clear()
    return groups


def test_readers_side_by_side_bring_each_group_once_and_those_that_ended_keep_none(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought: list[int] = []
    groups = open_groups(root, brought, monkeypatch)
    readers = [replace(groups, reader=f"node-{number}") for number in range(3)]
    for _ in range(3):
        for number, reader in enumerate(readers):
            pickle.loads(pickle.dumps(reader)).fetch(np.arange(8 * number, 8 * number + 8))
    assert sorted(brought) == list(range(12))
    for mark in groups.folder.glob("*.reader"):
        os.utime(mark, (10**9, 10**9))
    next(groups.folder.glob("*.pack")).unlink()
    groups.fetch(np.arange(24))
    assert len(list(groups.folder.glob("*.pack"))) == 4
    assert [mark.name for mark in groups.folder.glob("*.reader")] == [f"4-{groups.reader}.reader"]


def test_processes_are_readers_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    here = name_reader()
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert name_reader() not in (here, "")


@pytest.mark.parametrize("ending", [".pack", ".lock"])
def test_groups_that_another_process_holds_open_stay_whole_where_a_system_removes_no_open_file(
    root: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = open_groups(root, [], monkeypatch)
    unlink = Path.unlink

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        if path.suffix == ending:
            raise PermissionError(13, "The file is used by another process", str(path))
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        assert len(groups.fetch(np.arange(24))) == 24
    packs = list(groups.folder.glob("*.pack"))
    assert len(packs) == (12 if ending == ".pack" else 4)
    assert all(path.with_suffix(".index").exists() for path in packs)


def test_what_is_wrong_is_said_of_the_source_that_was_asked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spelling = f"huggingface_rows:{root}"

    def expect_refusal(said: str, knobs: str = "", place: Path = root) -> None:
        with pytest.raises(UserError) as caught:
            load(place, knobs=knobs)
        assert said in str(caught.value)
        assert "huggingface:" not in str(caught.value)

    expect_refusal(f"{spelling} has no split 'other'", ",train=other")
    expect_refusal(f"{spelling} is to be trained and validated", ",train=train,val=train")
    expect_refusal(f"data set huggingface_rows:{root}/none", place=root / "none")
    expect_refusal("huggingface_rows: takes", place=root / "val-00000-of-00001.parquet")
    (root / "train.parquet").write_bytes((root / "val-00000-of-00001.parquet").read_bytes())
    expect_refusal(f"{spelling} has files of the train split that are not named alike")
    (root / "train.parquet").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(hub, "__version__", "2.0.0")
        expect_refusal(f"{spelling} needs the library datasets")
    (root / "val-00000-of-00001.parquet").rename(root / "train-00002-of-00003.parquet")
    expect_refusal(f"{spelling} has no val split by its name; it has train. Name one with {spelling},val=NAME")
    for error, said in (
        (ConnectionError("no route"), f"{spelling} could not be fetched"),
        (ConnectionError("no route"), "a local folder, huggingface_rows:PATH"),
        (FileNotFoundError("none"), f"{spelling} is neither a name"),
        (ValueError("odd"), f"cannot read {spelling}: odd."),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(hub, "load_dataset_builder", _raise(error))
            expect_refusal(said)


def _raise(error: Exception) -> Any:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail
