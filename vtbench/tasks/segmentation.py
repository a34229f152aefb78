"""Segmentation: one class a pixel; cross entropy over the pixels that are not void; mean intersection over union."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vtbench.configuration import Recipe
from vtbench.datasets.augmentation import Augmentation, AugmentationDraws
from vtbench.datasets.dataset import (
    HOW_TO_GIVE_MASKS,
    VOID,
    HasMasks,
    HasOriginalMasks,
    HasSides,
    ImageDataset,
)
from vtbench.errors import UserError, format_names
from vtbench.metrics import VOID_PERCENT, score_segmentation
from vtbench.tasks.task import TASKS, Objective

# Dimensions: B images of a batch, C channels, H height, W width, K classes. h, w: of a mask as it stands in its file.

_OUTSIDE = -1
"""Fills up the masks of a batch to one size."""
_AT_A_TIME = 64
_SCORES_AT_A_TIME = 2**20
"""Of a part of a batch that is judged at the size of its masks, if that is more than one image."""
_LOSSES_AT_A_TIME = 2**18
"""Scores whose logarithms are held at once; so few stay in a core's cache, which is faster, too."""


class Segmentation:
    """Tell of every pixel which of K classes it shows: scores of shape (B, K, H, W) against masks (B, H, W), uint8.

    The loss is a mean over the pixels that are not void (`VOID`), whatever image or micro-batch they stand in. The
    metrics come from one integer confusion matrix over the whole split, and so are the same for any size of batches and
    number of processes. They are counted at the original size of each mask, to which the scores are brought bilinearly.
    """

    name = "segmentation"
    answers_with_masks = True

    def name_classes(self, data: ImageDataset) -> tuple[str, ...]:
        """The names of the classes of a pixel. Raises ``UserError`` for data without masks."""
        return self._with_masks(data).mask_class_names

    def read_targets(self, data: ImageDataset, indices_B: NDArray[np.int64]) -> NDArray[Any]:
        """Masks of shape (B, H, W), uint8, of the size of the images."""
        return self._with_masks(data).read_masks(indices_B)

    def transform_targets(
        self, masks_BHW: NDArray[Any], augmentation: Augmentation, draws: AugmentationDraws
    ) -> NDArray[Any]:
        """The masks cut and mirrored as their images."""
        return augmentation.apply_to_masks(masks_BHW, draws)

    def read_truth(self, data: ImageDataset, indices_B: NDArray[np.int64]) -> NDArray[Any]:
        """Masks of shape (B, h, w) at their original sizes; where these differ, filled up with -1 to the largest."""
        if len(indices_B) == 0 or not isinstance(data, HasOriginalMasks):
            return self.read_targets(data, indices_B)
        masks = data.read_original_masks(indices_B)
        if len({mask.shape for mask in masks}) == 1:
            return np.stack(masks)
        height, width = (max((mask.shape[axis] for mask in masks), default=0) for axis in range(2))
        truth_Bhw = np.full((len(masks), height, width), _OUTSIDE, np.int16)
        for number, mask_hw in enumerate(masks):
            truth_Bhw[number, : mask_hw.shape[0], : mask_hw.shape[1]] = mask_hw
        return truth_Bhw

    def count_items(self, masks_BHW: Tensor) -> int:
        """The number of pixels that are not void."""
        return int(torch.count_nonzero((masks_BHW != VOID) & (masks_BHW != _OUTSIDE)))  # A sum copies them as int64.

    def settle_recipe(self, recipe: Recipe, train: ImageDataset) -> Recipe:
        """The recipe with what ``train`` says.

        Numbers for the weights of the classes, counted over its masks, and the classes that a flip exchanges.
        """
        names = self.name_classes(train)
        if recipe.distillation is not None:
            raise UserError(
                f"The recipe {recipe.name!r} distils knowledge from a teacher, which is done for classification only. "
                "Train without one with --teacher none."
            )
        if unfit := recipe.augmentation.unfit_for_masks:
            raise UserError(
                f"The recipe {recipe.name!r} asks for {', '.join(unfit)}, which changes an image and not its mask. "
                "Switch it off; scale, crop and flip are done to both, and color_jitter leaves masks as they are."
            )
        recipe = self._settle_sides(recipe, train)
        for number in (number for pair in recipe.augmentation.swap_on_flip for number in pair):
            if not 0 <= number < len(names):
                raise UserError(
                    f"The recipe {recipe.name!r} exchanges class {number} on a flip (swap_on_flip), but the classes of "
                    f"{train.name} are 0 to {len(names) - 1}."
                )
        if isinstance(recipe.class_weights, str):
            weights = weigh_classes(count_pixels(self._with_masks(train), len(train), len(names)), recipe.class_weights)
            return recipe.model_copy(update={"class_weights": weights})
        if recipe.class_weights is not None and len(recipe.class_weights) != len(names):
            raise UserError(
                f"The recipe {recipe.name!r} has {len(recipe.class_weights)} class_weights, but {train.name} has "
                f"{len(names)} classes: {format_names(names, most=None)}."
            )
        return recipe

    def _settle_sides(self, recipe: Recipe, train: ImageDataset) -> Recipe:
        """The recipe with the left and right of the data exchanged on a flip, as the data say."""
        sides = train.left_right if isinstance(train, HasSides) else ()
        asked = recipe.augmentation.swap_on_flip
        if not sides or not recipe.augmentation.flip or _unordered(asked) == _unordered(sides):
            return recipe
        if asked:
            raise UserError(
                f"The recipe {recipe.name!r} exchanges the classes {_spell(asked)} on a flip (swap_on_flip), and those "
                f"that {train.name} names as left and right are {_spell(sides)}. Leave swap_on_flip out of the recipe, "
                "which then follows the data, or set flip = false."
            )
        augmentation = recipe.augmentation.model_copy(update={"swap_on_flip": sides})
        return recipe.model_copy(update={"augmentation": augmentation})

    def make_objective(self, recipe: Recipe, teacher: nn.Module | None) -> Objective:
        """Cross entropy with the recipe's label smoothing and weights of the classes."""
        return SegmentationObjective(recipe)

    def align(self, scores_BKHW: Tensor, truth_Bhw: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The scores at the size of the truth, a few images at a time, or one where sizes differ."""
        if truth_Bhw.dtype == torch.uint8:  # All of one size.
            num_scores = scores_BKHW.shape[1] * truth_Bhw.shape[1:].numel()
            at_a_time = max(1, _SCORES_AT_A_TIME // num_scores)
            for part, masks in zip(*(torch.split(both, at_a_time) for both in (scores_BKHW, truth_Bhw)), strict=True):
                yield resize_scores(part, masks.shape[1:]), masks
            return
        for scores_KHW, mask_hw in zip(scores_BKHW, truth_Bhw, strict=True):
            height, width = int((mask_hw[:, 0] != _OUTSIDE).sum()), int((mask_hw[0] != _OUTSIDE).sum())
            mask_1hw = mask_hw[None, :height, :width].to(torch.uint8)
            yield resize_scores(scores_KHW[None], mask_1hw.shape[1:]), mask_1hw

    def sum_losses(self, scores_BKHW: Tensor, masks_BHW: Tensor) -> Tensor:
        """Cross entropy without label smoothing and weights, a few rows of pixels at a time."""
        num_rows = max(1, _LOSSES_AT_A_TIME // max(1, scores_BKHW[:, :, 0].numel()))
        bands = zip(torch.split(scores_BKHW, num_rows, 2), torch.split(masks_BHW, num_rows, 1), strict=True)
        losses = [
            F.cross_entropy(scores.float(), masks.long(), ignore_index=VOID, reduction="sum") for scores, masks in bands
        ]
        return torch.stack(losses).sum()

    def count(self, scores_BKHW: Tensor, masks_BHW: Tensor) -> dict[str, Tensor]:
        """The confusion matrix (K, K), rows by the truth, and the number of void pixels."""
        num_classes = scores_BKHW.shape[1]
        predicted_BHW = scores_BKHW.max(1).indices  # Several times as fast as argmax, and the same.
        truth_BHW = masks_BHW.clamp(max=num_classes)  # Void is a class more, which is faster than to leave it out.
        cells = predicted_BHW.add_(truth_BHW, alpha=num_classes).flatten()
        with_void = torch.bincount(cells, minlength=(num_classes + 1) * num_classes).view(-1, num_classes)
        return {"confusion": with_void[:num_classes], "void": with_void[num_classes].sum()}

    def measure(self, sums: Mapping[str, Tensor]) -> dict[str, float]:
        """The metrics, the numbers of each class, and the share of void pixels: see `score_segmentation`."""
        void, confusion = int(sums["void"]), sums["confusion"].tolist()
        pixels = void + sum(map(sum, confusion))
        return {**score_segmentation(confusion), VOID_PERCENT: 100 * void / max(1, pixels)}

    def _with_masks(self, data: ImageDataset) -> HasMasks:
        if not isinstance(data, HasMasks):
            raise UserError(f"The data set {data.name!r} has no masks. {HOW_TO_GIVE_MASKS}")
        return data


class SegmentationObjective:
    """The loss of a recipe, a mean over the pixels that are not void; 0 where there is none.

    It is the cross entropy of each pixel times the weight of its class, summed and divided by the number of pixels.
    torch's own mean divides by the sum of the weights instead; divided by pixels, the losses of micro-batches add up to
    that of the batch. Label smoothing is that of classification, at every pixel.
    """

    def __init__(self, recipe: Recipe) -> None:
        assert not isinstance(recipe.class_weights, str), "settle_recipe puts numbers in their place"
        self.label_smoothing = recipe.label_smoothing
        self.weights_K = None if recipe.class_weights is None else torch.tensor(recipe.class_weights)

    def __call__(self, images_BCHW: Tensor, scores_BKHW: Tensor, masks_BHW: Tensor) -> Tensor:
        """The loss of one batch, a scalar."""
        if self.weights_K is not None:
            self.weights_K = self.weights_K.to(scores_BKHW.device)
        loss = F.cross_entropy(
            scores_BKHW.float(),
            masks_BHW.long(),
            weight=self.weights_K,
            ignore_index=VOID,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        return loss / (masks_BHW != VOID).sum().clamp(min=1)


def _unordered(pairs: tuple[tuple[int, int], ...]) -> set[frozenset[int]]:
    return {frozenset(pair) for pair in pairs}


def _spell(pairs: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(f"{left} and {right}" for left, right in pairs)


def resize_scores(scores_BKHW: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Scores at another height and width, bilinearly; the very same where they have it."""
    if scores_BKHW.shape[2:] == size:
        return scores_BKHW
    return F.interpolate(scores_BKHW.float(), tuple(size), mode="bilinear", align_corners=False)


def count_pixels(data: HasMasks, num_images: int, num_classes: int) -> NDArray[np.int64]:
    """Two rows of K classes: the pixels that each has, and all pixels with a class of the images that show it."""
    counts_2K = np.zeros((2, num_classes), np.int64)
    for start in range(0, num_images, _AT_A_TIME):
        for mask_HW in data.read_masks(np.arange(start, min(start + _AT_A_TIME, num_images), dtype=np.int64)):
            pixels_K = np.bincount(mask_HW.ravel(), minlength=VOID + 1)[:num_classes]
            counts_2K[0] += pixels_K
            counts_2K[1] += np.where(pixels_K > 0, pixels_K.sum(), 0)
    return counts_2K


def weigh_classes(counts_2K: NDArray[np.int64], rule: str) -> tuple[float, ...]:
    """Weights of the classes whose mean over the pixels is 1, so that the learning rate means what it did.

    ``inverse_frequency``: in proportion to 1 / pixels. ``median_frequency``: to median(f) / f with f the pixels of a
    class over those of the images that show it (Eigen and Fergus 2015, arXiv 1411.4734, section 6.3.2). A class without
    a pixel gets 0.
    """
    pixels_K, shown_K = counts_2K.astype(np.float64)
    here_K = pixels_K > 0
    weights_K = np.zeros(len(pixels_K))
    frequency_K = pixels_K[here_K] if rule == "inverse_frequency" else pixels_K[here_K] / shown_K[here_K]
    weights_K[here_K] = 1 / frequency_K
    mean = (weights_K * pixels_K).sum() / max(1.0, pixels_K.sum())
    return tuple(float(weight) for weight in weights_K / (mean or 1.0))


TASKS.add(Segmentation.name, Segmentation())
