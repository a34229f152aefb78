import hashlib

import numpy as np
import pytest
import torch

from vtbench.configuration import AugmentationConfig, DataConfig
from vtbench.datasets import load_dataset
from vtbench.datasets.batches import BatchMaker, EvalBatches, Normalizer, TrainBatches, describe_large_batch

CONFIG = DataConfig(spec="scenes:num_train=210,num_val=50", image_size=16)


@pytest.fixture(scope="module")
def train():
    return load_dataset(CONFIG, "train", seed=0)


def make_batches(dataset, *, seed=0, workers=0, **augmentation):
    return TrainBatches(
        dataset, batch_size=32, seed=seed, augmentation=AugmentationConfig(**augmentation), workers=workers
    )


def digest(batches):
    sha = hashlib.sha256()
    for images, labels in batches:
        sha.update(images.contiguous().numpy().tobytes())
        sha.update(labels.numpy().tobytes())
    return sha.hexdigest()


def test_an_epoch_holds_every_image_once_and_keeps_the_last_partial_batch(train):
    batches = make_batches(train)
    found = list(batches.epoch(0))
    assert len(found) == len(batches) == 7
    assert found[-1][0].shape == (18, 3, 16, 16)
    assert sorted(torch.cat([labels for _, labels in found]).tolist()) == sorted(train.labels.tolist())


def test_a_batch_is_spoken_of_only_where_the_training_split_does_not_fill_it():
    assert describe_large_batch(63, 64).startswith("A batch of 64 holds all 63 training images")
    assert describe_large_batch(64, 64) is None
    assert describe_large_batch(65, 64) is None


def test_a_resume_inside_an_epoch_sees_the_batches_that_were_to_come(train):
    whole = list(make_batches(train).epoch(3))
    rest = list(make_batches(train).epoch(3, start_batch=4))
    assert digest(whole[4:]) == digest(rest)
    assert digest(whole) != digest(rest)


def test_seed_and_epoch_change_order_and_augmentation(train):
    batches = make_batches(train)
    assert digest(batches.epoch(0)) == digest(make_batches(train).epoch(0))
    assert digest(batches.epoch(0)) != digest(batches.epoch(1))
    assert digest(batches.epoch(0)) != digest(make_batches(train, seed=1).epoch(0))


def test_the_order_alone_depends_on_seed_and_epoch(train):
    orders = [BatchMaker(train, 32, seed).order(epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(210)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


@pytest.mark.slow
def test_batches_are_identical_for_0_1_and_3_workers_over_epochs_and_after_a_resume(train):
    expected = [digest(make_batches(train).epoch(0)), digest(make_batches(train).epoch(1, start_batch=2))]
    for workers in (1, 3):
        batches = make_batches(train, workers=workers)
        assert [digest(batches.epoch(0)), digest(batches.epoch(1, start_batch=2))] == expected
        batches.close()


def test_evaluation_gives_all_images_in_order_normalised_and_unchanged(train):
    batches = EvalBatches(train, 64)
    images = torch.cat([images for images, _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    pixels = train.read(np.arange(len(train))) / 255
    expected = (pixels - np.array(train.mean)) / np.array(train.std)
    assert labels.tolist() == train.labels.tolist()
    np.testing.assert_allclose(images.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)


def test_images_are_channels_last_in_memory(train):
    images, _ = next(iter(make_batches(train).epoch(0)))
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_hashes_tell_orders_apart_and_are_repeatable(train):
    hashes = [
        make_batches(train).order_hash(3),
        make_batches(train, seed=1).order_hash(3),
        make_batches(train).order_hash(4),
        TrainBatches(train, batch_size=16, seed=0, augmentation=AugmentationConfig()).order_hash(3),
    ]
    assert len(set(hashes)) == 4
    assert make_batches(train, flip=False, workers=2).order_hash(3) == hashes[0]


def test_a_planted_difference_in_augmentation_changes_its_hash_alone(train):
    plain, other = make_batches(train), make_batches(train, flip=False)
    assert plain.augmentation_hash(2) == make_batches(train, workers=2).augmentation_hash(2)
    assert plain.augmentation_hash(2) != other.augmentation_hash(2)
    assert plain.order_hash(2) == other.order_hash(2)


def test_labels_stay_with_their_images(train):
    plain = make_batches(train, crop_padding=0, flip=False)
    pixels = train.read(np.arange(len(train))).reshape(len(train), -1)
    order = plain._maker.order(0)
    images, labels = next(iter(plain.epoch(0)))
    restored = images.permute(0, 2, 3, 1).numpy() * np.array(train.std) + np.array(train.mean)
    np.testing.assert_allclose(restored.reshape(len(images), -1) * 255, pixels[order[:32]], atol=1e-2)
    assert labels.tolist() == train.labels[order[:32]].tolist()


def test_making_batches_leaves_the_global_random_numbers_alone(train):
    before = torch.get_rng_state()
    list(make_batches(train, auto_augment=True).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_workers_leave_the_global_random_numbers_alone_and_an_epoch_can_be_left_half_way(train):
    before = torch.get_rng_state()
    batches, evaluation = make_batches(train, workers=2), EvalBatches(train, 64, workers=1)
    for _ in batches.epoch(0):
        break
    assert digest(batches.epoch(2)) == digest(make_batches(train).epoch(2))
    assert digest(evaluation) == digest(EvalBatches(train, 64))
    assert torch.equal(torch.get_rng_state(), before)
    batches.close()
    evaluation.close()


def test_pixels_are_normalised_channel_by_channel():
    images = torch.tensor([[[[0, 51, 255], [255, 51, 0]]]], dtype=torch.uint8)
    normalized = Normalizer((0.5, 0.2, 0.0), (0.5, 0.1, 0.25), width=2)(images)
    assert normalized.shape == (1, 3, 1, 2)
    assert normalized.flatten().tolist() == pytest.approx([-1, 1, 0, 0, 4, 0])
