"""AutoAugment (Cubuk et al. 2019, arXiv 1805.09501) by torchvision, with every draw given from outside."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from vtbench.datasets.counter_based import to_below, to_unit

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB), D draws: policy, 2 probabilities, 2 signs.

_SMALL_SIDE = 64


def apply_auto_augment(images_BHWC: NDArray[np.uint8], words_BD: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Augment each image by the words drawn for it. Sides up to 64 pixels use CIFAR-10's policy, larger ImageNet's."""
    from torchvision.transforms import AutoAugment, AutoAugmentPolicy  # Slow to import, and seldom wanted.

    small = min(images_BHWC.shape[1:3]) <= _SMALL_SIDE
    transform = AutoAugment(AutoAugmentPolicy.CIFAR10 if small else AutoAugmentPolicy.IMAGENET)
    policies_B = to_below(words_BD[:, 0], len(transform.policies))
    probabilities_B2 = torch.from_numpy(to_unit(words_BD[:, 1:3]))
    signs_B2 = torch.from_numpy(to_below(words_BD[:, 3:5], 2))
    images_BCHW = torch.from_numpy(np.ascontiguousarray(images_BHWC.transpose(0, 3, 1, 2)))
    for index, image_CHW in enumerate(images_BCHW):
        # What its forward asks for in place of global random numbers: sub-policy, probabilities and signs.
        drawn = int(policies_B[index]), probabilities_B2[index], signs_B2[index]
        transform.get_params = partial(_hand_over, drawn)
        images_BCHW[index] = transform(image_CHW)
    return np.ascontiguousarray(images_BCHW.numpy().transpose(0, 2, 3, 1))


def _hand_over(
    drawn: tuple[int, torch.Tensor, torch.Tensor], num_policies: int
) -> tuple[int, torch.Tensor, torch.Tensor]:
    return drawn
