"""What is said of a data set before training is what training reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from image_files import make_folder, make_image, make_parquet
from PIL import Image

from vtbench.configuration import AugmentationConfig, DataConfig
from vtbench.datasets import LoadedDataset, Split, load_dataset
from vtbench.datasets.contact_sheet import show_augmented, show_samples
from vtbench.datasets.dataset import VOID
from vtbench.datasets.inspection import survey_data
from vtbench.records.data import DataRecord, DuplicatesRecord, ImageSizes


def load(spec: str) -> dict[Split, LoadedDataset]:
    config = DataConfig(spec=spec)
    return {"train": load_dataset(config, "train", seed=0), "val": load_dataset(config, "val", seed=0)}


def survey(spec: str) -> DataRecord:
    return survey_data(load(spec))


def make_masked(root: Path) -> Path:
    """Four and two images of 8x12 with masks: left half class 0, right half class 1, and the upper row void (9)."""
    seed = 0
    for split, count in (("train", 4), ("val", 2)):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            make_image(seed, (8, 12)).save(root / "images" / split / f"{number}.png")
            mask = np.repeat([[0] * 6 + [1] * 6], 8, axis=0).astype(np.uint8)
            mask[0] = 9
            Image.fromarray(mask).save(root / "masks" / split / f"{number}.png")
            seed += 1
    return root


def test_a_folder_is_described_by_its_files(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "data", num_train=3, num_val=2, size=(8, 12))
    make_image(90, (20, 10)).save(root / "train" / "cat" / "wide.jpg")
    make_image(91, (4, 4), "L").save(root / "train" / "cat" / "small.png")
    shutil.copy(root / "train" / "dog" / "0.png", root / "val" / "cat" / "0.png")
    record = survey(f"folder:{root}")
    train, val = record.splits
    assert record.tasks == ("classification",)
    assert record.taken == {"train": "train", "val": "val"}
    assert (train.num_images, val.num_images) == (8, 4)
    assert train.sizes == ImageSizes(smallest=(4, 4), median=(8, 12), largest=(20, 10))
    assert train.kinds == {"PNG RGB": 6, "JPEG RGB": 1, "PNG L": 1}
    assert [(one.name, one.num_train, one.num_val) for one in record.classes] == [("cat", 5, 2), ("dog", 3, 2)]
    found = record.duplicates
    assert isinstance(found, DuplicatesRecord)
    assert (found.num_train, found.num_val, found.num_shared, found.num_relabelled) == (0, 0, 1, 1)
    assert [Path(one).as_posix() for one in found.shared[0]] == ["val/cat/0.png", "train/dog/0.png"]


def test_a_table_is_described_by_its_columns(tmp_path: Path) -> None:
    record = survey(f"parquet:{make_parquet(tmp_path)}")
    assert record.taken == {"image": "image", "label": "label", "train": "train", "val": "val"}
    assert record.splits[0].kinds == {"PNG RGB": 4}


def test_masks_are_described_by_their_values_and_by_their_pixels_without_margins(tmp_path: Path) -> None:
    record = survey(f"folder:{make_masked(tmp_path)},num_classes=3,ignore=9")
    assert record.tasks == ("segmentation",)
    assert [mask.values for mask in record.masks] == [(0, 1, 9), (0, 1, 9)]
    assert [mask.void_percent for mask in record.masks] == [12.5, 12.5]
    assert [(one.train_percent, one.num_train, one.num_val) for one in record.pixel_classes] == [
        (50.0, 4, 2),
        (50.0, 4, 2),
        (0.0, 0, 0),
    ]


def test_scenes_serve_both_tasks_and_lie_in_no_files() -> None:
    record = survey("scenes:num_train=40,num_val=20")
    assert record.tasks == ("classification", "segmentation")
    assert record.splits[0].kinds == {"RGB pixels": 40}
    assert [one.name for one in record.pixel_classes] == ["background", "disc", "square", "triangle", "cross"]
    assert sum(one.val_percent for one in record.pixel_classes) == pytest.approx(100)


def test_images_too_many_to_be_held_are_compared_by_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTBENCH_CACHE_LIMIT_MB", "0")
    root = make_folder(tmp_path / "data")
    shutil.copy(root / "train" / "dog" / "0.png", root / "val" / "dog" / "0.png")
    found = survey(f"folder:{root}").duplicates
    assert isinstance(found, DuplicatesRecord)
    assert (found.by, found.num_shared, found.num_relabelled) == ("files", 1, 0)


def test_sheets_show_the_very_pixels_that_a_network_is_given(tmp_path: Path) -> None:
    train = load(f"folder:{make_folder(tmp_path / 'data')}")["train"]
    groups = show_samples(train, 12, 2)
    assert [name for name, _ in groups] == ["cat", "dog"]
    shown = [sample.image for _, samples in groups for sample in samples]
    assert np.array_equal(shown, train.read(np.array([0, 2, 3, 5])))


@pytest.mark.parametrize(
    "config",
    [AugmentationConfig(), AugmentationConfig(crop_padding=0, scale=(0.5, 1.5), crop=(8, 8))],
    ids=["padding", "windows"],
)
def test_an_augmented_mask_holds_no_value_that_it_did_not_hold_before_save_void(
    tmp_path: Path, config: AugmentationConfig
) -> None:
    train = load(f"folder:{make_masked(tmp_path)},num_classes=3,ignore=9")["train"]
    shown = show_augmented(train, config, seed=0, num_images=4, num_draws=5, with_masks=True)
    assert [number for number, _ in shown] == [0, 1, 2, 3]
    seen = set()
    for _, (plain, *drawn) in shown:
        assert plain.mask is not None
        assert len(drawn) == 5
        for sample in drawn:
            assert sample.mask is not None
            assert sample.mask.shape == sample.image.shape[:2] == (config.crop or train.image_size)
            assert set(np.unique(sample.mask)) <= {*np.unique(plain.mask), VOID}
            seen.add(sample.image.tobytes())
    assert len(seen) > 10, "draws differ"


def test_what_is_shown_as_an_epoch_is_what_training_is_given_in_it(tmp_path: Path) -> None:
    from vtbench.datasets.batches import TrainBatches

    train = load(f"folder:{make_folder(tmp_path / 'data')}")["train"]
    config = AugmentationConfig()
    (number, samples), *_ = show_augmented(train, config, seed=3, num_images=1, num_draws=2, with_masks=False)
    batches = TrainBatches(train, batch_size=len(train), seed=3, augmentation=config)
    for epoch in range(2):
        ((images_BCHW, _),) = batches.epoch(epoch)
        place = batches._maker.order(epoch).tolist().index(number)
        given_HWC = images_BCHW[place].permute(1, 2, 0).numpy() * train.std + train.mean
        assert np.array_equal((255 * given_HWC).round().astype(np.uint8), samples[1 + epoch].image)
