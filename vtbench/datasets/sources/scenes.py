"""Scenes: find the two shapes that count. Procedural, needs no download, any resolution, every image with its mask.

The class of an image is the unordered pair of its two *targets*, out of disc, square, triangle and cross: ten classes.
They lie on a textured background among *distractors* (rings, bars, corners, crescents) that say nothing about the
class. Colour, orientation and place say nothing either. The first knobs probe the three motivations for tokens in Wu et
al. 2020 (arXiv 2006.03677):

- ``object_size`` (largest diameter of an object, as a part of the side): *not all pixels matter equally*. At the
  default the two targets cover some 5 % of the pixels, and a quarter of that at half the size; all else is texture.
- ``clutter`` (number of distractors): *not every image holds every concept*. Of eight kinds of object an image holds
  two targets, of one or two kinds, and a random few of the others; more clutter, more concepts that must be told
  apart and ignored.
- ``distance`` (between the centres of the pair, as a part of the side): *convolutions relate distant concepts poorly*.
  Neither target alone tells the class, so a network must bring together what lies this far apart.

``faint`` is the part of all objects, targets and distractors, that are hardly brighter than the texture. Networks learn
to see the others first. With the default of nearly half a narrow network does not solve the task in a short run; where
images are few, too, some runs never learn to see faint objects, and runs of one arm fall into two groups.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from vtbench.datasets.counter_based import derive_key, derive_states
from vtbench.datasets.dataset import ImageSplit, Split
from vtbench.datasets.scene_drawing import PAIRS, TARGETS, SceneLayout, draw_scenes
from vtbench.datasets.source import DATASETS, DatasetSource, Knobs

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB).

_OWN_SIZE = 32
_FAINT = 0.45
_NUM_SAMPLES = 20
"""Scenes that the fingerprint looks at: two of each class."""
_PIXELS_AT_A_TIME = 128 * 32 * 32  # Keeps the intermediate planes of the drawing inside the processor's cache.


class SceneKnobs(Knobs):
    """What can be chosen of the scenes."""

    clutter: int = Field(6, ge=0, le=64, description="number of distractors")
    object_size: float = Field(
        0.28, ge=0.05, le=0.5, description="largest diameter of an object, as a part of the side"
    )
    distance: float = Field(0.5, ge=0, le=1, description="between the centres of the pair, as a part of the side")
    faint: float = Field(
        _FAINT, ge=0, le=1, description="part of all objects that are hardly brighter than the texture"
    )
    num_train: int = Field(4000, ge=10, description="number of training images")
    num_val: int = Field(1000, ge=10, description="number of validation images")

    @model_validator(mode="after")
    def _check_room(self) -> SceneKnobs:
        most = (1 - self.object_size) * 2**0.5
        if self.distance > most:
            raise ValueError(
                f"objects of size {self.object_size} can be at most {most:.2f} apart, but distance is {self.distance}"
            )
        return self


@dataclass(frozen=True)
class SceneSplit:
    """One split of the scenes; each image is drawn from (split, index) and the knobs when it is read."""

    knobs: SceneKnobs
    split: Split
    image_size: tuple[int, int]

    mask_class_names = ("background", *TARGETS)
    class_names = tuple(f"{TARGETS[first]}-{TARGETS[second]}" for first, second in PAIRS)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Classes in turn, so that every split is as balanced as it can be."""
        size = self.knobs.num_train if self.split == "train" else self.knobs.num_val
        return np.arange(size, dtype=np.int64) % len(PAIRS)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the knobs, the split, the size, and of the first scenes as they are drawn.

        The drawn ones make an image cache notice a change of the drawing code, which no version number would do alone.
        """
        left_out = {"num_train", "num_val"}  # More images leave the first as they are.
        if self.knobs.faint == _FAINT:  # Fingerprints from before there was this knob hold.
            left_out.add("faint")
        knobs = self.knobs.model_dump_json(exclude=left_out)
        digest = hashlib.sha256(f"scenes {knobs} {self.split} {self.image_size}".encode())
        digest.update(self.read(np.arange(min(_NUM_SAMPLES, len(self.labels)))).tobytes())
        return digest.hexdigest()

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Draw the images of ``indices``, (B, H, W, C)."""
        return self._draw(indices)[0]

    def read_masks(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Draw the masks of ``indices``, (B, H, W): numbers of ``mask_class_names``."""
        return self._draw(indices)[1]

    def _draw(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        height, width = self.image_size
        layout = SceneLayout(self.knobs.clutter, self.knobs.object_size, self.knobs.distance, self.knobs.faint)
        states = derive_states(derive_key("scenes", self.split), indices)
        images = np.empty((len(indices), height, width, 3), np.uint8)
        masks = np.empty((len(indices), height, width), np.uint8)
        step = max(1, _PIXELS_AT_A_TIME // (height * width))
        for start in range(0, len(indices), step):
            part = slice(start, start + step)
            images[part], masks[part] = draw_scenes(states[part], self.labels[indices[part]], self.image_size, layout)
        return images, masks


def open_scenes(knobs: SceneKnobs, image_size: int | None) -> dict[Split, ImageSplit]:
    """Both splits at ``image_size``, by default 32."""
    side = image_size or _OWN_SIZE
    return {split: SceneSplit(knobs, split, (side, side)) for split in ("train", "val")}


DATASETS.add("scenes", DatasetSource(open_scenes, SceneKnobs))
