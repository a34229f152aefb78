"""RandAugment, colour jitter, erasing, mixup and CutMix: as in torchvision, drawn by counter, in pixels and loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import v2

from vtbench.configuration import AugmentationConfig, Recipe
from vtbench.datasets.augmentation import Augmentation
from vtbench.datasets.batches import BatchMaker, TrainBatches
from vtbench.datasets.colour_augmentation import OPERATIONS, erase, jitter_colours, rand_augment
from vtbench.datasets.counter_based import draw_words
from vtbench.datasets.mixing import WHOLE, draw_mix, mix_images, mix_labels
from vtbench.tasks.classification import Classification, ClassificationObjective

ALL = {
    "rand_augment": 2, "color_jitter": 0.4, "color_jitter_hue": 0.1, "random_erasing": 0.5, "mixup": 0.2, "cutmix": 1.0,
}  # fmt: skip
INDICES = np.arange(400, dtype=np.int64)


class Images:
    """Noise with labels."""

    name, image_size, mean, std = "noise", (16, 12), (0.5, 0.4, 0.3), (0.25, 0.25, 0.25)
    class_names, fingerprint, content = ("a", "b", "c", "d"), "noise", "noise"
    labels = np.arange(24, dtype=np.int64) % 4

    def __len__(self) -> int:
        return 24

    def read(self, indices: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.random.default_rng(0).integers(0, 256, (24, 16, 12, 3), np.uint8)[indices]


def test_the_operations_are_those_of_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    transform = v2.RandAugment(num_ops=1, magnitude=9, fill=[100.0, 110.0, 120.0])
    names = list(transform._AUGMENTATION_SPACE)
    image = torch.from_numpy(Images().read(np.array([3]))[0]).permute(2, 0, 1)
    for place, name in enumerate(names):
        for sign in (-1.0, 1.0):
            space = {name: transform._AUGMENTATION_SPACE[name]}
            monkeypatch.setattr(v2.RandAugment, "_AUGMENTATION_SPACE", space)
            monkeypatch.setattr(torch, "rand", lambda *_, sign=sign: torch.tensor(0.0 if sign < 0 else 0.9))
            expected = transform(image)
            monkeypatch.undo()
            found = OPERATIONS[place](image, 9 / 30, sign, [100.0, 110.0, 120.0])
            difference = (expected.int() - found.int()).abs().max()
            assert difference <= 1, (name, sign, int(difference))


def test_every_operation_is_drawn_and_magnitude_0_leaves_most_images_alone() -> None:
    images = np.repeat(Images().read(np.array([1])), 400, axis=0)
    words = draw_words(1, INDICES, 2)
    changed = rand_augment(images, words, 9, (0, 0, 0))
    assert len({image.tobytes() for image in changed}) >= 18
    assert (rand_augment(images, words, 0, (0, 0, 0)) == images).all(axis=(1, 2, 3)).mean() > 0.75


def test_colours_are_jittered_within_their_bounds_and_masks_of_grey_stay_grey() -> None:
    grey = np.full((400, 4, 4, 3), 100, np.uint8)
    changed = jitter_colours(grey, draw_words(2, INDICES, 5), 0.4, 0.1)
    assert (changed.max(axis=3) - changed.min(axis=3) <= 1).all()
    levels = changed[:, 0, 0, 0] / 100
    assert 0.57 <= levels.min() < 0.63 and 1.37 < levels.max() <= 1.41
    assert (jitter_colours(grey, draw_words(2, INDICES, 5), 0.0, 0.0) == grey).all()


def test_erasing_fills_a_rectangle_of_the_mean_colour_as_often_as_asked() -> None:
    images = np.full((400, 20, 20, 3), 255, np.uint8)
    erased = (erase(images, draw_words(3, INDICES, 5), 0.3, (10, 20, 30)) == (10, 20, 30)).all(axis=3)
    assert erased.any(axis=(1, 2)).mean() == pytest.approx(0.3, abs=0.08)
    for mask in erased[erased.any(axis=(1, 2))]:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert mask.sum() == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        assert 0.01 <= mask.mean() <= 0.40


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}])
def test_shares_add_up_in_pixels_and_labels(settings: dict[str, float]) -> None:
    config = AugmentationConfig(**settings)  # type: ignore[arg-type]
    mix = draw_mix(5, INDICES, config, (16, 12))
    black, white = np.zeros((400, 16, 12, 3), np.uint8), np.full((400, 16, 12, 3), 255, np.uint8)
    shown = 1 - mix_images(black, white, mix).mean(axis=(1, 2, 3)) / 255
    np.testing.assert_allclose(shown, mix.share / WHOLE, atol=1 / WHOLE)
    rows = mix_labels(np.zeros(400, np.int64), np.ones(400, np.int64), mix)
    assert (rows[:, 2] >= WHOLE // 2).all()
    np.testing.assert_array_equal(np.where(rows[:, 0] == 0, rows[:, 2], WHOLE - rows[:, 2]), mix.share)
    mean = mix.share.mean() / WHOLE
    assert 0.45 < mean < (0.75 if "cutmix" in settings else 0.55)  # A rectangle that is cut at the rim leaves more.


def test_the_loss_is_that_of_soft_labels_and_the_tally_counts_the_larger_share() -> None:
    scores = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[0, 1, 200], [1, 1, 256], [3, 2, 128], [2, 0, 250], [1, 3, 180], [0, 2, 256]])
    soft = torch.zeros(6, 4)
    for row, (first, second, share) in enumerate(labels.tolist()):
        soft[row, first] += share / WHOLE
        soft[row, second] += 1 - share / WHOLE
    loss = ClassificationObjective(Recipe(name="r", label_smoothing=0.1), None)(torch.zeros(0), scores, labels)
    torch.testing.assert_close(loss, F.cross_entropy(scores, soft, label_smoothing=0.1))
    counted = Classification().count(scores, labels)["correct"]
    assert counted == (scores.argmax(1) == labels[:, 0]).sum()
    assert Classification().count_items(labels) == 6


def make_all(**settings: Any) -> BatchMaker:
    augmentation = Augmentation.of_data(AugmentationConfig(**(ALL | settings)), 7, Images())  # type: ignore[arg-type]
    return BatchMaker(Images(), 10, 7, augmentation, Classification())  # type: ignore[arg-type]


def test_processes_that_share_a_batch_make_the_same_mixtures() -> None:
    whole = make_all()
    for batch in range(3):
        images, labels = whole.make(1, batch)
        for rank in range(3):
            part = make_all()
            part.rank, part.num_ranks = rank, 3
            some, some_labels = part.make(1, batch)
            assert torch.equal(some, images[rank::3]) and torch.equal(some_labels, labels[rank::3])


@pytest.mark.slow
def test_batches_are_the_same_for_any_number_of_workers_and_after_a_resume() -> None:
    def make(workers: int) -> TrainBatches:
        return TrainBatches(
            Images(), batch_size=10, seed=3, augmentation=AugmentationConfig(**ALL), workers=workers,  # type: ignore[arg-type]
            targets=Classification(),
        )  # fmt: skip

    alone, helped = make(0), make(2)
    try:
        expected = list(alone.epoch(1))
        for (images, labels), (others, other_labels) in zip(expected, helped.epoch(1), strict=True):
            assert torch.equal(images, others) and torch.equal(labels, other_labels)
        rest = list(make(0).epoch(1, start_batch=1))
        assert all(torch.equal(one[0], two[0]) for one, two in zip(expected[1:], rest, strict=True))
    finally:
        helped.close()


@pytest.mark.parametrize("setting", ALL)
def test_each_setting_and_the_seed_enter_the_certificate_and_are_off_by_default(setting: str) -> None:
    def certify(config: AugmentationConfig, seed: int = 0) -> str:
        return Augmentation(config, seed, (16, 12)).hash(2, 24)

    assert AugmentationConfig().model_dump().keys() == {"crop_padding", "flip", "auto_augment"}
    switched = AugmentationConfig(**{setting: ALL[setting]})  # type: ignore[arg-type]
    assert certify(switched) != certify(AugmentationConfig())
    assert certify(switched) != certify(switched, seed=1)
    plain, drawn = (Augmentation(config, 0, (16, 12)).draw(0, INDICES) for config in (AugmentationConfig(), switched))
    np.testing.assert_array_equal(plain.top, drawn.top)
    np.testing.assert_array_equal(plain.flip, drawn.flip)


def test_two_policies_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="take each other's place"):
        AugmentationConfig(auto_augment=True, rand_augment=2)
