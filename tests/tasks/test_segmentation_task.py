"""Segmentation is held against counts by hand: the confusion matrix, what follows from it, and the loss."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torchmetrics.functional.classification import multiclass_confusion_matrix

from vtbench.configuration import AugmentationConfig, DistillationConfig, Recipe
from vtbench.datasets.batches import EvalBatches
from vtbench.datasets.dataset import VOID
from vtbench.errors import UserError
from vtbench.metrics import METRICS, is_of_class, read_classes, score_segmentation
from vtbench.tasks import TASKS, Tally
from vtbench.tasks.segmentation import SegmentationObjective, count_pixels, weigh_classes
from vtbench.training.evaluation import evaluate
from vtbench.training.world import World

TASK = TASKS["segmentation"]


def scores_for(predicted: Tensor, num_classes: int) -> Tensor:
    """Scores whose largest is that of the class in ``predicted``, (B, H, W)."""
    return functional.one_hot(predicted, num_classes).movedim(-1, 1).float()


def measure(predicted: Tensor, truth: Tensor, num_classes: int) -> dict[str, float]:
    tally = Tally(TASK, 1)
    scores = scores_for(predicted, num_classes)
    tally.count(scores, truth.to(torch.uint8))
    tally.add_loss(0, TASK.sum_losses(scores, truth.to(torch.uint8)), TASK.count_items(truth.to(torch.uint8)))
    return tally.read()


TRUTH = torch.tensor([[[0, 0, 0, 1], [1, VOID, 3, 3]]])
PREDICTED = torch.tensor([[[0, 0, 2, 1], [0, 1, 3, 3]]])


def test_a_small_image_is_scored_as_by_hand() -> None:
    # By hand: class 0 has 3 pixels, 2 of them found, and one pixel of class 1 besides: IoU 2/4. Class 1 has 2 pixels,
    # one found: 1/2. Class 2 is absent and predicted once. Class 3 is found whole. The void pixel counts nowhere.
    found = measure(PREDICTED, TRUTH, 4)
    assert read_classes(found, "iou_percent") == {0: 50.0, 1: 50.0, 3: 100.0}
    assert read_classes(found, "accuracy_percent") == {0: pytest.approx(200 / 3), 1: 50.0, 3: 100.0}
    assert read_classes(found, "pixels") == {0: 3.0, 1: 2.0, 2: 0.0, 3: 2.0}
    assert found["miou_percent"] == pytest.approx((50 + 50 + 100) / 3)
    assert found["pixel_accuracy_percent"] == pytest.approx(100 * 5 / 7)
    assert found["mean_accuracy_percent"] == pytest.approx((200 / 3 + 50 + 100) / 3)
    assert found["fwiou_percent"] == pytest.approx((3 * 50 + 2 * 50 + 2 * 100) / 7)
    assert found["dice_percent"] == pytest.approx(100 * (4 / 6 + 2 / 3 + 4 / 4) / 3)
    assert found["void_percent"] == pytest.approx(100 / 8)


def test_an_absent_class_is_left_out_of_the_means_predicted_or_not() -> None:
    predicted_too, not_even_predicted = [[2, 1, 0], [0, 0, 0], [0, 0, 3]], [[3, 0, 0], [0, 0, 0], [0, 0, 3]]
    assert score_segmentation(predicted_too)["miou_percent"] == pytest.approx(100 * (2 / 3 + 1) / 2)
    assert score_segmentation(not_even_predicted)["miou_percent"] == 100.0
    assert "iou_percent/1" not in score_segmentation(predicted_too)


def test_an_image_of_void_alone_has_no_loss_and_no_nan() -> None:
    found = measure(torch.zeros(1, 2, 2, dtype=torch.int64), torch.full((1, 2, 2), VOID), 3)
    assert found["loss"] == found["miou_percent"] == found["pixel_accuracy_percent"] == 0.0
    assert found["void_percent"] == 100.0
    assert all(np.isfinite(list(found.values())))


def test_every_metric_of_the_task_is_measured_and_numbers_of_classes_are_told_from_them() -> None:
    found = measure(PREDICTED, TRUTH, 4)
    assert {metric.key for metric in METRICS["segmentation"]} | {"loss", "void_percent"} == {
        key for key in found if not is_of_class(key)
    }


def test_careful_torch_counts_the_same_and_stays_careful() -> None:
    plain = TASK.count(scores_for(PREDICTED, 4), TRUTH.to(torch.uint8))
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        careful = TASK.count(scores_for(PREDICTED, 4), TRUTH.to(torch.uint8))
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(plain["confusion"], careful["confusion"])
    assert careful["confusion"].dtype == torch.int64


@dataclass(frozen=True)
class Masked:
    """Noise with masks: of the size of the images, or of sizes of their own."""

    sizes: tuple[tuple[int, int], ...]
    num_images: int = 5
    name: str = "masked"
    class_names: tuple[str, ...] = ("one",)
    mask_class_names: tuple[str, ...] = ("ground", "thing", "rare")
    image_size: tuple[int, int] = (6, 9)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)
    fingerprint: str = "masked"

    @property
    def labels(self) -> NDArray[np.int64]:
        return np.zeros(self.num_images, np.int64)

    @property
    def rows(self) -> NDArray[np.int64]:
        return np.arange(self.num_images)

    def __len__(self) -> int:
        return self.num_images

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.random.default_rng(0).integers(0, 256, (self.num_images, 6, 9, 3), np.uint8)[indices]

    def read_masks(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        masks = [self._mask(int(index), self.image_size) for index in indices]
        return np.array(masks, np.uint8).reshape(-1, *self.image_size)

    def read_original_masks(self, indices: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        return [self._mask(int(index), self.sizes[index % len(self.sizes)]) for index in indices]

    def _mask(self, index: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        return np.random.default_rng(index).choice(np.array([0, 0, 1, 2, VOID], np.uint8), size)


def evaluate_on(data: Masked, batch_size: int, world: World | None = None) -> dict[str, float]:
    torch.manual_seed(0)
    model = nn.Conv2d(3, 3, 3, padding=1)
    world = world or World()
    batches = EvalBatches(data, batch_size, targets=TASK, rank=world.rank, num_ranks=world.size)
    return evaluate(model, batches, task=TASK, to_device=lambda x: x, autocast=nullcontext, world=world)


class OneOfTwo(World):
    size = 2

    def __init__(self, rank: int, others: dict[str, Tensor] | None = None) -> None:
        self.rank, self.others = rank, others
        self.given: dict[str, Tensor] = {}

    def all_sum(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        self.given = tensors
        return tensors if self.others is None else {name: tensors[name] + self.others[name] for name in tensors}


@pytest.mark.parametrize("sizes", [((6, 9),), ((13, 7), (5, 5), (6, 9))], ids=["one size", "three sizes"])
def test_the_metrics_are_the_same_for_any_batch_and_two_processes(sizes: tuple[tuple[int, int], ...]) -> None:
    data = Masked(sizes)
    whole = evaluate_on(data, 5)
    second = OneOfTwo(1)
    evaluate_on(data, 4, second)
    for other in (evaluate_on(data, 1), evaluate_on(data, 3), evaluate_on(data, 4, OneOfTwo(0, second.given))):
        assert {k: v for k, v in other.items() if k != "loss"} == {k: v for k, v in whole.items() if k != "loss"}
        assert other["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    assert sum(read_classes(whole, "pixels").values()) == sum(
        int((mask != VOID).sum()) for mask in data.read_original_masks(np.arange(5))
    )


def test_scores_are_brought_to_the_original_size_of_every_mask() -> None:
    data, scores = Masked(((13, 7), (5, 5))), torch.randn(2, 3, 6, 9)
    truth = torch.from_numpy(TASK.read_truth(data, np.arange(2)))
    for (part, mask), number, size in zip(TASK.align(scores, truth), range(2), ((13, 7), (5, 5)), strict=True):
        assert part.shape == (1, 3, *size)
        expected = functional.interpolate(scores[number : number + 1], size, mode="bilinear")
        torch.testing.assert_close(part, expected)
        np.testing.assert_array_equal(mask[0].numpy(), data.read_original_masks(np.arange(2))[number])


SCORES = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
MASKS = torch.tensor([0, 1, 2, VOID, 1, 1, 2, 0, VOID, VOID, VOID, VOID, 2, VOID, 0, 1]).view(4, 2, 2).to(torch.uint8)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_mean_over_pixels_that_are_not_void(smoothing: float) -> None:
    found = SegmentationObjective(Recipe(name="r", label_smoothing=smoothing))(SCORES, SCORES, MASKS)
    rows = SCORES.movedim(1, -1).reshape(-1, 3)[MASKS.flatten() != VOID]
    labels = MASKS.flatten()[MASKS.flatten() != VOID].long()
    target = functional.one_hot(labels, 3) * (1 - smoothing) + smoothing / 3
    assert float(found) == pytest.approx(float(-(target * rows.log_softmax(1)).sum(1).mean()))


def test_weights_multiply_the_loss_of_their_class() -> None:
    found = SegmentationObjective(Recipe(name="r", class_weights=(1.0, 5.0, 0.5)))(SCORES, SCORES, MASKS)
    logs, weights, terms = SCORES.log_softmax(1), (1.0, 5.0, 0.5), []
    for image, row, column in np.argwhere(MASKS.numpy() != VOID):
        label = int(MASKS[image, row, column])
        terms.append(-weights[label] * float(logs[image, label, row, column]))
    assert float(found) == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_a_crop_that_is_all_void_gives_no_loss_and_no_gradient() -> None:
    scores = SCORES[:1].clone().requires_grad_()
    loss = SegmentationObjective(Recipe(name="r"))(scores, scores, MASKS[2:3])
    loss.backward()
    assert loss.item() == 0.0
    assert scores.grad is not None and not scores.grad.any()


def test_weights_by_frequency_have_the_mean_1_over_the_pixels() -> None:
    counts = count_pixels(Masked(((6, 9),)), 5, 3)
    masks = Masked(((6, 9),)).read_masks(np.arange(5))
    assert counts[0].tolist() == [(masks == number).sum() for number in range(3)]
    assert counts[1].tolist() == [sum((mask != VOID).sum() for mask in masks if (mask == n).any()) for n in range(3)]
    for rule in ("inverse_frequency", "median_frequency"):
        weights = np.array(weigh_classes(counts, rule))
        assert (weights * counts[0]).sum() / counts[0].sum() == pytest.approx(1)
    assert weigh_classes(np.array([[30, 10, 0], [40, 40, 0]]), "inverse_frequency") == pytest.approx((2 / 3, 2, 0))
    assert weigh_classes(np.array([[30, 10, 0], [40, 20, 0]]), "median_frequency") == pytest.approx((8 / 9, 4 / 3, 0))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"class_weights": (1.0, 2.0)}, "has 2 class_weights, but masked has 3 classes: ground, thing, rare"),
        ({"distillation": DistillationConfig(teacher="t")}, "--teacher none"),
        ({"augmentation": AugmentationConfig(auto_augment=True)}, "not its mask"),
        ({"augmentation": AugmentationConfig(swap_on_flip=((1, 3),))}, "exchanges class 3 on a flip"),
    ],
    ids=["weights", "distillation", "auto_augment", "swap"],
)
def test_a_recipe_that_does_not_fit_is_refused_in_words(setting: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TASK.settle_recipe(Recipe.model_validate({"name": "r", **setting}), Masked(((6, 9),)))


def test_weights_that_the_data_give_are_numbers_in_the_settled_recipe() -> None:
    data = Masked(((6, 9),))
    settled = TASK.settle_recipe(Recipe(name="r", class_weights="inverse_frequency"), data)
    assert settled.class_weights == weigh_classes(count_pixels(data, 5, 3), "inverse_frequency")


def test_data_without_masks_are_refused_in_words() -> None:
    class Bare:
        name = "bare"

    with pytest.raises(UserError, match="'bare' has no masks"):
        TASK.name_classes(Bare())  # type: ignore[arg-type]


def test_large_masks_are_judged_a_few_images_at_a_time_and_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(5, 3, 4, 4, generator=generator)
    truth = torch.randint(3, (5, 8, 6), generator=generator).to(torch.uint8)

    def evaluate_parts() -> tuple[list[int], Tensor, float]:
        parts = list(TASK.align(scores, truth))
        confusion = torch.stack([TASK.count(*part)["confusion"] for part in parts]).sum(0)
        return [len(part) for part, _ in parts], confusion, float(sum(TASK.sum_losses(*part) for part in parts))

    whole = evaluate_parts()
    monkeypatch.setattr("vtbench.tasks.segmentation._SCORES_AT_A_TIME", 2 * 3 * 8 * 6)
    halves = evaluate_parts()
    monkeypatch.setattr("vtbench.tasks.segmentation._SCORES_AT_A_TIME", 1)
    single = evaluate_parts()
    assert (whole[0], halves[0], single[0]) == ([5], [2, 2, 1], [1] * 5)
    assert torch.equal(whole[1], halves[1]) and torch.equal(whole[1], single[1])
    assert whole[2] == pytest.approx(halves[2]) and whole[2] == pytest.approx(single[2])


class LargestResult(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that any operator makes."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        self.largest = max(
            [self.largest, *(one.numel() for one in pytree.tree_leaves(made) if isinstance(one, Tensor))]
        )
        return made


def test_a_large_image_has_the_loss_of_its_pixels_and_no_second_copy_of_its_scores() -> None:
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 7, 300, 200, generator=draw).to(memory_format=torch.channels_last)
    masks = torch.randint(0, 8, (2, 300, 200), generator=draw).to(torch.uint8)
    masks[masks == 7] = VOID
    with LargestResult() as made:
        loss = TASKS["segmentation"].sum_losses(scores, masks)
    expected = functional.cross_entropy(scores.double(), masks.long(), ignore_index=VOID, reduction="sum")
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    assert made.largest < scores.numel() / 3


def test_the_confusion_matrix_is_that_of_the_library() -> None:
    draw = torch.Generator().manual_seed(0)
    scores, masks = torch.randn(2, 5, 9, 7, generator=draw), torch.randint(0, 6, (2, 9, 7), generator=draw)
    masks = masks.masked_fill(masks == 5, VOID).to(torch.uint8)
    counted = TASKS["segmentation"].count(scores, masks)
    expected = multiclass_confusion_matrix(scores, masks.long(), num_classes=5, ignore_index=VOID)
    assert torch.equal(counted["confusion"], expected)
    assert counted["void"] == (masks == VOID).sum()
