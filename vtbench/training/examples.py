"""The few validation images that a run keeps with its predictions: some that every run keeps, and its worst."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from vtbench.datasets.batches import EvalBatches
from vtbench.datasets.counter_based import derive_key, shuffle
from vtbench.datasets.dataset import HasMaskFiles, ImageDataset
from vtbench.errors import UserError
from vtbench.metrics import METRICS, Metric, is_of_class
from vtbench.palettes import find_palette
from vtbench.records.examples import Example, ExampleNote, Examples, TokenMapsNote, encode_attention, pack_examples
from vtbench.stats.attention_maps import TokenMaps, choose_tokens
from vtbench.training.evaluation import SlidingWindow, measure_image
from vtbench.training.token_maps import observe_tokens
from vtbench.training.trainer import Trainer

# N images of a split; H height, W width of an image, Y, X of its mask as it was made, C channels (3, RGB); L tokens;
# h, w cells of a small map.

Levels = NDArray[np.uint8]
"""Maps of `encode_attention`."""

NUM_FIXED = 3
NUM_WORST = 3
_MOST_PIXELS = 256 * 192
"""Of a kept image: six of them with their masks are about 1 MB at most."""
_LONGEST_SIDE = 256
_MOST_TOKENS = 4
_MOST_CELLS = 32
"""Of the longer side of a map."""


def choose_images(scores_N: NDArray[np.float64], metric: Metric) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The images that every run with as many keeps, and those with the lowest rank by ``metric``, the worst first.

    An image whose score is NaN is not among the worst; of equal ones the first come first.
    """
    fixed = sorted(int(index) for index in shuffle(derive_key("examples"), len(scores_N))[:NUM_FIXED])
    ranks_N = np.array([metric.rank(score) for score in scores_N])
    worst = [int(index) for index in np.argsort(ranks_N, kind="stable") if not math.isnan(scores_N[index])]
    return tuple(fixed), tuple(worst[:NUM_WORST])


@dataclass(frozen=True)
class ExampleMaker:
    """Makes examples of ``model``, one image at a time, so that they do not depend on the size of a batch.

    ``batches`` are those of the validation split ``data``.
    """

    model: nn.Module
    trainer: Trainer
    batches: EvalBatches
    data: ImageDataset

    def make(self, scores_N: NDArray[np.float64]) -> bytes:
        """The file of the examples that ``scores_N`` choose. The network is left in the mode it was in."""
        fixed, worst = choose_images(scores_N, METRICS[self.trainer.task.name][0])
        indices = sorted({*fixed, *worst})
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                maps = _choose_maps([self._observe(index) for index in indices])
                examples = [
                    self._show(index, ["fixed"] * (index in fixed) + ["worst"] * (index in worst), of_image)
                    for index, of_image in zip(indices, maps, strict=True)
                ]
        finally:
            self.model.train(was_training)
        own = self.data.mask_palette if isinstance(self.data, HasMaskFiles) else ()
        palette = own or find_palette(self.trainer.task.name_classes(self.data), self.data.name)
        return pack_examples(Examples(tuple(examples), worst, int(np.isfinite(scores_N).sum())), palette)

    def _observe(self, index: int) -> tuple[TokenMaps, ...]:
        """Where the tokens of each module look; nothing without tokens, or where these look nowhere."""
        images_1CHW, _ = self.batches.read_one(index)
        try:
            with self.trainer.autocast():
                return observe_tokens(self.model, self.trainer.to_device(images_1CHW)).images[0]
        except UserError:
            return ()

    def _show(self, index: int, kept_as: Sequence[Any], maps: Sequence[tuple[TokenMapsNote, Levels]]) -> Example:
        trainer, task = self.trainer, self.trainer.task
        images_1CHW, truth = self.batches.read_one(index)
        with trainer.autocast():
            scores = SlidingWindow.of(trainer.recipe)(self.model, trainer.to_device(images_1CHW))
        ((part, mask_1YX),) = task.align(scores, truth)
        outcome = measure_image(task, task.count(part, trainer.to_device(mask_1YX)), task.count_items(mask_1YX))
        pixels_HWC = self.data.read(np.array([index], np.int64))[0]
        note = ExampleNote(
            index=index,
            kept_as=tuple(kept_as),
            outcome={key: value for key, value in outcome.items() if not is_of_class(key) and math.isfinite(value)},
            maps=tuple(noted for noted, _ in maps),
        )
        return Example(
            note,
            _shrink(pixels_HWC, Image.Resampling.LANCZOS),
            _shrink(mask_1YX[0].numpy().astype(np.uint8), Image.Resampling.NEAREST),
            _shrink(part[0].argmax(0).to("cpu", torch.uint8).numpy(), Image.Resampling.NEAREST),
            tuple(levels for _, levels in maps),
        )


def _choose_maps(observed: Sequence[Sequence[TokenMaps]]) -> list[list[tuple[TokenMapsNote, Levels]]]:
    """For each image the maps of the same few tokens of each module, small enough to keep."""
    chosen: list[list[tuple[TokenMapsNote, Levels]]] = [[] for _ in observed]
    for of_module in zip(*observed, strict=True):
        tokens = choose_tokens([maps.attention for maps in of_module], _MOST_TOKENS)
        for place, maps in enumerate(of_module):
            noted = TokenMapsNote(module=maps.module, tokens=tuple(tokens), num_tokens=len(maps.attention))
            small_Lhw = np.stack([_pool(maps.attention[token]) for token in tokens])
            chosen[place].append((noted, encode_attention(small_Lhw)))
    return chosen


def _pool(map_HW: NDArray[np.float64]) -> NDArray[np.float64]:
    """The map by means over its cells, so that its longer side has a few dozen at most."""
    height, width = map_HW.shape
    factor = max(1.0, max(height, width) / _MOST_CELLS)
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    cells = Image.fromarray(map_HW.astype(np.float32)).resize(size, Image.Resampling.BOX)
    return np.asarray(cells, np.float64)


def _shrink(pixels: NDArray[np.uint8], resampling: Image.Resampling) -> NDArray[np.uint8]:
    """The image or mask at the size at which it is kept; as it is where it is no larger."""
    height, width = pixels.shape[:2]
    factor = min(1.0, _LONGEST_SIDE / max(height, width), math.sqrt(_MOST_PIXELS / (height * width)))
    size = (max(1, int(width * factor)), max(1, int(height * factor)))
    return pixels if factor == 1 else np.asarray(Image.fromarray(pixels).resize(size, resampling))
