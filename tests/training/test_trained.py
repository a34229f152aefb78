from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_parts import load_tiny, tiny_config

from vtbench.datasets.batches import EvalBatches
from vtbench.errors import UserError
from vtbench.training import train_run
from vtbench.training.trained import load_run


def test_a_finished_run_opens_with_the_weights_that_its_accuracy_belongs_to(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tiny.setattr("vtbench.training.trained.load_dataset", load_tiny)
    record = train_run(tiny_config(), tmp_path)
    opened = load_run(tmp_path)
    assert opened.record == record
    images, labels = next(iter(EvalBatches(opened.data, 12)))
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
