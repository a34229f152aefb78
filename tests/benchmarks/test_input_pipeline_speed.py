"""How fast scenes are drawn and batches are made, on one thread. Run with ``pytest -m slow -s`` to see the numbers.

Times are of this process's CPU, best of several, so that a busy machine does not fail them.
"""

import time

import numpy as np
import pytest
import torch

from vtbench.configuration import AugmentationConfig, DataConfig
from vtbench.datasets import load_dataset
from vtbench.datasets.batches import EvalBatches, TrainBatches
from vtbench.datasets.sources.scenes import SceneKnobs, open_scenes

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(DataConfig(spec="scenes:num_train=5120,num_val=10"), "train", seed=0)


def measure_best_seconds(action, repeats):
    times = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def report(what, value, unit):
    print(f"\n{what}: {value:,.2f} {unit}")


def test_scenes_are_drawn_at_2000_images_a_second_or_more():
    split = open_scenes(SceneKnobs(), 32)["train"]
    seconds = measure_best_seconds(lambda: split.read(np.arange(1000)), 3)
    report("scenes of 32x32", 1000 / seconds, "images/s")
    assert 1000 / seconds >= 2000


@pytest.mark.parametrize(
    ("config", "most_ms"),
    [
        (AugmentationConfig(), 2.0),
        (AugmentationConfig(crop_padding=0, flip=False), 1.0),
    ],
)
def test_a_batch_of_128_costs_less_than_it_may(dataset, config, most_ms):
    batches = iter(TrainBatches(dataset, batch_size=128, seed=0, augmentation=config).epoch(0))
    seconds = measure_best_seconds(lambda: next(batches), 39)
    report(f"training batch of 128 with {config}", 1000 * seconds, "ms")
    assert 1000 * seconds < most_ms


def test_an_evaluation_batch_of_128_costs_less_than_a_millisecond(dataset):
    batches = iter(EvalBatches(dataset, 128))
    seconds = measure_best_seconds(lambda: next(batches), 39)
    report("evaluation batch of 128", 1000 * seconds, "ms")
    assert 1000 * seconds < 1


def test_an_auto_augmented_batch_of_128_costs_less_than_100_ms(dataset):
    config = AugmentationConfig(auto_augment=True)
    batches = iter(TrainBatches(dataset, batch_size=128, seed=0, augmentation=config).epoch(0))
    seconds = measure_best_seconds(lambda: next(batches), 8)
    report("training batch of 128 with AutoAugment", 1000 * seconds, "ms")
    assert 1000 * seconds < 100


def test_a_cached_data_set_opens_in_less_than_half_a_second(dataset):
    config = DataConfig(spec="scenes:num_train=5120,num_val=10")
    seconds = measure_best_seconds(lambda: load_dataset(config, "train", seed=0), 3)
    report("opening 5,120 cached images", 1000 * seconds, "ms")
    assert seconds < 0.5
