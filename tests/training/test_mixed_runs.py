"""Runs whose images are mixed, jittered and erased go on to the same bits, and are tallied by images."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_resume import StopAtLook
from tiny_parts import digest_run, tiny_config

from vtbench.configuration import AugmentationConfig
from vtbench.training import RunStopped, train_run

EVERYTHING = AugmentationConfig(
    rand_augment=2, color_jitter=0.4, color_jitter_hue=0.1, random_erasing=0.5, mixup=0.2, cutmix=1.0
)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_that_mixes_is_stopped_and_goes_on_to_the_same_bits(
    tiny: pytest.MonkeyPatch, tmp_path: Path, accumulate: int
) -> None:
    config = tiny_config(augmentation=EVERYTHING, execution={"accumulate": accumulate})
    record = train_run(config, tmp_path / "straight")
    assert record.status == "finished"
    assert all(0 <= epoch.train["top1_percent"] <= 100 for epoch in record.epochs)
    for look in (4, 0, 1):
        with pytest.raises(RunStopped):
            train_run(config, tmp_path / "resumed", stop=StopAtLook(look))
    train_run(config, tmp_path / "resumed")
    assert digest_run(tmp_path / "resumed") == digest_run(tmp_path / "straight")


def test_what_is_mixed_stands_in_the_certificate(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = train_run(tiny_config(), tmp_path / "plain").certificate
    mixed = train_run(tiny_config(augmentation=EVERYTHING), tmp_path / "mixed").certificate
    assert plain is not None and mixed is not None
    assert plain.augmentation != mixed.augmentation and plain.recipe != mixed.recipe
    assert plain.sample_order == mixed.sample_order
