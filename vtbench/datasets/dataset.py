"""What a data set is to the rest of the house: labelled images that can be read in bulk by index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vtbench.errors import UserError, format_names

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB).

Split = Literal["train", "val"]

VOID = 255
"""The value of a pixel of a mask that belongs to no class and counts nowhere."""


HOW_TO_GIVE_MASKS = (
    "Give them to a data set of yours: folder:PATH,num_classes=NUMBER with a folder masks/ beside images/, or a column "
    "of mask files, parquet:PATH,mask=COLUMN,num_classes=NUMBER; classes= may name what their values mean instead. Or "
    "take scenes, which has a mask for every image."
)
"""What a message says when data without masks are asked for them."""


class DataError(UserError):
    """The data is not what it was said to be: corrupt, changed or gone. May come in mid-run."""


class Images(Protocol):
    """Anything that gives images by index: the cache, memory, or a split that decodes them. It can be pickled."""

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images of shape (B, H, W, C) for ``indices`` of shape (B,), a pure function of them. Raises `DataError`."""


class ImageSplit(Images, Protocol):
    """What a source gives for one split, whole: before any limit, not yet decoded. All images have one size."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name for each label."""

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """The label of every image, each in ``range(len(class_names))``; `read` goes by the same index."""

    @property
    def fingerprint(self) -> str:
        """A hash of what the images are, the same on every machine: it goes into the certificate of a run."""


class ImageDataset(ImageSplit, Protocol):
    """One split of a data set as a run sees it: cut to its limit, with what images are normalised by."""

    @property
    def name(self) -> str:
        """The canonical text that ``--data`` takes to get this data set, knobs included."""

    @property
    def rows(self) -> NDArray[np.int64]:
        """The places of the images in the whole split, ascending."""

    @property
    def content(self) -> str:
        """A hash of the whole split, before any limit: the same for every seed, and wherever the data lie."""

    @property
    def mean(self) -> tuple[float, float, float]:
        """Channel means of the whole training split, of pixels scaled to 0..1."""

    @property
    def std(self) -> tuple[float, float, float]:
        """Channel standard deviations of the whole training split, of pixels scaled to 0..1."""

    def __len__(self) -> int:
        """Number of images."""


@runtime_checkable
class TellsTaken(Protocol):
    """A split that was chosen out of what the user's files hold, and can say what was."""

    @property
    def taken(self) -> Mapping[str, str]:
        """For each part, such as image, label, mask, train or val, what the data call it."""


def list_taken(data: object) -> dict[str, str]:
    """What `TellsTaken` tells of ``data``; nothing of data that leave no choice."""
    return dict(data.taken) if isinstance(data, TellsTaken) else {}


def describe_taken(data: object) -> str | None:
    """One line for the user, in which each part is spelt as the knob is that would change it; None without a choice."""
    taken = ", ".join(f"{part}={format_names([name])}" for part, name in list_taken(data).items())
    return f"taken from the data: {taken}" if taken else None


@runtime_checkable
class HasFiles(Protocol):
    """A split whose images lie encoded in files, or in cells of a table."""

    def fetch(self, indices: NDArray[np.int64]) -> list[tuple[bytes, str]]:
        """The content of the image files ``indices``, not decoded, and what to call each in a message."""


@runtime_checkable
class NeedsPacking(Protocol):
    """A split that is slow to read out of order, and is copied to where it is not when it cannot be held decoded."""

    def pack(self, rows: NDArray[np.int64]) -> Images:
        """The images ``rows``, in that order, where they can be read at random."""


@runtime_checkable
class InGroups(Protocol):
    """A split of which one image costs as much as those beside it: drawn from few groups at a time."""

    @property
    def group_starts(self) -> NDArray[np.int64]:
        """The first image of each group, ascending, (G,)."""

    @property
    def window(self) -> int:
        """How many groups are shuffled together."""


@runtime_checkable
class DrawnInWindows(Protocol):
    """A data set whose order in training is that of `shuffle_in_windows`."""

    @property
    def groups(self) -> tuple[NDArray[np.int64], int] | None:
        """The group of each image, (N,), and the window; None for one that is shuffled whole."""


@runtime_checkable
class HasOriginalMasks(Protocol):
    """Data whose masks can be had as large as they were made."""

    def read_original_masks(self, indices: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """One mask of shape (H_i, W_i) for each of ``indices``, as `HasMasks.read_masks` but not resized."""


@runtime_checkable
class HasSides(Protocol):
    """Data some of whose classes of a pixel are the left and the right of one thing."""

    @property
    def left_right(self) -> tuple[tuple[int, int], ...]:
        """Pairs of classes that a mirrored image exchanges."""


@runtime_checkable
class HasMaskFiles(Protocol):
    """Data whose masks may lie in files, with values and colours of their own."""

    @property
    def mask_values(self) -> tuple[int, ...]:
        """The value that stands for each class in a file of ids; empty where there are no files."""

    @property
    def mask_palette(self) -> tuple[tuple[int, int, int], ...]:
        """The colour of each class; empty where the data set says none."""


@runtime_checkable
class HasMasks(Protocol):
    """A split whose images come with per-pixel class ids, each the number of a name."""

    @property
    def mask_class_names(self) -> tuple[str, ...]:
        """One name for each class of a pixel."""

    def read_masks(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Masks of shape (B, H, W) for ``indices`` of shape (B,): numbers of `mask_class_names`, or `VOID`."""
