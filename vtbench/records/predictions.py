"""The record of ``vtbench predict``: which classes a network sees in images, how sure it is, how much they fill."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from vtbench.records.record import Record


class ClassProbabilityRecord(Record):
    """A class of an image; ``probability`` is the softmax of the network's scores, 0 to 1."""

    name: str
    probability: float


class ClassPixelsRecord(Record):
    """A class that some pixels of an image got; ``value`` stands for it in the mask."""

    name: str
    value: int
    pixels: int
    percent: float


class ImagePredictionRecord(Record):
    """One image, as it was named, and its size (height, width).

    Of classification the most probable classes, the first first; of segmentation the classes by their pixels, and the
    files of mask and overlay, relative to the folder of the predictions.
    """

    image: str
    size: tuple[int, int]
    probabilities: tuple[ClassProbabilityRecord, ...] = ()
    pixels: tuple[ClassPixelsRecord, ...] = ()
    mask: str | None = None
    overlay: str | None = None


class PredictionsRecord(Record):
    """All images of a call, and the network that was asked, with ``settings`` instead of its run's own."""

    format: Literal[1] = 1
    task: str
    variant: str
    run: str
    weights_sha256: str | None
    settings: dict[str, Any] = Field({})
    images: tuple[ImagePredictionRecord, ...]
