"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) by torchvision, which downloads them and checks their checksums."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from vtbench.datasets.cache import find_cache_folder
from vtbench.datasets.class_labels import check_classes
from vtbench.datasets.dataset import ImageSplit, Split
from vtbench.datasets.source import DATASETS, DatasetSource, Knobs
from vtbench.errors import UserError
from vtbench.files import expand_home

# Dimensions: B images of a batch, N images of the split, H height, W width, C channels (3, RGB).

_OWN_SIZE = 32

Name = Literal["CIFAR10", "CIFAR100"]


class CifarKnobs(Knobs):
    """Where the files are kept."""

    root: str | None = Field(None, description="folder to download to and read from; by default in the cache folder")


@dataclass(frozen=True, eq=False)
class CifarSplit:
    """One split, held in memory at 32x32 and resized when read."""

    pixels_NHWC: NDArray[np.uint8]  # noqa: N815
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    fingerprint: str

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images of ``indices``, (B, H, W, C), resized bilinearly."""
        images_BHWC = self.pixels_NHWC[indices]
        if images_BHWC.shape[1:3] == self.image_size:
            return images_BHWC
        height, width = self.image_size
        resized = [Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR) for image in images_BHWC]
        return np.stack([np.asarray(image) for image in resized])


def open_cifar(name: Name, knobs: CifarKnobs, image_size: int | None) -> dict[Split, ImageSplit]:
    """Both splits; the test images are ``val``. Raises ``UserError`` when they are not there and cannot be fetched."""
    root = expand_home(knobs.root) if knobs.root else find_cache_folder() / "cifar"
    side = image_size or _OWN_SIZE
    splits = {"train": _open_split(name, root, side, train=True), "val": _open_split(name, root, side, train=False)}
    labels: dict[Split, NDArray[np.int64]] = {"train": splits["train"].labels, "val": splits["val"].labels}
    check_classes(splits["train"].class_names, labels, f"{name} in {root}", "Put the whole data set there.")
    return {"train": splits["train"], "val": splits["val"]}


def _open_split(name: Name, root: Path, side: int, *, train: bool) -> CifarSplit:
    files = _load(name, root, train=train)
    split = "train" if train else "test"
    return CifarSplit(
        pixels_NHWC=files.data,
        labels=np.asarray(files.targets, np.int64),
        class_names=tuple(files.classes),
        image_size=(side, side),
        fingerprint=hashlib.sha256(f"{name} {files.tgz_md5} {split}".encode()).hexdigest(),
    )


def _load(name: Name, root: Path, *, train: bool) -> Any:
    from torchvision import datasets

    kind = getattr(datasets, name)
    try:
        return kind(root, train=train, download=True)
    except (OSError, RuntimeError) as error:  # No network is an OSError, a wrong checksum a RuntimeError.
        raise UserError(
            f"{name} is not in {root} and could not be downloaded: {error}. Check the network, or put the folder "
            f"{kind.base_folder} of the unpacked {kind.filename} there yourself (another place: "
            f"{name.lower()}:root=FOLDER). The data set scenes needs no download."
        ) from error


for _name in ("CIFAR10", "CIFAR100"):
    DATASETS.add(_name.lower(), DatasetSource(partial(open_cifar, _name), CifarKnobs))
