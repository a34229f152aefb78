"""What the network of a finished run says of image files: the probability of each class, or the class of each pixel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vtbench.datasets.batches import Normalizer
from vtbench.datasets.decoding import decode_image, decode_whole_image, measure_image
from vtbench.datasets.deep_pixels import check_range
from vtbench.datasets.masked import measure_canvas
from vtbench.datasets.opening import open_image
from vtbench.datasets.source import find_white
from vtbench.tasks import TASKS
from vtbench.tasks.segmentation import resize_scores
from vtbench.training.evaluation import SlidingWindow
from vtbench.training.trained import TrainedRun

# Dimensions: C channels (3, RGB), H height, W width of what the network takes, K classes. h, w: of an image's file.

_MOST_SCORES = 1 << 27
"""Resized at a time: half a gigabyte."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Of one image: its pixels (h, w, C), and either ``probabilities`` (K,) or the class of each pixel (h, w)."""

    picture: NDArray[np.uint8]
    probabilities: NDArray[np.float64] | None = None
    classes: NDArray[np.uint8] | None = None


class Predictor:
    """Reads image files as validation of the run reads its images, and predicts as it does, in single precision.

    One image at a time, so that what is said of it does not depend on which others are asked for. ``white`` is the
    value of white in images of more than 8 bits; None for that of the run's data.
    """

    def __init__(self, run: TrainedRun, device: torch.device, white: float | None = None) -> None:
        self._note, self._task = run.note, TASKS[run.record.task]
        self._model = run.model.to(device)
        self._device = device
        self._predict = SlidingWindow.of(run.record.config.recipe)
        self._white = find_white(run.note.data) if white is None else white
        self._normalize = Normalizer(run.note.mean, run.note.std, run.note.image_size[1])

    def check_range(self, images: Iterable[tuple[bytes, str]]) -> None:
        """Raise `DataError` where it cannot be seen which value is white in image files of more than 8 bits."""
        check_range(((open_image(data, name), data, name) for data, name in images), self._white, "--white NUMBER")

    def __call__(self, data: bytes, name: str) -> Prediction:
        """What the network says of one image file, called ``name`` in messages. Raises `DataError` if it is none."""
        size, image_size = measure_image(data, name), self._note.image_size
        decode = decode_whole_image if self._task.answers_with_masks else decode_image
        pixels_HWC = torch.from_numpy(np.array(decode(data, name, image_size, self._white)))
        picture_hwC = decode_whole_image(data, name, size, self._white)
        with torch.inference_mode():
            scores = self._predict(self._model, self._normalize(pixels_HWC[None]).to(self._device))
            if scores.ndim == 2:
                return Prediction(picture_hwC, probabilities=scores[0].double().softmax(0).cpu().numpy())
            return Prediction(picture_hwC, classes=choose_classes(scores, measure_canvas(size, image_size), size))


def choose_classes(scores_1KHW: Tensor, canvas: tuple[int, int], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The class of the largest score of each pixel, (h, w), of an image of ``size`` that with its margin is ``canvas``.

    Scores are brought to that size as evaluation does it, a few classes at a time where they are many.
    """
    at_a_time = max(1, _MOST_SCORES // (canvas[0] * canvas[1]))
    best_hw, classes_hw = None, torch.empty(0)
    for first in range(0, scores_1KHW.shape[1], at_a_time):
        part_Khw = resize_scores(scores_1KHW[:, first : first + at_a_time], canvas)[0, :, : size[0], : size[1]]
        largest_hw, at_hw = part_Khw.max(0)
        if best_hw is None:
            best_hw, classes_hw = largest_hw, at_hw
        else:
            classes_hw = torch.where(largest_hw > best_hw, at_hw + first, classes_hw)
            best_hw = torch.maximum(best_hw, largest_hw)
    return np.asarray(classes_hw.to(torch.uint8).cpu().numpy())
