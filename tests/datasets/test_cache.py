import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from vtbench.configuration import DataConfig
from vtbench.datasets import load_dataset
from vtbench.datasets.cache import CachedImages, HeldImages, cache_images, find_cache_folder, read_size_limit
from vtbench.datasets.dataset import DataError
from vtbench.datasets.decoding import split_rows
from vtbench.datasets.sources.scenes import SceneKnobs, SceneSplit
from vtbench.errors import UserError


@dataclass
class CountedSplit:
    """Scenes that count how often they are drawn."""

    inner: SceneSplit = field(default_factory=lambda: SceneSplit(SceneKnobs(num_train=30), "train", (8, 8)))
    num_read: int = 0

    @property
    def fingerprint(self):
        return self.inner.fingerprint

    image_size = (8, 8)

    def read(self, indices):
        self.num_read += len(indices)
        return self.inner.read(indices)


ROWS = np.arange(30)


@pytest.fixture
def split():
    return CountedSplit()


def stored_files():
    return sorted((find_cache_folder() / "decoded").iterdir())


def test_images_are_decoded_once_and_read_from_the_file_after_that(split):
    for _ in range(3):
        images = cache_images(split, ROWS)
        assert isinstance(images, CachedImages)
        np.testing.assert_array_equal(images.read(np.array([4, 29, 4])), split.inner.read(np.array([4, 29, 4])))
    assert split.num_read == 30
    assert len(stored_files()) == 2


def test_other_rows_are_another_entry(split):
    images = cache_images(split, np.array([5, 7]))
    np.testing.assert_array_equal(images.read(np.array([1])), split.inner.read(np.array([7])))
    cache_images(split, ROWS)
    assert split.num_read == 32


def damage_by_cutting(pixels, note):
    pixels.write_bytes(pixels.read_bytes()[:-100])


def damage_one_byte(pixels, note):
    data = bytearray(pixels.read_bytes())
    data[1000] ^= 1
    pixels.write_bytes(data)


def damage_note(pixels, note):
    note.write_text('{"shape": [30, 8')


def lose_note(pixels, note):
    note.unlink()


def pipe_for_note(pixels, note):
    note.unlink()
    os.mkfifo(note)


@pytest.mark.parametrize("damage", [damage_by_cutting, damage_one_byte, damage_note, lose_note, pipe_for_note])
def test_a_torn_or_changed_entry_is_built_anew(split, damage):
    cache_images(split, ROWS)
    note, pixels = stored_files()
    assert (note.suffix, pixels.suffix) == (".json", ".u8")
    damage(pixels, note)
    images = cache_images(split, ROWS)
    np.testing.assert_array_equal(images.read(ROWS), split.inner.read(ROWS))
    assert split.num_read == 60


def test_a_reader_sent_to_another_process_carries_no_pixels(split):
    images = cache_images(split, ROWS)
    images.read(ROWS)
    sent = pickle.dumps(images)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).read(ROWS), images.read(ROWS))


def test_a_copy_is_given_so_that_nobody_writes_into_the_cache(split):
    images = cache_images(split, ROWS)
    first = images.read(ROWS)
    first[:] = 0
    assert images.read(ROWS).any()


def test_where_nothing_can_be_written_images_are_held_in_memory(split, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("VTBENCH_CACHE", str(blocked))
    images = cache_images(split, ROWS)
    assert isinstance(images, HeldImages)
    np.testing.assert_array_equal(images.read(ROWS), split.inner.read(ROWS))
    dataset = load_dataset(DataConfig(spec="scenes:num_train=20,num_val=10", image_size=8), "train", seed=0)
    assert dataset.read(np.arange(20)).shape == (20, 8, 8, 3)


def test_a_full_disk_while_writing_leaves_no_entry_and_holds_images_in_memory(split, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vtbench.files.os.fsync", fail)
    assert isinstance(cache_images(split, ROWS), HeldImages)
    assert stored_files() == []


def test_two_processes_that_build_the_same_entry_at_once_both_get_it_whole(cache_folder):
    code = (
        "import sys, hashlib, numpy as np\n"
        "from vtbench.configuration import DataConfig\n"
        "from vtbench.datasets import load_dataset\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "data = load_dataset(DataConfig(spec='scenes:num_train=1500,num_val=10'), 'train', seed=0)\n"
        "print(type(data.images).__name__, hashlib.sha256(data.read(np.arange(1500))).hexdigest())\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    calls = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(2)]
    for call in calls:
        assert call.stdout.readline() == "ready\n"
    for call in calls:
        call.stdin.write("go\n")
        call.stdin.flush()
    outputs = [call.communicate(timeout=60)[0] for call in calls]
    assert [call.returncode for call in calls] == [0, 0]
    assert outputs[0] == outputs[1] and outputs[0].startswith("CachedImages")
    assert len(stored_files()) == 2


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("VTBENCH_CACHE", str(tmp_path / "own"))
    assert find_cache_folder() == tmp_path / "own"
    monkeypatch.delenv("VTBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_cache_folder() == tmp_path / "vtbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert find_cache_folder() == tmp_path / "home" / ".cache" / "vtbench"


def test_the_limit_is_two_gigabytes_or_what_the_environment_says(monkeypatch):
    assert read_size_limit() == 2048 * 10**6
    monkeypatch.setenv("VTBENCH_CACHE_LIMIT_MB", "10")
    assert read_size_limit() == 10**7
    monkeypatch.setenv("VTBENCH_CACHE_LIMIT_MB", "10 GB")
    with pytest.raises(UserError, match="VTBENCH_CACHE_LIMIT_MB is '10 GB'"):
        read_size_limit()


def test_data_beyond_the_limit_is_cached_as_a_subset_or_else_read_lazily(monkeypatch):
    config = DataConfig(spec="scenes:num_train=12000,num_val=10", limit_train=100, image_size=16)
    monkeypatch.setenv("VTBENCH_CACHE_LIMIT_MB", "1")
    subset = load_dataset(config, "train", seed=0)
    assert isinstance(subset.images, CachedImages) and subset.images.shape[0] == 100
    monkeypatch.setenv("VTBENCH_CACHE_LIMIT_MB", "0")
    lazy = load_dataset(config, "train", seed=0)
    assert isinstance(lazy.images, SceneSplit)
    np.testing.assert_array_equal(lazy.read(np.arange(100)), subset.read(np.arange(100)))
    assert lazy.fingerprint == subset.fingerprint


def zero(path):
    with path.open("r+b") as stream:
        stream.write(bytes(path.stat().st_size))


def cut_off(path):
    with path.open("r+b") as stream:
        stream.truncate(1000)


@pytest.mark.parametrize("alter", [zero, cut_off])
@pytest.mark.parametrize("sent", [False, True], ids=["here", "in a worker"])
def test_pixels_altered_while_they_are_in_use_are_refused_and_made_anew(split, alter, sent):
    images = cache_images(split, ROWS)
    before = images.read(ROWS)
    images = pickle.loads(pickle.dumps(images)) if sent else images
    alter(images.path)
    with pytest.raises(DataError, match=r"has been altered or cut off, which shows at its number 29\. .*Run again"):
        images.read(np.array([29, 3]))
    np.testing.assert_array_equal(cache_images(split, ROWS).read(ROWS), before)


def test_one_altered_byte_is_noticed_in_its_image_and_in_no_other(split):
    images = cache_images(split, ROWS)
    before = images.read(ROWS)
    damage_one_byte(images.path, None)
    np.testing.assert_array_equal(images.read(np.array([4, 6])), before[[4, 6]])
    with pytest.raises(DataError, match="its number 5"):
        images.read(np.array([5]))


def test_a_cache_that_is_removed_stays_readable_for_who_reads_it_and_is_told_to_others(split):
    images = cache_images(split, ROWS)
    images.read(ROWS)
    other = pickle.loads(pickle.dumps(images))
    images.path.unlink()
    images.read(ROWS)
    with pytest.raises(DataError, match="is gone"):
        other.read(ROWS)


@pytest.mark.parametrize("text", ["", "0\n", '{"mean": [0.1, 0.2, 0.3], "std": [0.2, 0.2, 0.2]}\n'])
def test_remembered_statistics_that_were_altered_are_measured_anew(text):
    config = DataConfig(spec="scenes:num_train=20,num_val=10", image_size=8)
    before = load_dataset(config, "train", seed=0)
    (memory,) = (find_cache_folder() / "statistics").iterdir()
    memory.write_text(text)
    assert (found := load_dataset(config, "train", seed=0)).mean == before.mean and found.std == before.std
    assert memory.read_bytes() != text.encode()
    kept = memory.read_bytes()
    memory.write_bytes(kept.replace(b"mean", b"maen").replace(b'": [0.', b'": [1.'))
    assert load_dataset(config, "train", seed=0).mean == before.mean


@pytest.mark.parametrize(("side", "most"), [(8, 512), (64, 341), (512, 64)])
def test_large_images_are_decoded_fewer_at_a_time(side, most):
    asked = [len(rows) for rows in split_rows(np.arange(1000), 3 * side**2)]
    assert max(asked) == most
    assert sum(asked) == 1000
