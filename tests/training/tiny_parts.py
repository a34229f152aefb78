"""A network, images and a configuration so small that a whole run takes a moment."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from vtbench.configuration import AugmentationConfig, DataConfig, ExecutionConfig, Recipe, RunConfig, ScheduleConfig
from vtbench.datasets.dataset import VOID
from vtbench.environment import describe_environment
from vtbench.training.checkpoint import Checkpoint, pack_tensors, publish_checkpoint
from vtbench.variants import MODELS, ModelOptions, ModelSpec

NUM_CLASSES = 4
DETERMINISTIC_FILES = (
    "record.json",
    "metrics.jsonl",
    "weights.safetensors",
    "certificate.json",
    "config.json",
    "answers.safetensors",
)


class TinyNet(nn.Module):
    """Every kind of state that a run has to keep: weights, normalisation statistics, dropout, stochastic depth."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.branch = nn.Conv2d(width, width, 3, padding=1)
        self.depth = StochasticDepth(0.0, "row")
        self.dropout = nn.Dropout(0.0)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        features = torch.relu(self.norm(self.conv(images)))
        features = features + self.depth(self.branch(features))
        return self.fc(self.dropout(features.mean((2, 3))))


class TinySegmenter(TinyNet):
    """The same for every pixel, at half the resolution and brought to that of the image."""

    def forward(self, images: Tensor) -> Tensor:
        features = torch.relu(self.norm(self.conv(images)))
        features = features + self.depth(self.branch(features))
        scores = self.fc(self.dropout(features).movedim(1, -1)).movedim(-1, 1)
        return nn.functional.interpolate(scores, images.shape[2:], mode="bilinear")


class TinyOptions(ModelOptions):
    width: int = 4


@dataclass(frozen=True)
class TinyImages:
    """Noise whose colour tells the class."""

    num_images: int
    seed: int
    broken_at: int | None = None
    name: str = "tiny"
    image_size: tuple[int, int] = (8, 8)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(f"class {index}" for index in range(NUM_CLASSES))

    @property
    def fingerprint(self) -> str:
        return f"tiny images {self.seed} x {self.num_images}"

    @property
    def rows(self) -> NDArray[np.int64]:
        return np.arange(self.num_images, dtype=np.int64)

    @property
    def content(self) -> str:
        return f"tiny images {self.seed}"

    @property
    def labels(self) -> NDArray[np.int64]:
        return np.arange(self.num_images, dtype=np.int64) % NUM_CLASSES

    def __len__(self) -> int:
        return self.num_images

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        noise = np.random.default_rng(self.seed).integers(0, 128, (self.num_images, 8, 8, 3))
        shades = np.array([[0, 0, 0], [90, 0, 0], [0, 90, 0], [0, 0, 90]])
        return (noise + shades[self.labels][:, None, None, :]).astype(np.uint8)[indices]

    @property
    def mask_class_names(self) -> tuple[str, ...]:
        return self.class_names

    def read_masks(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Where an image is bright its class, elsewhere the first, and a corner of void."""
        bright = self.read(indices).max(axis=3) > 100
        masks = np.where(bright, self.labels[indices][:, None, None], 0).astype(np.uint8)
        masks[:, :2, :2] = VOID
        return masks

    def read_original_masks(self, indices: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Some twice as high, with rows repeated."""
        return [
            mask.repeat(1 + index % 2, axis=0) for index, mask in zip(indices, self.read_masks(indices), strict=True)
        ]


def load_tiny(config: DataConfig, split: str, *, seed: int) -> TinyImages:
    return TinyImages(20, 1) if split == "train" else TinyImages(12, 2)


OF_TASK: dict[str, dict[str, Any]] = {
    "classification": {"augmentation": AugmentationConfig(crop_padding=4)},
    "segmentation": {
        "augmentation": AugmentationConfig(crop_padding=0, scale=(0.7, 1.5), crop=(8, 6), swap_on_flip=((1, 2),)),
        "class_weights": "inverse_frequency",
        "window": (6, 6),
    },
}
"""What a recipe of each task switches on."""

_TASK = "classification"


def tiny_config(*, seed: int = 0, execution: dict[str, Any] | None = None, **recipe: Any) -> RunConfig:
    """Two epochs of three batches, the last of them partial, with everything switched on that keeps state."""
    settings: dict[str, Any] = {
        "name": "tiny",
        "epochs": 2,
        "batch_size": 8,
        "ema_decay": 0.9,
        "dropout": 0.2,
        "stochastic_depth": 0.3,
        "label_smoothing": 0.1,
        "gradient_clip_norm": 1.0,
        "schedule": ScheduleConfig(name="cosine", warmup=0.1),
        **OF_TASK[_TASK],
    }
    return RunConfig(
        variant="tiny" if _TASK == "classification" else f"tiny_{_TASK}",
        data=DataConfig(spec="tiny"),
        recipe=Recipe.model_validate(settings | recipe),
        seed=seed,
        execution=ExecutionConfig.model_validate({"device": "cpu", "threads": 1} | (execution or {})),
    )


def load_both(load: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """What loads both splits by ``load``, which loads one."""
    return lambda config, seed: (load(config, "train", seed=seed), load(config, "val", seed=seed))


@contextmanager
def tiny_world(task: str = "classification") -> Iterator[pytest.MonkeyPatch]:
    """Make the tiny networks and images known, configurations those of ``task``, and the environment a fixed one."""
    spec = ModelSpec(
        name="tiny",
        build=lambda options, num_classes, image_size: TinyNet(options.width, num_classes),
        options=TinyOptions(),
        image_size=(8, 8),
        num_classes=NUM_CLASSES,
        source="no paper",
        family="tiny",
    )
    segmenter = replace(
        spec,
        name="tiny_segmentation",
        build=lambda options, num_classes, image_size: TinySegmenter(options.width, num_classes),
        task="segmentation",
    )
    environment = describe_environment(torch.device("cpu")).model_copy(update={"commit": "0" * 40, "dirty": False})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tiny_parts._TASK", task)
        patch.setitem(MODELS._entries, "tiny", spec)
        patch.setitem(MODELS._entries, "tiny_segmentation", segmenter)
        patch.setattr("vtbench.training.preparation.load_datasets", load_both(load_tiny))
        patch.setattr("vtbench.training.preparation.describe_environment", lambda device: environment)
        yield patch


def digest_run(folder: Path) -> dict[str, str]:
    """The hash of every file of a finished run that must not depend on how it came about."""
    names = [*DETERMINISTIC_FILES, *(path.name for path in folder.glob("examples.zip"))]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Publish a checkpoint, as a run does beside its training."""
    publish_checkpoint(folder, pack_tensors(checkpoint.tensors, checkpoint.values))
