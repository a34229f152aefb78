"""Batches of normalised tensors, the same bytes for any number of workers and after any resume.

A batch is a pure function of (data set, seed, augmentation, epoch, batch number): which images stand in it is read off
the epoch's permutation, what is done to them is drawn by counter. Workers only compute such batches ahead of time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from vtbench.configuration import AugmentationConfig
from vtbench.datasets.augmentation import Augmentation, AugmentationDraws
from vtbench.datasets.counter_based import derive_key, shuffle, shuffle_in_windows
from vtbench.datasets.dataset import DrawnInWindows, ImageDataset
from vtbench.datasets.mixing import mix_images, mix_labels
from vtbench.datasets.workers import BatchLoader

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB).

Batch = tuple[torch.Tensor, torch.Tensor]
"""Images of shape (B, C, H, W), float32, normalised, channels_last in memory; targets, for example labels (B,)."""


class Targets(Protocol):
    """What a network shall answer. It can be pickled."""

    def read_targets(self, data: ImageDataset, indices_B: NDArray[np.int64]) -> NDArray[Any]:
        """The targets of the images ``indices_B``, as they stand in the data."""

    def transform_targets(
        self, targets: NDArray[Any], augmentation: Augmentation, draws: AugmentationDraws
    ) -> NDArray[Any]:
        """Do to targets what ``augmentation`` does to their images by ``draws``."""

    def read_truth(self, data: ImageDataset, indices_B: NDArray[np.int64]) -> NDArray[Any]:
        """What answers are judged by, which need not be what networks are trained with."""


class Labels:
    """The label of an image, which no augmentation changes."""

    def read_targets(self, data: ImageDataset, indices_B: NDArray[np.int64]) -> NDArray[Any]:
        """Labels of shape (B,), int64."""
        return data.labels[indices_B]

    def transform_targets(
        self, labels_B: NDArray[Any], augmentation: Augmentation, draws: AugmentationDraws
    ) -> NDArray[Any]:
        """The same labels."""
        return labels_B

    def read_truth(self, data: ImageDataset, indices_B: NDArray[np.int64]) -> NDArray[Any]:
        """The labels."""
        return data.labels[indices_B]


LABELS: Targets = Labels()
"""The targets of whoever asks for no others."""


def describe_large_batch(num_train: int, batch_size: int) -> str | None:
    """What a batch larger than the training split means; None where the split fills one batch or more.

    >>> describe_large_batch(20, 64)
    'A batch of 64 holds all 20 training images, so that an epoch is one step of 20. A smaller --batch-size takes more.'
    """
    if batch_size <= num_train:
        return None
    return (
        f"A batch of {batch_size:,} holds all {num_train:,} training images, so that an epoch is one step of "
        f"{num_train:,}. A smaller --batch-size takes more."
    )


class Normalizer:
    """Turn uint8 pixels of images so many pixels wide into (pixel / 255 - mean) / std, in float32."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], width: int) -> None:
        # Whole rows of pixels are the innermost loop: one over the three channels alone would be slow.
        scale_C = 1 / (255 * np.asarray(std))
        shift_C = -np.asarray(mean) / np.asarray(std)
        self._scale = torch.from_numpy(np.tile(scale_C, width).astype(np.float32))
        self._shift = torch.from_numpy(np.tile(shift_C, width).astype(np.float32))

    def __call__(self, images_BHWC: torch.Tensor) -> torch.Tensor:
        """Normalised images as a (B, C, H, W) view of (B, H, W, C) memory, which is what channels_last wants."""
        rows = images_BHWC.flatten(2).to(torch.float32).mul_(self._scale).add_(self._shift)
        return rows.view(images_BHWC.shape).permute(0, 3, 1, 2)


@dataclass
class BatchMaker:
    """Makes the uint8 batch of any (epoch, batch number), of it the share of process ``rank`` of ``num_ranks``.

    Cheap to send to a worker.
    """

    dataset: ImageDataset
    batch_size: int
    seed: int | None = None
    augmentation: Augmentation | None = None
    targets: Targets = LABELS
    rank: int = 0
    num_ranks: int = 1
    _epoch: int | None = field(default=None, init=False)
    _order: NDArray[np.int64] | None = field(default=None, init=False)

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The samples in the order of ``epoch``: shuffled by (seed, epoch), or as they stand when there is no seed."""
        if self._order is None or self._epoch != epoch:
            size = len(self.dataset)
            groups = self.dataset.groups if isinstance(self.dataset, DrawnInWindows) else None
            if self.seed is None:
                self._order = np.arange(size, dtype=np.int64)
            elif groups is None:
                self._order = shuffle(derive_key("order", self.seed, epoch), size)
            else:
                self._order = shuffle_in_windows(derive_key("order", self.seed, epoch), *groups)
            self._epoch = epoch
        return self._order

    def share(self, epoch: int, batch: int) -> NDArray[np.int64]:
        """The samples of this process in a batch, in their order."""
        indices_B = self.order(epoch)[batch * self.batch_size : (batch + 1) * self.batch_size]
        return indices_B[self.rank :: self.num_ranks]

    def make(self, epoch: int, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Images of shape (B, H, W, C), uint8, augmented, and their targets; or as they stand, and their truth."""
        indices_B = self.share(epoch, batch)
        if not len(indices_B):  # More processes than images: of the shape and type of those that there are.
            one_image, its_target = replace(self, rank=0, num_ranks=self.batch_size).make(epoch, batch)
            return one_image[:0], its_target[:0]
        if self.augmentation is None:
            images_BHWC, targets = self.dataset.read(indices_B), self.targets.read_truth(self.dataset, indices_B)
        elif self.augmentation.config.mixes:
            images_BHWC, targets = self._mix(epoch, batch, self.augmentation)
        else:
            images_BHWC, targets = self._augment(epoch, indices_B, self.augmentation)
        return torch.from_numpy(images_BHWC), torch.from_numpy(targets)

    def _augment(
        self, epoch: int, indices_B: NDArray[np.int64], augmentation: Augmentation
    ) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        draws = augmentation.draw(epoch, indices_B)
        images_BHWC = augmentation.apply(self.dataset.read(indices_B), draws)
        targets = self.targets.read_targets(self.dataset, indices_B)
        return images_BHWC, self.targets.transform_targets(targets, augmentation, draws)

    def _mix(self, epoch: int, batch: int, augmentation: Augmentation) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """The images of this process, each mixed with the one before it in the whole batch, the first with the last."""
        whole = self.order(epoch)[batch * self.batch_size : (batch + 1) * self.batch_size]
        own = np.arange(len(whole))[self.rank :: self.num_ranks]
        partners = (own - 1) % max(1, len(whole))
        needed, place = np.unique(np.concatenate([own, partners]), return_inverse=True)
        images, labels = self._augment(epoch, whole[needed], augmentation)
        mix = augmentation.draw(epoch, whole[own]).mix
        assert mix is not None
        at_own, at_partners = place[: len(own)], place[len(own) :]
        return (
            mix_images(images[at_own], images[at_partners], mix),
            mix_labels(labels[at_own], labels[at_partners], mix),
        )


class TrainBatches:
    """Shuffled and augmented batches of each epoch; the last, partial batch is kept.

    ``workers`` processes compute ahead; 0 computes in the calling process, which is fastest for data held in memory.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        *,
        batch_size: int,
        seed: int,
        augmentation: AugmentationConfig,
        workers: int = 0,
        targets: Targets = LABELS,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self._augmentation = Augmentation.of_data(augmentation, seed, dataset)
        self._maker = BatchMaker(dataset, batch_size, seed, self._augmentation, targets, rank, num_ranks)
        self._loader = BatchLoader(self._maker, workers)
        self._normalize = Normalizer(dataset.mean, dataset.std, self._augmentation.output_size[1])

    def __len__(self) -> int:
        return len(self._maker)

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of ``epoch`` from number ``start_batch`` on. Raises `DataError` when an image cannot be read."""
        for images_BHWC, targets in self._loader.run(epoch, start_batch):
            yield self._normalize(images_BHWC), targets

    def order_hash(self, epochs: int) -> str:
        """SHA-256 over the batch size and the order of the samples in each of the first ``epochs`` epochs."""
        digest = hashlib.sha256(f"batches of {self._maker.batch_size}".encode())
        for epoch in range(epochs):
            digest.update(self._maker.order(epoch).astype("<i8").tobytes())
        return digest.hexdigest()

    def augmentation_hash(self, epochs: int) -> str:
        """SHA-256 over the augmentation's settings and every draw of the first ``epochs`` epochs."""
        return self._augmentation.hash(epochs, len(self._maker.dataset))

    def close(self) -> None:
        """End the worker processes, if there are any."""
        self._loader.close()


class EvalBatches:
    """All images in order, normalised and not augmented; can be iterated any number of times."""

    def __init__(
        self,
        dataset: ImageDataset,
        batch_size: int,
        workers: int = 0,
        targets: Targets = LABELS,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self._maker = BatchMaker(dataset, batch_size, targets=targets, rank=rank, num_ranks=num_ranks)
        self._loader = BatchLoader(self._maker, workers)
        self._normalize = Normalizer(dataset.mean, dataset.std, dataset.image_size[1])

    def __len__(self) -> int:
        return len(self._maker)

    @property
    def batch_size(self) -> int:
        """How many images are in a batch, of all processes together."""
        return self._maker.batch_size

    def __iter__(self) -> Iterator[Batch]:
        for images_BHWC, targets in self._loader.run(0, 0):
            yield self._normalize(images_BHWC), targets

    def list_indices(self) -> NDArray[np.int64]:
        """The images of this process in the order in which they come."""
        return np.concatenate([self._maker.share(0, batch) for batch in range(len(self))])

    def read_one(self, index: int) -> Batch:
        """The batch of one image, whichever process has it."""
        indices_1 = np.array([index], np.int64)
        images_1HWC = torch.from_numpy(self._maker.dataset.read(indices_1))
        truth = torch.from_numpy(self._maker.targets.read_truth(self._maker.dataset, indices_1))
        return self._normalize(images_1HWC), truth

    def close(self) -> None:
        """End the worker processes, if there are any."""
        self._loader.close()
