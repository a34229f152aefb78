"""Two networks on the same images: McNemar's test, and the interval of their difference over images.

An interval over seeds says what another training would give on these images; one over images says what these trained
networks would give on other images of the kind. Neither stands for the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, ndtri

from vtbench.records import NotMeasured
from vtbench.stats.estimates import LEVEL, Estimate

# N images, S seeds.

Scores = NDArray[np.float64]
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
    pairs: Sequence[tuple[Scores, Scores]], *, same_images: bool, level: float = LEVEL
) -> Estimate | NotMeasured:
    """The mean difference of scores (N,) of arm and base over images, with a normal interval.

    ``pairs`` are those of each seed. If all saw the ``same_images``, the differences of an image are averaged over
    seeds first, since they are no further images; else every pair has images of its own. Images on which either has
    no score (NaN) are left out.
    """
    differences = [np.asarray(arm_N - base_N, dtype=np.float64) for arm_N, base_N in pairs]
    if not differences:
        return NotMeasured(reason="no seed for which both arms kept what they answered")
    joined_N = np.stack(differences).mean(axis=0) if same_images else np.concatenate(differences)
    joined_N = joined_N[np.isfinite(joined_N)]
    if len(joined_N) < FEWEST_IMAGES:
        return NotMeasured(reason=f"{len(joined_N)} images: an interval over images takes {FEWEST_IMAGES}")
    mean, spread = float(joined_N.mean()), float(joined_N.std(ddof=1))
    if spread == 0:
        half: float | NotMeasured = NotMeasured(reason="both arms score the same on every image: no interval")
    else:
        half = float(ndtri(0.5 + level / 2)) * spread / math.sqrt(len(joined_N))
    return Estimate(mean, len(joined_N), half, level)
