from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_parts import TinyImages, digest_run, load_tiny, tiny_config

from vtbench.datasets.batches import EvalBatches
from vtbench.errors import UserError
from vtbench.training import ProgressListener, train_run
from vtbench.training.teacher import load_teacher
from vtbench.training.trained import load_run


def test_a_finished_run_opens_with_the_weights_that_its_accuracy_belongs_to(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = train_run(tiny_config(), tmp_path)
    opened = load_run(tmp_path)
    assert opened.record == record
    data = load_tiny(record.config.data, "val", seed=0)
    assert (opened.note.mean, opened.note.image_size) == (data.mean, data.image_size)
    images, labels = next(iter(EvalBatches(data, 12)))
    with torch.no_grad():
        right = (opened.model(images).argmax(1) == labels).float().mean()
    assert record.headline == pytest.approx(100 * float(right))


def test_a_folder_without_a_finished_run_is_refused(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished run"):
        load_run(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vtbench.training.trainer.Trainer.train_batch", lambda *batch: {}["gone"])
        train_run(tiny_config(), tmp_path)
    with pytest.raises(UserError, match=r"failed: Unexpected KeyError"):
        load_run(tmp_path)


class Hearer(ProgressListener):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def on_message(self, text: str) -> None:
        self.messages.append(text)


def flip_a_byte(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-3] ^= 1  # Of the last number: the file is as sound as ever in form.
    file.write_bytes(data)


def test_weights_that_are_not_those_of_the_record_are_refused_by_whatever_reads_them(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train_run(tiny_config(), tmp_path)
    weights, data = tmp_path / "weights.safetensors", TinyImages(12, 2)
    flip_a_byte(weights)
    readers = [
        lambda: load_run(tmp_path),
        lambda: load_teacher(str(tmp_path), data, 4, torch.device("cpu")),
        lambda: load_teacher(f"tiny@{weights}", data, 4, torch.device("cpu")),
    ]
    for read in readers:
        with pytest.raises(UserError, match=r"weights\.safetensors are not those of its record: their SHA-256 begins"):
            read()
    elsewhere = weights.rename(tmp_path / "mine.safetensors")
    assert load_teacher(f"tiny@{elsewhere}", data, 4, torch.device("cpu")).model  # Of these no hash is known.


def test_a_finished_run_whose_weights_are_gone_is_not_finished_to_who_needs_them_and_can_have_them_again(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = train_run(tiny_config(), tmp_path)
    before = digest_run(tmp_path)
    (tmp_path / "weights.safetensors").unlink()
    for read in (
        lambda: load_run(tmp_path),
        lambda: load_teacher(str(tmp_path), TinyImages(12, 2), 4, torch.device("cpu")),
    ):
        with pytest.raises(UserError, match=r"has finished, but its weights .* are gone"):
            read()
    listener = Hearer()
    assert train_run(tiny_config(), tmp_path, listener=listener) == record
    assert [message for message in listener.messages if "its weights (weights.safetensors) are gone" in message]
    (tmp_path / "record.json").unlink()
    assert train_run(tiny_config(), tmp_path) == record
    assert digest_run(tmp_path) == before
    assert load_run(tmp_path).record == record
