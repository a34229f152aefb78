"""The linear layer from features to class scores."""

from __future__ import annotations

from torch import nn


class Classifier(nn.Linear):
    """``nn.Linear`` whose MACs are booked as the classifier's. Features (B, F) -> scores (B, num_classes)."""

    role = "classifier"
