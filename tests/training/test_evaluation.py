from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from tiny_parts import TinyImages, TinyNet
from torch import nn

from vtbench.datasets.batches import EvalBatches
from vtbench.tasks import TASKS
from vtbench.training.evaluation import evaluate

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
