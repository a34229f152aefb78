"""What classification is judged by besides top-1: the five largest scores, and how far confidence can be trusted."""

from __future__ import annotations

import torch
from torch import Tensor

from vtbench.metrics import ECE, TOP5
from vtbench.records import NotMeasured
from vtbench.records.evaluation import ConfidenceBinRecord

# B images of a batch, N of a split, K classes.

NUM_BINS = 15
"""Of equal width (Guo et al. 2017, On Calibration of Modern Neural Networks, section 2)."""
_TOP = 5
_BELOW_ONE = 1 - 2**-24
"""The largest number below 1 in single precision: torchmetrics 1.9.0 has a bin of its own for a confidence of 1."""


class ConfidenceKeeper:
    """Hears the scores of every batch and keeps of each image two numbers and the rank of the truth."""

    def __init__(self) -> None:
        self._confidence: list[Tensor] = []
        self._is_right: list[Tensor] = []
        self._in_top: list[Tensor] = []

    def hear(self, logits_BK: Tensor, labels_B: Tensor) -> None:
        """Keep what a batch says; ``labels_B`` lie in main memory."""
        from torchmetrics.functional.classification import multiclass_accuracy

        logits_BK = logits_BK.float().cpu()
        confidence_B, predicted_B = logits_BK.double().softmax(1).max(1)
        self._confidence.append(confidence_B.clamp(max=_BELOW_ONE))
        self._is_right.append(predicted_B == labels_B)
        if (num_classes := logits_BK.shape[1]) > _TOP:
            share = multiclass_accuracy(logits_BK, labels_B, num_classes, average="micro", top_k=_TOP)
            self._in_top.append((share.double() * len(labels_B)).round())

    def measure(self) -> tuple[dict[str, float | NotMeasured], tuple[ConfidenceBinRecord, ...]]:
        """Top-5 accuracy and the expected calibration error in percent, and the bins of the latter that hold images.

        The error is the mean of abs(accuracy - confidence) over the bins, weighted by their images.
        """
        from torchmetrics.functional.classification import binary_calibration_error

        confidence_N, is_right_N = torch.cat(self._confidence), torch.cat(self._is_right)
        error = binary_calibration_error(confidence_N, is_right_N.long(), n_bins=NUM_BINS, norm="l1")
        top5: float | NotMeasured = NotMeasured(reason=f"there are no more than {_TOP} classes")
        if self._in_top:
            top5 = 100 * float(torch.stack(self._in_top).sum()) / len(confidence_N)
        places_N = (confidence_N * NUM_BINS).long().clamp(max=NUM_BINS - 1)
        bins = tuple(
            ConfidenceBinRecord(
                images=int(inside_N.sum()),
                confidence_percent=100 * float(confidence_N[inside_N].mean()),
                accuracy_percent=100 * float(is_right_N[inside_N].double().mean()),
            )
            for inside_N in (places_N == place for place in range(NUM_BINS))
            if inside_N.any()
        )
        return {TOP5.key: top5, ECE.key: 100 * float(error)}, bins
