from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from tiny_parts import save_checkpoint

from vtbench.training.checkpoint import (
    Checkpoint,
    find_checkpoint,
    has_checkpoint,
    pack_tensors,
    unpack_tensors,
)


def checkpoint(number: int) -> Checkpoint:
    tensors = {"model.weight": torch.full((2, 3), float(number)), "count": torch.tensor(number)}
    return Checkpoint(tensors, {"epoch": number, "rate": 0.1 + number})


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    found = find_checkpoint(tmp_path).checkpoint
    assert found is not None
    assert found.values == {"epoch": 1, "rate": 1.1}
    assert torch.equal(found.tensors["model.weight"], torch.ones(2, 3))
    assert found.tensors["count"].shape == ()


def test_the_newest_two_are_kept_each_with_its_checksum(tmp_path: Path) -> None:
    for number in range(1, 5):
        save_checkpoint(tmp_path, checkpoint(number))
    names = [f"0000000{number}.{kind}" for number in (3, 4) for kind in ("safetensors", "sha256")]
    assert files(tmp_path) == sorted(names)


def test_the_checksum_lies_beside_in_the_format_of_sha256sum(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    sha256 = hashlib.sha256((tmp_path / "00000001.safetensors").read_bytes()).hexdigest()
    assert (tmp_path / "00000001.sha256").read_text() == f"{sha256}  00000001.safetensors\n"


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_torn_or_altered_file_is_passed_over_for_the_one_before(tmp_path: Path, damage: str) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    save_checkpoint(tmp_path, checkpoint(2))
    newest = tmp_path / "00000002.safetensors"
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes({"cut": data[:-7], "flip": data, "empty": b""}[damage])
    found = find_checkpoint(tmp_path)
    assert found.damaged == [newest]
    assert found.checkpoint is not None
    assert found.checkpoint.values["epoch"] == 1


def test_a_file_without_its_checksum_is_an_unfinished_save_and_not_damage(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    save_checkpoint(tmp_path, checkpoint(2))
    (tmp_path / "00000002.sha256").unlink()
    found = find_checkpoint(tmp_path)
    assert found.damaged == []
    assert found.checkpoint is not None
    assert found.checkpoint.values["epoch"] == 1


def test_when_all_are_damaged_there_is_none_and_saving_goes_on(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    (tmp_path / "00000001.safetensors").write_bytes(b"not a tensor")
    assert find_checkpoint(tmp_path).checkpoint is None
    save_checkpoint(tmp_path, checkpoint(2))
    found = find_checkpoint(tmp_path).checkpoint
    assert found is not None
    assert found.values["epoch"] == 2


def test_a_file_that_would_run_code_is_not_even_opened(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    (tmp_path / "00000001.safetensors").write_bytes(pickle.dumps({"weights": 1}))
    assert find_checkpoint(tmp_path).checkpoint is None


def test_equal_states_give_equal_bytes_whatever_their_layout_in_memory() -> None:
    weight = torch.arange(2 * 3 * 4 * 4.0).view(2, 3, 4, 4)
    plain = pack_tensors({"b": weight, "a": torch.ones(1)}, {"x": 1, "y": 2})
    other = pack_tensors({"a": torch.ones(1), "b": weight.to(memory_format=torch.channels_last)}, {"y": 2, "x": 1})
    assert plain == other


def test_tensors_that_share_memory_are_both_kept() -> None:
    shared = torch.arange(3.0)
    found = unpack_tensors(pack_tensors({"a": shared, "b": shared, "c": shared[1:]}, {})).tensors
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "a": [0.0, 1.0, 2.0],
        "b": [0.0, 1.0, 2.0],
        "c": [1.0, 2.0],
    }


def test_what_is_restored_are_the_bytes_that_were_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    path, whole = tmp_path / "00000001.safetensors", hashlib.sha256

    def alter_the_file_after_hashing(data: bytes) -> object:
        found = whole(data)
        path.write_bytes(b"other bytes")
        return found

    monkeypatch.setattr("vtbench.training.checkpoint.hashlib.sha256", alter_the_file_after_hashing)
    found = find_checkpoint(tmp_path).checkpoint
    assert found is not None
    assert torch.equal(found.tensors["model.weight"], torch.ones(2, 3))


def test_only_what_was_saved_whole_is_there_to_go_on_from(tmp_path: Path) -> None:
    assert not has_checkpoint(tmp_path / "none")
    save_checkpoint(tmp_path, Checkpoint({"weight": torch.ones(2)}, {}))
    assert has_checkpoint(tmp_path)
    (tmp_path / "00000001.sha256").unlink()
    assert not has_checkpoint(tmp_path)
    assert (tmp_path / "00000001.safetensors").exists(), "to look removes nothing"
