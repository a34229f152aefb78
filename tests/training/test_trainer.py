from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_parts import TinyNet, tiny_config
from torch import Tensor, nn

from vtbench.tasks import TASKS
from vtbench.training.trainer import Trainer

TASK = TASKS["classification"]
CPU = torch.device("cpu")


class Smooth(nn.Module):
    """No batch normalisation and no draws: the gradient is a sum over images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.fc = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(torch.tanh(self.conv(images)).mean((2, 3)))


def make_batch(size: int = 10) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(size, 3, 8, 8, generator=generator)
    return images, torch.randint(4, (size,), generator=generator)


def train(model: nn.Module | None = None, *, steps: int = 3, execution: dict[str, Any] | None = None, **recipe: Any):
    torch.manual_seed(0)
    model = model or Smooth()
    config = tiny_config(execution=execution, **({"ema_decay": None, "epochs": 1} | recipe))
    trainer = Trainer(model, TASK, config.recipe, config.execution, CPU, seed=0, batches_per_epoch=steps)
    model.train()
    for _ in range(steps):
        trainer.train_batch(*make_batch())
    return trainer


def weights_of(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.contiguous() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize("accumulate", [2, 3, 10])
def test_micro_batches_give_the_weights_of_the_whole_batch(accumulate: int) -> None:
    whole = train(gradient_clip_norm=0.1)
    parts = train(gradient_clip_norm=0.1, execution={"accumulate": accumulate})
    for name, value in weights_of(whole).items():
        torch.testing.assert_close(weights_of(parts)[name], value, rtol=1e-4, atol=1e-6)
    assert parts.read_epoch()["loss"] == pytest.approx(whole.read_epoch()["loss"], rel=1e-5)
    assert parts.read_epoch()["top1_percent"] == whole.read_epoch()["top1_percent"]


def test_a_step_is_that_of_plain_torch() -> None:
    trainer = train(steps=2, gradient_clip_norm=0.5, label_smoothing=0.2, schedule={"name": "cosine"})
    torch.manual_seed(0)
    model = Smooth()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=4e-5)
    images, labels = make_batch()
    for rate in (0.1, 0.05):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels, label_smoothing=0.2).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(weights_of(trainer)[name], value, rtol=1e-4, atol=1e-6)


def test_the_memory_layout_changes_weights_by_rounding_only() -> None:
    first, second = train(execution={"channels_last": True}), train(execution={"channels_last": False})
    assert first.model.conv.weight.is_contiguous(memory_format=torch.channels_last)
    for name, value in weights_of(first).items():
        torch.testing.assert_close(weights_of(second)[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_comes_near_full_precision(precision: str) -> None:
    full, half = train(), train(execution={"precision": precision})
    assert half.read_epoch()["loss"] == pytest.approx(full.read_epoch()["loss"], rel=2e-2)
    assert half.read_epoch()["loss"] != full.read_epoch()["loss"]
    assert half.model.conv.weight.dtype == torch.float32


def test_a_compiled_network_saves_weights_under_plain_names_and_keeps_its_layout() -> None:
    seen: list[str] = []

    def compile_nothing(model: nn.Module, *, dynamic: bool, options: dict[str, bool]) -> nn.Module:
        assert (dynamic, options) == (False, {"deterministic": True})
        seen.append(type(model).__name__)
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", compile_nothing)
        trainer = train(execution={"compile": True})
    assert seen == ["Smooth"]
    assert set(trainer.state()[0]) >= {"model.conv.weight", "model.fc.bias"}


@pytest.mark.parametrize(("accumulate", "expected"), [(1, [10, 10]), (3, [4, 4, 4, 4])])
def test_batches_of_full_size_are_compiled_and_a_smaller_last_one_is_not(accumulate: int, expected: list[int]) -> None:
    seen: list[int] = []

    def compile_nothing(model: nn.Module, **_: Any) -> Any:
        def forward(images: Tensor) -> Tensor:
            seen.append(len(images))
            return model(images)

        return forward

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", compile_nothing)
        config = tiny_config(execution={"compile": True, "accumulate": accumulate}, batch_size=10)
        trainer = Trainer(Smooth(), TASK, config.recipe, config.execution, CPU, seed=0, batches_per_epoch=3)
    for size in (10, 10, 3):
        trainer.train_batch(*make_batch(size))
    assert seen == expected


@pytest.mark.slow
@pytest.mark.not_in_ci
def test_a_compiled_network_trains_as_the_plain_one() -> None:
    plain, compiled = train(TinyNet(4, 4)), train(TinyNet(4, 4), execution={"compile": True})
    assert compiled.read_epoch()["loss"] == pytest.approx(plain.read_epoch()["loss"], rel=0.1)


def test_the_draws_of_a_step_depend_on_seed_and_step_alone() -> None:
    def losses(seed: int, disturb: bool) -> list[float]:
        torch.manual_seed(0)
        config = tiny_config(dropout=0.5, epochs=1)
        model = TinyNet(4, 4)
        model.dropout.p = 0.5
        trainer = Trainer(model, TASK, config.recipe, config.execution, CPU, seed=seed, batches_per_epoch=2)
        found = []
        for _ in range(2):
            if disturb:
                torch.rand(7)
            trainer.train_batch(*make_batch())
            found.append(trainer.read_epoch()["loss"])
        return found

    assert losses(0, disturb=False) == losses(0, disturb=True)
    assert losses(0, disturb=False) != losses(1, disturb=False)


def test_a_state_restores_into_the_memory_layout_of_the_network() -> None:
    first = train(optimizer={"name": "sgd"})
    tensors, values = first.state()
    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    second = train(steps=3, optimizer={"name": "sgd"})
    second.restore(plain, values)
    buffers = second.optimizer.state[second.model.conv.weight]
    assert buffers["momentum_buffer"].is_contiguous(memory_format=torch.channels_last)


def test_the_loss_of_an_epoch_is_a_mean_over_images_and_not_over_batches() -> None:
    torch.manual_seed(0)
    config = tiny_config(epochs=1, ema_decay=None, optimizer={"learning_rate": 1e-30})
    trainer = Trainer(Smooth(), TASK, config.recipe, config.execution, CPU, seed=0, batches_per_epoch=2)
    images, labels = make_batch(9)
    trainer.train_batch(images[:8], labels[:8])
    trainer.train_batch(images[8:], labels[8:])
    with torch.no_grad():
        first, last = (
            nn.functional.cross_entropy(trainer.model(images[part]), labels[part], label_smoothing=0.1).item()
            for part in (slice(0, 8), slice(8, 9))
        )
    assert trainer.read_epoch()["loss"] == pytest.approx((8 * first + last) / 9, rel=1e-5)


def test_float16_clips_the_gradient_and_not_its_scaled_image() -> None:
    def move(precision: str) -> Tensor:
        trainer = train(steps=1, gradient_clip_norm=0.01, execution={"precision": precision})
        torch.manual_seed(0)
        return trainer.model.conv.weight.detach() - Smooth().conv.weight

    torch.testing.assert_close(move("float16"), move("float32"), rtol=5e-2, atol=1e-6)


def test_the_loss_scale_of_a_run_that_overflowed_is_restored() -> None:
    half = {"precision": "float16"}
    first, second = train(execution=half), train(execution=half)
    first.begin_epoch()
    images, labels = make_batch()
    first.train_batch(images * 1e6, labels)  # The step is left out, and the scale halved.
    scale = first.state()[1]["scaler"]
    assert scale["scale"] < second.state()[1]["scaler"]["scale"]
    second.restore(*first.state())
    assert second.state()[1]["scaler"] == scale
