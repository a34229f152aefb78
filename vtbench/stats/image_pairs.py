"""Two networks on the same images: McNemar's test, and the interval of their difference over images.

An interval over seeds says what another training would give on these images; one over images says what these trained
networks would give on other images of the kind. Neither stands for the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, ndtri

from vtbench.records import NotMeasured
from vtbench.stats.estimates import LEVEL, Estimate

# N answers of a seed, I images of all seeds.

Scores = NDArray[np.float64]
Rows = NDArray[np.integer[Any]]
FEWEST_IMAGES = 30
"""Of fewer images the mean of differences is not near enough to a normal distribution."""


@dataclass(frozen=True)
class McNemarTest:
    """How many images only the one and only the other network gets right, and the exact two-sided p value.

    McNemar 1947 (Psychometrika 12): if both are equally good, each of these images is a fair coin.
    """

    num_only_arm: int
    num_only_base: int
    p_value: float


def compute_mcnemar(arm_N: NDArray[np.bool_], base_N: NDArray[np.bool_]) -> McNemarTest:
    """Compare who is right on which image. Raises ``ValueError`` for unlike numbers of images."""
    if arm_N.shape != base_N.shape:
        raise ValueError(f"cannot pair {len(arm_N)} images with {len(base_N)}")
    only_arm, only_base = int((arm_N & ~base_N).sum()), int((base_N & ~arm_N).sum())
    fewer, total = min(only_arm, only_base), only_arm + only_base
    # P(B <= k) of a binomial of n fair coins is the incomplete beta function I(1/2; n - k, k + 1).
    tail = 1.0 if fewer == total else float(betainc(total - fewer, fewer + 1, 0.5))
    return McNemarTest(only_arm, only_base, min(1.0, 2 * tail))


def estimate_over_images(
    pairs: Sequence[tuple[Scores, Scores, Rows]], *, level: float = LEVEL
) -> Estimate | NotMeasured:
    """The mean difference of scores (N,) of arm and base over images, with a normal interval.

    ``pairs`` are those of each seed, with the numbers of its images. An image that several seeds were judged by is one:
    the answers to it are a cluster, and the mean is a ratio of two sums over clusters (Cochran, Sampling Techniques,
    1977, section 2.11). The mean is so the one over seeds where every seed has as many images, and where all have the
    same images it is all as if the differences of an image were averaged first. Answers of which either has no score
    (NaN) are left out.
    """
    if not pairs:
        return NotMeasured(reason="no seed for which both arms kept what they answered")
    differences = np.concatenate([np.asarray(arm_N - base_N, dtype=np.float64) for arm_N, base_N, _ in pairs])
    counted = np.isfinite(differences)
    numbers, image_of = np.unique(np.concatenate([rows_N for *_, rows_N in pairs])[counted], return_inverse=True)
    num_images = len(numbers)
    if num_images < FEWEST_IMAGES:
        return NotMeasured(reason=f"{num_images} images: an interval over images takes {FEWEST_IMAGES}")
    answers_I = np.bincount(image_of).astype(np.float64)
    sums_I = np.bincount(image_of, weights=differences[counted])
    mean = float(sums_I.sum() / answers_I.sum())
    # What each image adds to the error of the mean: its share of the answers, times how far it is from the mean.
    errors_I = (sums_I - mean * answers_I) / answers_I.mean()
    spread = math.sqrt(float((errors_I**2).sum()) / (num_images - 1))
    if spread <= 1e-12 * max(1.0, abs(mean)):
        half: float | NotMeasured = NotMeasured(reason="both arms score the same on every image: no interval")
    else:
        half = float(ndtri(0.5 + level / 2)) * spread / math.sqrt(num_images)
    return Estimate(mean, num_images, half, level)
