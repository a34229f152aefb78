"""How fast scenes are drawn and batches are made, on one thread: ``python tests/benchmarks/input_pipeline_speed.py``.

Times are of this process's CPU, best of several, so that a busy machine changes them little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from vtbench.configuration import AugmentationConfig, DataConfig
from vtbench.datasets import load_dataset
from vtbench.datasets.batches import EvalBatches, TrainBatches
from vtbench.datasets.dataset import ImageDataset
from vtbench.datasets.sources.scenes import SceneKnobs, open_scenes

DATA = DataConfig(spec="scenes:num_train=5120,num_val=10")
BATCH_SIZE = 128


def measure_best_seconds(action: Callable[[], object], repeats: int) -> float:
    """CPU seconds of the fastest of several calls."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def measure_batch_seconds(batches: Iterator[object], repeats: int = 30) -> float:
    """CPU seconds of the fastest of the next batches."""
    return measure_best_seconds(lambda: next(batches), repeats)


def training_batches(dataset: ImageDataset, augmentation: AugmentationConfig) -> Iterator[object]:
    """The batches of one epoch."""
    return iter(TrainBatches(dataset, batch_size=BATCH_SIZE, seed=0, augmentation=augmentation).epoch(0))


def main() -> None:
    """Measure and print the table."""
    torch.set_num_threads(1)
    dataset = load_dataset(DATA, "train", seed=0)
    scenes = open_scenes(SceneKnobs(), 32)["train"]
    plain = AugmentationConfig(crop_padding=0, flip=False)
    table = Table("what", "measured", "unit")
    drawn = 1000 / measure_best_seconds(lambda: scenes.read(np.arange(1000)), 3)
    table.add_row("scenes of 32x32 drawn", f"{drawn:,.0f}", "images/s")
    for name, seconds in {
        "training batch": measure_batch_seconds(training_batches(dataset, AugmentationConfig())),
        "training batch, only normalised": measure_batch_seconds(training_batches(dataset, plain)),
        "training batch, AutoAugment": measure_batch_seconds(
            training_batches(dataset, AugmentationConfig(auto_augment=True)), 8
        ),
        "evaluation batch": measure_batch_seconds(iter(EvalBatches(dataset, BATCH_SIZE))),
    }.items():
        table.add_row(f"{name} of {BATCH_SIZE}", f"{1000 * seconds:.2f}", "ms")
    opened = measure_best_seconds(lambda: load_dataset(DATA, "train", seed=0), 3)
    table.add_row("opening 5,120 cached images", f"{1000 * opened:.0f}", "ms")
    Console().print(table)


if __name__ == "__main__":
    main()
