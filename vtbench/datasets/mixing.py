"""Mixup and CutMix: an image and the one before it in its batch become one, in parts that are drawn for the image.

The partner follows from the order of the epoch, the part and the rectangle from (seed, epoch, sample index): neither
workers, nor micro-batches, nor the number of processes change what is mixed. Parts are whole 256ths, so that pixels
and labels are the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtbench.configuration import AugmentationConfig
from vtbench.datasets.counter_based import draw_words, to_below, to_unit

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB), N samples.

WHOLE = 256
"""The share of an image that is not mixed."""
_NUM_DRAWS = 4  # Which of the two, the part, and the centre of the rectangle.


@dataclass(frozen=True)
class Mix:
    """What was drawn for N samples: the share of the image itself, in 256ths, and the rectangle that its partner fills.

    ``box`` has rows of (top, left, height, width) in pixels, of no height where the whole image is mixed.
    """

    share: NDArray[np.int64]
    box: NDArray[np.int64]


def draw_mix(key: int, indices_N: NDArray[np.int64], config: AugmentationConfig, size: tuple[int, int]) -> Mix:
    """Draw for the samples ``indices_N``; the part from the symmetric beta distribution of the recipe's ``alpha``.

    Zhang et al. 2018 (mixup, arXiv 1710.09412); Yun et al. 2019 (CutMix, arXiv 1905.04899), whose rectangle has the
    partner's part of the area, is centred anywhere, and is cut at the rim, which the share follows.
    """
    from scipy.special import betaincinv

    words_ND = draw_words(key, indices_N, _NUM_DRAWS)
    cuts = np.full(len(indices_N), config.cutmix > 0)
    if config.mixup > 0 and config.cutmix > 0:
        cuts = to_below(words_ND[:, 0], 2) == 1
    alpha = np.where(cuts, config.cutmix, config.mixup)
    share = np.rint(WHOLE * betaincinv(alpha, alpha, to_unit(words_ND[:, 1]))).astype(np.int64)
    height, width = size
    side = np.sqrt(1 - share / WHOLE)
    tall, wide = np.rint(height * side).astype(np.int64), np.rint(width * side).astype(np.int64)
    top = np.clip(to_below(words_ND[:, 2], height) - tall // 2, 0, height)
    left = np.clip(to_below(words_ND[:, 3], width) - wide // 2, 0, width)
    bottom = np.clip(to_below(words_ND[:, 2], height) - tall // 2 + tall, 0, height)
    right = np.clip(to_below(words_ND[:, 3], width) - wide // 2 + wide, 0, width)
    area = (bottom - top) * (right - left)
    of_box = np.rint(WHOLE * (1 - area / (height * width))).astype(np.int64)
    box_N4 = np.stack([top, left, bottom - top, right - left], axis=1)
    return Mix(np.where(cuts, of_box, share), np.where(cuts[:, None], box_N4, 0))


def mix_images(images_BHWC: NDArray[np.uint8], partners_BHWC: NDArray[np.uint8], mix: Mix) -> NDArray[np.uint8]:
    """Each image with its partner: a sum of both by their shares, rounded, or the partner's rectangle in it."""
    share_B111 = mix.share[:, None, None, None]
    summed = images_BHWC * share_B111 + partners_BHWC * (WHOLE - share_B111) + WHOLE // 2
    mixed_BHWC: NDArray[np.uint8] = (summed // WHOLE).astype(np.uint8)
    for number, (top, left, height, width) in enumerate(mix.box):
        if height and width:
            mixed_BHWC[number] = images_BHWC[number]
            rows, columns = slice(top, top + height), slice(left, left + width)
            mixed_BHWC[number, rows, columns] = partners_BHWC[number, rows, columns]
    unmixed = np.flatnonzero(mix.share == WHOLE)
    mixed_BHWC[unmixed] = images_BHWC[unmixed]
    return mixed_BHWC


def mix_labels(labels_B: NDArray[np.int64], partners_B: NDArray[np.int64], mix: Mix) -> NDArray[np.int64]:
    """Rows of (label, label of the other, share of the first in 256ths); the first has the larger share."""
    swapped = mix.share < WHOLE // 2
    first, second = np.where(swapped, partners_B, labels_B), np.where(swapped, labels_B, partners_B)
    return np.stack([first, second, np.where(swapped, WHOLE - mix.share, mix.share)], axis=1)
