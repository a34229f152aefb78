"""Data are recognised by what their files hold, wherever and however they lie."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import make_folder, make_parquet

from vtbench.configuration import DataConfig
from vtbench.datasets import data_files, load_dataset
from vtbench.datasets.data_files import DataFile, derive_fingerprint, fingerprint_files
from vtbench.datasets.loading import identify_data
from vtbench.errors import UserError


def identify(spec: str, seed: int = 0, **limits: int) -> dict[str, str]:
    return {str(split): text for split, text in identify_data(DataConfig(spec=spec, **limits), [seed])[seed].items()}


def content(spec: str, **limits: int) -> tuple[str, str]:
    config = DataConfig(spec=spec, **limits)
    return load_dataset(config, "train", seed=0).content, load_dataset(config, "val", seed=0).content


@pytest.mark.parametrize(("kind", "make"), [("folder", make_folder), ("parquet", make_parquet)])
def test_data_that_were_moved_or_are_reached_by_a_link_are_the_same_data(tmp_path: Path, kind: str, make) -> None:
    first = make(tmp_path / "first")
    expected = identify(f"{kind}:{first}")
    (tmp_path / "link").symlink_to(first)
    assert identify(f"{kind}:{tmp_path / 'link'}") == expected
    for path in first.rglob("*.*"):
        os.utime(path, (10**9, 10**9))
    assert identify(f"{kind}:{first}") == expected
    shutil.move(first, tmp_path / "second")
    (tmp_path / "link").unlink()
    assert identify(f"{kind}:{tmp_path / 'second'}") == expected


def test_what_is_identified_is_what_is_loaded(tmp_path: Path) -> None:
    spec = f"folder:{make_folder(tmp_path, num_train=6, num_val=4)}"
    for seed in (0, 1):
        config = DataConfig(spec=spec, limit_train=4, limit_val=2)
        loaded = {split: load_dataset(config, split, seed=seed).fingerprint for split in ("train", "val")}
        assert identify(spec, seed, limit_train=4, limit_val=2) == loaded


def test_the_content_of_a_split_is_the_same_under_every_limit_and_another_after_one_byte(tmp_path: Path) -> None:
    root = make_parquet(tmp_path)
    before = content(f"parquet:{root}")
    assert content(f"parquet:{root}", limit_train=2, image_size=16) == before
    assert before[0] != before[1]
    pq.write_table(
        pq.read_table(root / "val-00000-of-00001.parquet"), root / "val-00000-of-00001.parquet", version="1.0"
    )
    after = content(f"parquet:{root}")
    assert (after[0], after[1] == before[1]) == (before[0], False)


def test_the_same_rows_in_other_shards_are_other_files(tmp_path: Path) -> None:
    whole, parts = make_parquet(tmp_path / "whole"), make_parquet(tmp_path / "parts")
    table = pq.read_table(parts / "train-00000-of-00001.parquet")
    (parts / "train-00000-of-00001.parquet").unlink()
    for number in range(2):
        pq.write_table(pa.table(table[2 * number : 2 * number + 2]), parts / f"train-0000{number}-of-00002.parquet")
    assert identify(f"parquet:{whole}")["train"] != identify(f"parquet:{parts}")["train"]
    assert identify(f"parquet:{whole}")["val"] == identify(f"parquet:{parts}")["val"]


def write_files(folder: Path, *, last: bytes = b"z") -> list[DataFile]:
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.bin").write_bytes(bytes([number]) * 3000 + (last if number == 3 else b"z"))
    return [DataFile.find(folder / f"{number}.bin", folder) for number in range(4)]


def test_large_files_are_recognised_by_names_sizes_and_parts_and_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_files, "MOST_BYTES_HASHED", 10_000)
    monkeypatch.setattr(data_files, "_PART_BYTES", 100)
    first = fingerprint_files(write_files(tmp_path / "a"))
    assert first.startswith("sampled-")
    assert fingerprint_files(write_files(tmp_path / "b")) == first
    assert fingerprint_files(write_files(tmp_path / "c", last=b"y")) != first, "the end of a file is looked at"
    assert fingerprint_files(write_files(tmp_path / "d", last=b"zz")) != first
    assert derive_fingerprint(first, f"masked {first}").startswith("sampled-")
    assert not derive_fingerprint("0" * 64, "masked").startswith("sampled-")


def test_content_is_read_once_and_again_when_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path / "data")
    for path in (tmp_path / "data").iterdir():
        os.utime(path, (10**9, 10**9))

    def find() -> list[DataFile]:
        return [DataFile.find(tmp_path / "data" / f"{number}.bin", tmp_path / "data") for number in range(4)]

    read: list[Path] = []
    hash_file = data_files.hash_file
    monkeypatch.setattr(data_files, "hash_file", lambda path: read.append(path) or hash_file(path))
    first = fingerprint_files(find())
    assert fingerprint_files(find()) == first
    assert len(read) == 4
    (tmp_path / "data" / "0.bin").write_bytes(b"other")
    assert fingerprint_files(find()) != first


def test_a_pipe_among_the_files_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    os.mkfifo(next(root.rglob("*.png")).with_name("pipe.png"))
    with pytest.raises(UserError, match=r"pipe\.png is no file that holds data, but a pipe"):
        load_dataset(DataConfig(spec=f"folder:{root}"), "train", seed=0)


def test_a_remembered_hash_that_is_damaged_is_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTBENCH_CACHE", str(tmp_path / "cache"))
    files = write_files(tmp_path / "data")
    for file in files:
        os.utime(file.path, (10**9, 10**9))
    files = [DataFile.find(file.path, tmp_path / "data") for file in files]
    expected = fingerprint_files(files)
    (memory,) = (tmp_path / "cache" / "fingerprints").iterdir()
    memory.write_bytes("höher".encode("latin-1"))
    assert fingerprint_files(files) == expected
