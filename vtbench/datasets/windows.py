"""Windows of images and of their masks, brought to one size: scaling and cropping in one step.

Cutting a crop of h rows out of an image that was scaled by s is cutting h / s rows out of the image and scaling those:
only what is kept is ever scaled. A window may reach beyond its image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from vtbench.datasets.counter_based import draw_words, to_unit
from vtbench.datasets.dataset import VOID

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB), N samples.


class Windows(NamedTuple):
    """The window of each of N samples in pixels of its image: four arrays of shape (N,), int64.

    ``top`` and ``left`` are negative where it begins before the image.
    """

    top: NDArray[np.int64]
    left: NDArray[np.int64]
    height: NDArray[np.int64]
    width: NDArray[np.int64]


def draw_windows(
    key: int,
    indices_N: NDArray[np.int64],
    image_size: tuple[int, int],
    output_size: tuple[int, int],
    scale: tuple[float, float],
) -> Windows:
    """Draw the windows that become ``output_size`` when the image is scaled by a factor uniform in ``scale``.

    Along each axis a window lies inside its image, or else the image inside its window; all such places are equally
    likely.
    """
    words_ND = draw_words(key, indices_N, 3)
    factor_N = scale[0] + (scale[1] - scale[0]) * to_unit(words_ND[:, 0])
    sides, starts = [], []
    for axis in range(2):
        side_N = np.maximum(1, np.rint(output_size[axis] / factor_N)).astype(np.int64)
        room_N = image_size[axis] - side_N
        drawn_N = np.floor(to_unit(words_ND[:, 1 + axis]) * (np.abs(room_N) + 1)).astype(np.int64)
        sides.append(side_N)
        starts.append(drawn_N + np.minimum(room_N, 0))
    return Windows(*starts, *sides)


def cut_images(
    images_BHWC: NDArray[np.uint8], windows: Windows, size: tuple[int, int], fill: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """The windows of images, scaled bilinearly to ``size``; beyond an image is ``fill``. (B, H, W, C) uint8."""
    cut_BHWC = np.empty((len(images_BHWC), *size, 3), np.uint8)
    for number, image_HWC in enumerate(images_BHWC):
        there, here = _overlap(windows, number, image_HWC.shape[:2], size)
        if here != _whole(size):
            cut_BHWC[number] = fill
        part_HWC, target_HWC = image_HWC[there], cut_BHWC[number][here]
        if part_HWC.shape != target_HWC.shape:
            part_1CHW = torch.from_numpy(part_HWC).permute(2, 0, 1)[None]
            scaled_1CHW = interpolate(part_1CHW, target_HWC.shape[:2], mode="bilinear", align_corners=False)
            part_HWC = scaled_1CHW[0].permute(1, 2, 0).numpy()
        target_HWC[...] = part_HWC
    return cut_BHWC


def cut_masks(masks_BHW: NDArray[np.uint8], windows: Windows, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The windows of masks, each pixel that of the nearest pixel of the mask; beyond a mask is void."""
    cut_BHW = np.full((len(masks_BHW), *size), VOID, np.uint8)
    for number, mask_HW in enumerate(masks_BHW):
        there, here = _overlap(windows, number, mask_HW.shape, size)
        part_HW, target_HW = mask_HW[there], cut_BHW[number][here]
        rows, columns = (
            (2 * np.arange(wanted) + 1) * given // (2 * wanted)
            for given, wanted in zip(part_HW.shape, target_HW.shape, strict=True)
        )
        target_HW[...] = part_HW[rows[:, None], columns]
    return cut_BHW


def _whole(size: tuple[int, int]) -> tuple[slice, slice]:
    return slice(0, size[0]), slice(0, size[1])


def _overlap(
    windows: Windows, number: int, image_size: tuple[int, ...], size: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the image number ``number`` that its window shows, and where it lies in the output."""
    there, here = [], []
    for axis in range(2):
        start, side = int(windows[axis][number]), int(windows[2 + axis][number])
        first, end = max(0, start), min(image_size[axis], start + side)
        begin = (first - start) * size[axis] // side
        finish = max(begin + 1, -(-(end - start) * size[axis] // side))
        there.append(slice(first, end))
        here.append(slice(begin, finish))
    return (there[0], there[1]), (here[0], here[1])
