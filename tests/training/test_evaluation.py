from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from tiny_parts import TinyImages, TinyNet
from torch import nn

from vtbench.configuration import Recipe
from vtbench.datasets.batches import EvalBatches
from vtbench.tasks import TASKS
from vtbench.training.evaluation import SlidingWindow, choose_batch_size, evaluate, predict_whole

IMAGES = TinyImages(20, 1)


def make_model() -> nn.Module:
    torch.manual_seed(0)
    model = TinyNet(4, 4)
    model.dropout.p = 0.5
    return model


def measure(model: nn.Module, *, batch_size: int = 8) -> dict[str, float]:
    batches = EvalBatches(IMAGES, batch_size)
    return evaluate(model, batches, task=TASKS["classification"], to_device=lambda x: x, autocast=nullcontext)


def test_evaluation_drops_nothing_out_uses_running_statistics_and_leaves_them_as_they_were() -> None:
    model = make_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = measure(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    images, labels = next(iter(EvalBatches(IMAGES, 20)))
    with torch.no_grad():
        scores = model(images)
    assert found["loss"] == pytest.approx(nn.functional.cross_entropy(scores, labels).item(), rel=1e-5)
    assert found["top1_percent"] == pytest.approx(100 * (scores.argmax(1) == labels).float().mean().item())


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_put_back_into_the_mode_it_was_in_even_when_left_early(training: bool) -> None:
    model = make_model().train(training)
    measure(model)
    assert model.training == training

    def leave() -> None:
        raise KeyboardInterrupt

    task = TASKS["classification"]
    with pytest.raises(KeyboardInterrupt):
        evaluate(
            model,
            EvalBatches(IMAGES, 8),
            task=task,
            to_device=lambda x: x,
            autocast=nullcontext,
            after_batch=leave,
        )
    assert model.training == training


def test_the_numbers_do_not_depend_on_the_size_of_a_batch() -> None:
    assert measure(make_model(), batch_size=7) == pytest.approx(measure(make_model(), batch_size=20), rel=1e-5)


class Centre(nn.Module):
    """Scores that tell where in its window a pixel lies, and what stands there."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(images.shape[2])[:, None].expand(images.shape[2:])
        return torch.stack([images[:, 0], images[:, 1] + rows], dim=1)


@pytest.mark.parametrize("size", [(16, 24), (17, 23), (1, 5)])
@pytest.mark.parametrize("window", [(17, 24), (64, 64)])
def test_one_window_over_the_whole_image_is_the_whole_image(size: tuple[int, int], window: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *size)
    model = nn.Conv2d(3, 4, 3, padding=1)
    assert torch.equal(SlidingWindow(window, (5, 5))(model, images), predict_whole(model, images))


def test_windows_that_overlap_are_averaged_and_the_last_one_ends_with_the_image() -> None:
    images = torch.randn(2, 3, 7, 5)
    found = SlidingWindow((4, 5), (2, 3))(Centre(), images)
    by_hand = torch.zeros(2, 2, 7, 5)
    for row in range(7):
        starts = [start for start in (0, 2, 3) if start <= row < start + 4]
        by_hand[:, 0, row] = images[:, 0, row]
        by_hand[:, 1, row] = images[:, 1, row] + sum(row - start for start in starts) / len(starts)
    torch.testing.assert_close(found, by_hand)


def test_a_recipe_says_how_images_are_predicted() -> None:
    assert SlidingWindow.of(Recipe(name="r")) is predict_whole
    assert SlidingWindow.of(Recipe(name="r", window=9)) == SlidingWindow((9, 9), (6, 6))
    assert SlidingWindow.of(Recipe(name="r", window=(9, 6), stride=(3, 2))) == SlidingWindow((9, 6), (3, 2))


def test_processes_that_share_a_batch_have_as_many_images_each_as_one_would() -> None:
    alone, four = (choose_batch_size(256, (224, 224), "cpu", num_ranks) for num_ranks in (1, 4))
    assert four == 4 * alone < 256
    assert choose_batch_size(6, (224, 224), "cpu", 4) == 6
