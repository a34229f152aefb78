"""What the spatial attention of visual tokens says in numbers: entropy, difference, place, foreground.

Wu et al. 2020 (arXiv 2006.03677) compare the entropy of attention with that of the uniform attention of a convolution,
which is the logarithm of the number of positions. They print 12.3 for 473x473 of them: ln(473^2) = 12.32, so their unit
is the nat, and so it is here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtbench.records import NotMeasured
from vtbench.records.tokens import ForegroundRecord, ModuleMapsRecord, TokenMapRecord

# L tokens (M: the tokens that are mixed); H height, W width of a map in cells; N = H W cells; Y, X rows and columns of
# pixels.

Maps = NDArray[np.float64]
Mask = NDArray[np.int8]
"""(Y, X): 1 foreground, 0 background, -1 left out."""

LEFT_OUT = -1
"""The value of a mask where a pixel counts neither as foreground, 1, nor as background, 0."""


@dataclass(frozen=True, eq=False)
class TokenMaps:
    """Where the tokens of one module look in one image.

    ``attention`` (L, H, W) sums to 1 over each map. ``mixing`` (L, M) holds the weights with which each token takes
    from all tokens; its rows sum to 1. If there are none, ``mixing`` is None and ``no_mixing`` the reason. Attention of
    a network of others has a ``layer``, and ``rows`` say what its maps are instead of tokens.
    """

    module: int
    tokenizer: str
    relation: str
    attention: Maps
    mixing: Maps | None
    no_mixing: str = ""
    layer: str = ""
    rows: tuple[str, ...] = ()

    @property
    def reach(self) -> Maps | None:
        """A_hat_l = sum_m W_lm A_m, the attention after the tokens are mixed: maps that again sum to 1, or None."""
        if self.mixing is None:
            return None
        return np.asarray(np.einsum("lm,mhw->lhw", self.mixing, self.attention))


@dataclass(frozen=True, eq=False)
class MappedImage:
    """One image: the picture (Y, X, C) to show, the maps of each module of tokens on it, and the mask, if any."""

    picture: NDArray[np.uint8]
    maps: tuple[TokenMaps, ...]
    mask: Mask | None


def describe_maps(maps: TokenMaps, mask_YX: Mask | None) -> ModuleMapsRecord:
    """All numbers of one module in one image. ``mask_YX``: 1 foreground, 0 background, -1 left out; None if unknown."""
    reach_LHW = maps.reach
    missing = NotMeasured(reason=maps.no_mixing)
    entropy_L = measure_entropy(maps.attention)
    reach_entropy_L = None if reach_LHW is None else measure_entropy(reach_LHW)
    foreground_L = [_describe_foreground(map_HW, mask_YX) for map_HW in maps.attention]
    num_tokens, height, width = maps.attention.shape
    peaks = [divmod(int(map_HW.argmax()), width) for map_HW in maps.attention]
    divergence, cosine = compare_maps(maps.attention)
    return ModuleMapsRecord(
        module=maps.module,
        tokenizer=maps.tokenizer,
        relation=maps.relation,
        layer=maps.layer,
        rows=maps.rows,
        num_tokens=num_tokens,
        map_size=(height, width),
        uniform_entropy_nats=math.log(height * width),
        mean_entropy_nats=float(entropy_L.mean()),
        mean_reach_entropy_nats=missing if reach_entropy_L is None else float(reach_entropy_L.mean()),
        mean_jensen_shannon_bits=divergence,
        mean_cosine=cosine,
        mean_reach_jensen_shannon_bits=missing if reach_LHW is None else compare_maps(reach_LHW)[0],
        num_distinct_peaks=len(set(peaks)),
        foreground=_describe_foreground(maps.attention.mean(axis=0), mask_YX),
        tokens=tuple(
            TokenMapRecord(
                token=token,
                entropy_nats=float(entropy_L[token]),
                reach_entropy_nats=missing if reach_entropy_L is None else float(reach_entropy_L[token]),
                peak_cell=peaks[token],
                peak_over_uniform=float(maps.attention[token].max()) * height * width,
                foreground=foreground_L[token],
            )
            for token in range(num_tokens)
        ),
    )


def measure_entropy(maps_LHW: Maps) -> Maps:
    """- sum of A ln A over each map, in nats: 0 for one cell, ln N for a uniform map. (L, H, W) -> (L,)."""
    maps_LN = maps_LHW.reshape(len(maps_LHW), -1)
    logs_LN = np.log(maps_LN, out=np.zeros_like(maps_LN), where=maps_LN > 0)
    return np.asarray(-(maps_LN * logs_LN).sum(axis=1))


def compare_maps(maps_LHW: Maps) -> tuple[float | NotMeasured, float | NotMeasured]:
    """How far tokens look at different places: means over all pairs of maps of Jensen-Shannon divergence and cosine.

    The divergence is in bits: 0 for equal maps, 1 for maps that share no cell. The cosine is 1 for equal maps, 0 for
    maps that share no cell; maps that are nearly uniform have one near 1 wherever their peaks are.
    """
    first, second = np.triu_indices(len(maps_LHW), k=1)
    if len(first) == 0:
        alone = NotMeasured(reason="There is one token, and so nothing to compare it with.")
        return alone, alone
    maps_LN = maps_LHW.reshape(len(maps_LHW), -1)
    entropy_L = measure_entropy(maps_LHW)
    middle_entropy = measure_entropy((maps_LN[first] + maps_LN[second])[:, :, None] / 2)
    divergence = (middle_entropy - (entropy_L[first] + entropy_L[second]) / 2) / math.log(2)
    directions_LN = maps_LN / np.linalg.norm(maps_LN, axis=1, keepdims=True)
    cosine = (directions_LN[first] * directions_LN[second]).sum(axis=1)
    return float(np.maximum(divergence, 0).mean()), float(cosine.mean())


def choose_tokens(maps: Sequence[Maps], most: int = 6) -> list[int]:
    """Up to ``most`` tokens, the same for all images: the one of least entropy, then always the one most unlike those.

    ``maps`` holds (L, H, W) of each image; maps are compared by the Hellinger distance.
    """
    roots_LN = np.concatenate([np.sqrt(one).reshape(len(one), -1) for one in maps], axis=1)
    chosen = [int(np.sum([measure_entropy(one) for one in maps], axis=0).argmin())]
    while len(chosen) < min(most, len(roots_LN)):
        distance_LK = np.linalg.norm(roots_LN[:, None] - roots_LN[chosen], axis=2)
        nearest_L = distance_LK.min(axis=1)
        nearest_L[chosen] = -1
        chosen.append(int(nearest_L.argmax()))
    return sorted(chosen)


def compare_foreground(map_HW: Maps, mask_YX: Mask) -> ForegroundRecord | NotMeasured:
    """Attention on foreground against background. Each cell spreads its attention evenly over its pixels.

    ``ratio`` is the mean attention of a foreground pixel over that of a background pixel: 1 for a uniform map; the
    paper reports 1.283 for people.
    """
    height, width = map_HW.shape
    rows_Y = (2 * np.arange(mask_YX.shape[0]) + 1) * height // (2 * mask_YX.shape[0])
    columns_X = (2 * np.arange(mask_YX.shape[1]) + 1) * width // (2 * mask_YX.shape[1])
    cells_YX = rows_Y[:, None] * width + columns_X
    pixels_N = np.bincount(cells_YX.ravel(), minlength=height * width)
    spread_YX = (map_HW.ravel() / np.maximum(pixels_N, 1))[cells_YX]
    front, back = spread_YX[mask_YX == 1], spread_YX[mask_YX == 0]
    if len(front) == 0 or len(back) == 0:
        return NotMeasured(reason=f"The mask has no {'foreground' if len(front) == 0 else 'background'}.")
    if back.sum() == 0:
        return NotMeasured(reason="All attention is on foreground.")
    return ForegroundRecord(
        attention_percent=100 * float(front.sum() / (front.sum() + back.sum())),
        area_percent=100 * len(front) / (len(front) + len(back)),
        ratio=float(front.mean() / back.mean()),
    )


def split_classes(
    classes_YX: NDArray[np.integer], foreground: Sequence[int] = (), left_out: Sequence[int] = ()
) -> Mask:
    """Class ids to a mask: 1 for those in ``foreground`` (without any, all but 0), else 0.

    -1 for those in ``left_out`` and where there is no class, which is an id below 0.
    """
    is_front = np.isin(classes_YX, foreground) if foreground else classes_YX != 0
    mask_YX = is_front.astype(np.int8)
    mask_YX[np.isin(classes_YX, left_out) | (classes_YX < 0)] = LEFT_OUT
    return mask_YX


def _describe_foreground(map_HW: Maps, mask_YX: Mask | None) -> ForegroundRecord | NotMeasured:
    if mask_YX is None:
        return NotMeasured(reason="The image has no mask.")
    return compare_foreground(map_HW, mask_YX)
