"""What vtbench makes of a data set before any training: splits, images, classes, masks, and what stands in it twice.

Numbers of images are of whole splits, without a limit. What is measured on the images themselves is of up to so many
as ``num_looked_at`` says, spread evenly over the split.
"""

from __future__ import annotations

from typing import Literal

from vtbench.records.record import NotMeasured, Record


class ImageSizes(Record):
    """Heights and widths as they stand in the files, ordered by the number of pixels."""

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]


class SplitRecord(Record):
    """One split. ``kinds`` counts images by format and mode, such as ``PNG RGB``.

    ``content`` is the hash that the certificate of a run has, ``is_sampled`` whether it rests on parts of the files.
    """

    split: Literal["train", "val"]
    num_images: int
    num_looked_at: int
    sizes: ImageSizes
    kinds: dict[str, int]
    content: str
    is_sampled: bool


class ClassRecord(Record):
    """How many images of each split have the label ``number``."""

    number: int
    name: str
    num_train: int
    num_val: int


class PixelClassRecord(Record):
    """The share of a class in all pixels that have one, and in how many of the masks that were looked at it is seen."""

    number: int
    name: str
    train_percent: float
    val_percent: float
    num_train: int
    num_val: int


class MaskRecord(Record):
    """The masks of one split: ``values`` as they stand in the files, empty for colours and for masks without files."""

    split: Literal["train", "val"]
    num_looked_at: int
    values: tuple[int, ...]
    void_percent: float


class DuplicatesRecord(Record):
    """How many images repeat an earlier one of their split, and how many of ``val`` stand in ``train``.

    ``num_relabelled`` of these have another label there. ``shared`` names the first few pairs (validation, training).
    Images are compared by ``by``: their pixels as the network sees them, or, where a split is large, their files.
    """

    by: Literal["pixels", "files"]
    num_train: int
    num_val: int
    num_shared: int
    num_relabelled: int
    shared: tuple[tuple[str, str], ...]


class DataRecord(Record):
    """One data set. ``taken`` is what the data call each part, ``image_size`` (height, width) what networks are given.

    ``mean`` and ``std`` are those of the channels of the training images that were looked at, of pixels scaled to 0..1.
    """

    data: str
    tasks: tuple[str, ...]
    taken: dict[str, str]
    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    splits: tuple[SplitRecord, SplitRecord]
    classes: tuple[ClassRecord, ...]
    pixel_classes: tuple[PixelClassRecord, ...]
    masks: tuple[MaskRecord, ...]
    duplicates: DuplicatesRecord | NotMeasured
