import itertools
import os
import pickle
import signal
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import encode, make_folder, make_image, make_parquet, make_table

from vtbench.configuration import AugmentationConfig, DataConfig
from vtbench.datasets import DataError, load_dataset
from vtbench.datasets.batches import EvalBatches, TrainBatches
from vtbench.datasets.packing import PackedImages
from vtbench.datasets.sources.folder import FolderSplit
from vtbench.datasets.sources.parquet import RowGroups
from vtbench.datasets.workers import _KeptDeaths
from vtbench.errors import UserError


@pytest.fixture(autouse=True)
def nothing_is_held_decoded(monkeypatch):
    monkeypatch.setenv("VTBENCH_CACHE_LIMIT_MB", "0")


def load_folder(root, **config):
    return load_dataset(DataConfig(spec=f"folder:{root}", **config), "train", seed=0)


def load_parquet(root, **config):
    return load_dataset(DataConfig(spec=f"parquet:{root}", **config), "train", seed=0)


def make_batches(dataset, workers=0):
    return TrainBatches(dataset, batch_size=2, seed=0, augmentation=AugmentationConfig(), workers=workers)


def test_a_folder_too_large_to_hold_is_decoded_as_it_is_read(tmp_path):
    data = load_folder(make_folder(tmp_path / "data"))
    assert isinstance(data.images, FolderSplit)
    np.testing.assert_array_equal(data.read(np.array([5, 1]))[1], np.asarray(make_image(1)))


def test_lazy_and_cached_data_are_the_same_data(tmp_path, monkeypatch):
    lazy = load_folder(make_folder(tmp_path / "data"))
    monkeypatch.delenv("VTBENCH_CACHE_LIMIT_MB")
    cached = load_folder(tmp_path / "data")
    assert lazy.fingerprint == cached.fingerprint and lazy.mean == cached.mean
    np.testing.assert_array_equal(lazy.read(np.arange(6)), cached.read(np.arange(6)))


def test_a_file_that_changes_in_mid_run_is_named(tmp_path):
    data = load_folder(make_folder(tmp_path / "data"))
    victim = tmp_path / "data" / "train" / "cat" / "2.png"
    make_image(77, (9, 9)).save(victim)
    assert len(data.read(np.array([0, 1]))) == 2
    with pytest.raises(DataError, match="has changed since the data was opened") as caught:
        data.read(np.arange(6))
    assert str(victim) in str(caught.value)


def test_a_file_of_the_same_size_and_another_time_counts_as_changed(tmp_path):
    data = load_folder(make_folder(tmp_path / "data"))
    os.utime(tmp_path / "data" / "train" / "cat" / "2.png", (1, 1))
    with pytest.raises(DataError, match="has changed"):
        data.read(np.array([2]))


def test_a_file_that_vanishes_in_mid_run_is_named(tmp_path):
    data = load_folder(make_folder(tmp_path / "data"))
    (tmp_path / "data" / "train" / "dog" / "0.png").unlink()
    with pytest.raises(DataError, match=r"dog/0\.png was there when the data was opened .* No such file"):
        list(make_batches(data).epoch(0))


def test_a_corrupt_image_in_mid_epoch_is_named(tmp_path):
    root = make_folder(tmp_path / "data")
    (root / "train" / "dog" / "1.png").write_bytes(encode(make_image(size=(64, 64)))[:400])
    with pytest.raises(UserError, match=r"dog/1\.png is corrupt"):
        list(make_batches(load_folder(root)).epoch(0))


def test_parquet_files_too_large_to_hold_are_packed_once(tmp_path, cache_folder):
    data = load_parquet(make_parquet(tmp_path / "data"), limit_train=2)
    assert isinstance(data.images, PackedImages)
    for place, row in enumerate(data.rows):
        np.testing.assert_array_equal(data.read(np.array([place]))[0], np.asarray(make_image(int(row))))
    before = {path: path.stat().st_mtime_ns for path in (cache_folder / "packed").iterdir()}
    load_parquet(tmp_path / "data", limit_train=2)
    assert {path: path.stat().st_mtime_ns for path in (cache_folder / "packed").iterdir()} == before
    assert len(before) == 2


def test_a_torn_pack_is_made_anew_and_a_changed_one_is_refused(tmp_path, cache_folder):
    root = make_parquet(tmp_path / "data")
    load_parquet(root)
    pack = next((cache_folder / "packed").glob("*.pack"))
    pack.write_bytes(pack.read_bytes()[:-5])
    assert load_parquet(root).read(np.arange(4)).shape == (4, 8, 8, 3)
    pack.write_bytes(bytes(pack.stat().st_size))
    with pytest.raises(DataError, match=r"in the cache has been changed\. Delete it"):
        load_parquet(root).read(np.arange(4))


def test_a_pack_that_cannot_be_written_is_explained(tmp_path, monkeypatch):
    blocked = tmp_path / "blocked"
    blocked.write_text("not a folder")
    monkeypatch.setenv("VTBENCH_CACHE", str(blocked))
    with pytest.raises(DataError, match="Set VTBENCH_CACHE to a folder with room"):
        load_parquet(make_parquet(tmp_path / "data"))


def test_a_parquet_file_that_changes_before_it_is_read_is_named(tmp_path):
    split = load_parquet(make_parquet(tmp_path / "data")).split
    pq.write_table(make_table([0, 1, 0, 1, 0]), tmp_path / "data" / "train-00000-of-00001.parquet")
    split.rows._last.clear()
    with pytest.raises(DataError, match=r"train-00000-of-00001\.parquet has changed"):
        split.read(np.arange(4))


@pytest.mark.slow
def test_an_error_in_a_worker_arrives_with_its_own_text(tmp_path):
    data = load_folder(make_folder(tmp_path / "data"))
    (tmp_path / "data" / "train" / "dog" / "0.png").unlink()
    batches = make_batches(data, workers=1)
    with pytest.raises(DataError, match=r"^The file .*dog/0\.png was there when the data was opened"):
        list(batches.epoch(0))
    batches.close()


@pytest.mark.slow
def test_a_killed_worker_is_reported_as_that(tmp_path):
    data = load_folder(make_folder(tmp_path / "data", num_train=200))
    batches = make_batches(data, workers=1)
    running = batches.epoch(0)
    next(running)
    os.kill(batches._loader._loader._iterator._workers[0].pid, signal.SIGKILL)
    deaths, until = signal.getsignal(signal.SIGCHLD), time.monotonic() + 60
    while not deaths.texts:  # Torch would raise it here, in the middle of a step or of a checkpoint.
        assert time.monotonic() < until
        time.sleep(0.01)
    with pytest.raises(DataError, match=r"A process that reads images ahead died \(.*killed by signal: Killed\)"):
        for _ in running:
            time.sleep(0.01)
    assert len(list(batches.epoch(0))) == 200  # Another is started.
    batches.close()


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), EOFError(), FileNotFoundError(2, "no socket")])
def test_a_worker_killed_while_its_batch_is_fetched_is_reported_as_that(tmp_path, monkeypatch, error):
    def fail():
        raise error

    batches = make_batches(load_folder(make_folder(tmp_path / "data")), workers=1)
    monkeypatch.setattr(batches._loader, "_start", fail)
    with pytest.raises(DataError, match="A process that reads images ahead died"):
        list(batches.epoch(0))


@pytest.mark.slow
def test_a_worker_killed_between_epochs_is_reported_when_the_next_begins(tmp_path):
    batches = make_batches(load_folder(make_folder(tmp_path / "data")), workers=2)
    num_batches = len(list(batches.epoch(0)))
    os.kill(batches._loader._loader._iterator._workers[0].pid, signal.SIGKILL)
    with pytest.raises(DataError, match="A process that reads images ahead died"):
        list(batches.epoch(1))
    assert len(list(batches.epoch(1))) == num_batches
    batches.close()


def test_each_death_is_told_once_with_its_cause_though_a_connection_breaks_before_the_signal_comes(
    tmp_path, monkeypatch
):
    pids = itertools.count(1)

    def fail():
        if not deaths.texts:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGCHLD)).start()
        raise ConnectionResetError(104, "reset")

    def tell(number, frame):
        raise RuntimeError(f"DataLoader worker (pid {next(pids)}) is killed by signal: Killed. ")

    batches = make_batches(load_folder(make_folder(tmp_path / "data")), workers=1)
    monkeypatch.setattr(batches._loader, "_start", fail)
    deaths = _KeptDeaths(tell)
    before = signal.signal(signal.SIGCHLD, deaths)
    try:
        with pytest.raises(
            DataError, match=r"died \(DataLoader worker \(pid 1\) is killed by signal: Killed.*\)\. Run"
        ):
            list(batches.epoch(0))
        os.kill(os.getpid(), signal.SIGCHLD)  # Of another loader, while nothing is read.
        os.kill(os.getpid(), signal.SIGCHLD)
        with pytest.raises(DataError, match=r"died \(DataLoader worker \(pid [2-9]\) .*: Killed; .*: Killed\)\. Run"):
            list(batches.epoch(0))
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_an_error_of_the_maker_in_a_living_worker_is_not_taken_for_its_death(tmp_path, monkeypatch):
    def fail():
        raise FileNotFoundError("Caught FileNotFoundError in DataLoader worker process 0.")

    batches = make_batches(load_folder(make_folder(tmp_path / "data")), workers=1)
    monkeypatch.setattr(batches._loader, "_start", fail)
    with pytest.raises(FileNotFoundError):
        list(batches.epoch(0))


@pytest.mark.slow
def test_an_interrupt_of_all_processes_leaves_the_workers_at_work(tmp_path):
    batches = make_batches(load_folder(make_folder(tmp_path / "data", num_train=20)), workers=1)
    running = batches.epoch(0)
    next(running)
    os.kill(batches._loader._loader._iterator._workers[0].pid, signal.SIGINT)
    assert len(list(running)) == 19
    batches.close()


@pytest.mark.slow
def test_memory_stays_flat_over_epochs(tmp_path, monkeypatch):
    import resource

    monkeypatch.delenv("VTBENCH_CACHE_LIMIT_MB")
    data = load_dataset(DataConfig(spec="scenes:num_train=4000,num_val=10"), "train", seed=0)
    batches = TrainBatches(data, batch_size=128, seed=0, augmentation=AugmentationConfig())
    evaluation = EvalBatches(data, 128)
    peaks = []
    for epoch in range(12):
        for _ in batches.epoch(epoch):
            pass
        for _ in evaluation:
            pass
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert peaks[-1] - peaks[2] < 4_000  # Kilobytes; the images of an epoch are 12,000, as floats 48,000.


def make_masked_parquet(root):
    root.mkdir()
    images = [encode(make_image(number)) for number in range(6)]
    masks = [encode(make_image(number + 50, mode="L").point(lambda value: value % 3)) for number in range(6)]
    for split in ("train", "val"):
        pq.write_table(pa.table({"image": images, "mask": masks}), root / f"{split}.parquet", row_group_size=2)
    return root


def test_masks_and_images_too_large_to_hold_are_packed_together_once(tmp_path, cache_folder, monkeypatch):
    root = make_masked_parquet(tmp_path / "data")
    config = DataConfig(spec=f"parquet:{root},num_classes=3", limit_train=4)
    packed = load_dataset(config, "train", seed=0)
    [pack] = (cache_folder / "packed").glob("*.pack")
    monkeypatch.setattr(RowGroups, "fetch", lambda *_: pytest.fail("a row group was read again"))
    some = np.array([3, 0])
    read = [packed.read(some), packed.read_masks(some), *packed.read_original_masks(some)]
    sent = pickle.loads(pickle.dumps(packed))
    np.testing.assert_array_equal(sent.read_masks(some), read[1])
    monkeypatch.undo()
    monkeypatch.delenv("VTBENCH_CACHE_LIMIT_MB", raising=False)
    held = load_dataset(config, "train", seed=0)
    assert held.fingerprint == packed.fingerprint and list((cache_folder / "packed").glob("*.pack")) == [pack]
    for one, other in zip(read, [held.read(some), held.read_masks(some), *held.read_original_masks(some)], strict=True):
        np.testing.assert_array_equal(one, other)
