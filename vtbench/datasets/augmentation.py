"""Augmentation of whole batches of uint8 images, every draw a pure function of (seed, epoch, sample index).

Random crop after reflection padding is one gather of whole rows, mirroring one more copy: no loop visits the images.
AutoAugment (Cubuk et al. 2019, arXiv 1805.09501) goes through torchvision image by image, with the draws handed to it,
and so do RandAugment, colour jitter and random erasing (`colour_augmentation`); `mixing` mixes images of a batch.
Masks follow their images with the same draws, and never hold a value that they did not hold before, save void.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vtbench.configuration import AugmentationConfig
from vtbench.datasets.colour_augmentation import (
    DRAWS_OF_AN_OPERATION,
    NUM_ERASING_DRAWS,
    NUM_JITTER_DRAWS,
    erase,
    jitter_colours,
    rand_augment,
)
from vtbench.datasets.counter_based import derive_key, draw_words, to_below, to_unit
from vtbench.datasets.dataset import VOID, ImageDataset
from vtbench.datasets.mixing import Mix, draw_mix
from vtbench.datasets.windows import Windows, cut_images, cut_masks, draw_windows

# Dimensions: B images of a batch, H height, W width, C channels (3, RGB), N samples, D draws.

NUM_AUTO_AUGMENT_DRAWS = 5  # Policy, 2 probabilities, 2 signs.
_NUM_DRAWS = 3 + NUM_AUTO_AUGMENT_DRAWS
_SMALL_SIDE = 64


@dataclass(frozen=True)
class AugmentationDraws:
    """What was drawn for N samples of one epoch: three arrays of shape (N,), others of (N, D), maybe windows and mixes.

    What is switched off has no draws. ``top`` and ``left`` count from the corner of the image with ``padding`` pixels
    on each side.
    """

    padding: int
    top: NDArray[np.int64]
    left: NDArray[np.int64]
    flip: NDArray[np.bool_]
    auto_augment: NDArray[np.uint64]
    windows: Windows | None = None
    rand_augment: NDArray[np.uint64] | None = None
    color_jitter: NDArray[np.uint64] | None = None
    erasing: NDArray[np.uint64] | None = None
    mix: Mix | None = None


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of one run on images of one size; ``fill`` is the colour of what lies beyond an image."""

    config: AugmentationConfig
    seed: int
    image_size: tuple[int, int]
    fill: tuple[int, int, int] = (0, 0, 0)

    @classmethod
    def of_data(cls, config: AugmentationConfig, seed: int, data: ImageDataset) -> Augmentation:
        """That of the images of ``data``, with their mean colour beyond them."""
        red, green, blue = (round(255 * mean) for mean in data.mean)
        return cls(config, seed, data.image_size, (red, green, blue))

    @property
    def output_size(self) -> tuple[int, int]:
        """Height and width of what `apply` gives."""
        return self.config.crop or self.image_size

    @property
    def padding(self) -> int:
        """Pixels of reflection on each side: ``crop_padding`` for each 32 pixels of the shorter side, rounded."""
        side = min(self.image_size)
        return min(round(self.config.crop_padding * side / 32), side - 1)

    def draw(self, epoch: int, indices_N: NDArray[np.int64]) -> AugmentationDraws:
        """Draw for the samples ``indices_N`` in ``epoch``. What is switched off is drawn and not used."""
        words_ND = draw_words(derive_key("augmentation", self.seed, epoch), indices_N, _NUM_DRAWS)
        return AugmentationDraws(
            padding=self.padding,
            top=to_below(words_ND[:, 0], 2 * self.padding + 1),
            left=to_below(words_ND[:, 1], 2 * self.padding + 1),
            flip=(to_below(words_ND[:, 2], 2) == 1) & self.config.flip,
            auto_augment=words_ND[:, 3:] if self.config.auto_augment else words_ND[:, :0],
            windows=self._draw_windows(epoch, indices_N) if self.config.cuts_windows else None,
            **self._draw_later(epoch, indices_N),
        )

    def _draw_later(self, epoch: int, indices_N: NDArray[np.int64]) -> dict[str, Any]:
        """The draws of what came after the first augmentations: each a stream of its own, so that those stay."""
        config = self.config
        wanted = {
            "rand_augment": DRAWS_OF_AN_OPERATION * config.rand_augment,
            "color_jitter": NUM_JITTER_DRAWS if config.color_jitter or config.color_jitter_hue else 0,
            "erasing": NUM_ERASING_DRAWS if config.random_erasing else 0,
        }
        drawn: dict[str, Any] = {
            name: draw_words(derive_key(name, self.seed, epoch), indices_N, number)
            for name, number in wanted.items()
            if number
        }
        if config.mixes:
            drawn["mix"] = draw_mix(derive_key("mix", self.seed, epoch), indices_N, config, self.output_size)
        return drawn

    def _draw_windows(self, epoch: int, indices_N: NDArray[np.int64]) -> Windows:
        key = derive_key("windows", self.seed, epoch)  # A stream of its own, so that the others stay as they were.
        return draw_windows(key, indices_N, self.image_size, self.output_size, self.config.scale or (1.0, 1.0))

    def apply(self, images_BHWC: NDArray[np.uint8], draws: AugmentationDraws) -> NDArray[np.uint8]:
        """Augment the images that ``draws`` were drawn for, to `output_size`; the input is not changed.

        They are not mixed here, which takes a whole batch.
        """
        config = self.config
        if config.auto_augment:
            images_BHWC = apply_auto_augment(images_BHWC, draws.auto_augment)
        if draws.rand_augment is not None:
            images_BHWC = rand_augment(images_BHWC, draws.rand_augment, config.rand_augment_magnitude, self.fill)
        if draws.windows is not None:
            images_BHWC = cut_images(images_BHWC, draws.windows, self.output_size, self.fill)
        else:
            images_BHWC = crop(images_BHWC, draws.top, draws.left, draws.padding)
        flipped = np.flatnonzero(draws.flip)
        images_BHWC[flipped] = mirror(images_BHWC[flipped])
        if draws.color_jitter is not None:
            images_BHWC = jitter_colours(images_BHWC, draws.color_jitter, config.color_jitter, config.color_jitter_hue)
        if draws.erasing is not None:
            images_BHWC = erase(images_BHWC, draws.erasing, config.random_erasing, self.fill)
        return images_BHWC

    def apply_to_masks(self, masks_BHW: NDArray[np.uint8], draws: AugmentationDraws) -> NDArray[np.uint8]:
        """Do to masks what `apply` does to their images; ``swap_on_flip`` exchanges classes where one is mirrored."""
        if draws.windows is not None:
            masks_BHW = cut_masks(masks_BHW, draws.windows, self.output_size)
        else:
            masks_BHW = crop(masks_BHW[..., None], draws.top, draws.left, draws.padding)[..., 0]
        flipped = np.flatnonzero(draws.flip)
        masks_BHW[flipped] = self._swapped_classes[masks_BHW[flipped][:, :, ::-1]]
        return masks_BHW

    @property
    def _swapped_classes(self) -> NDArray[np.uint8]:
        classes = np.arange(VOID + 1, dtype=np.uint8)
        for left, right in self.config.swap_on_flip:
            classes[[left, right]] = right, left
        return classes

    def hash(self, epochs: int, num_samples: int) -> str:
        """SHA-256 over the settings and every draw of ``epochs`` epochs: equal hashes, equal augmentation."""
        digest = hashlib.sha256(f"{self.config.model_dump_json()} {self.image_size}".encode())
        indices = np.arange(num_samples, dtype=np.int64)
        for epoch in range(epochs):
            draws = self.draw(epoch, indices)
            windows = () if draws.windows is None else draws.windows
            mix = () if draws.mix is None else (draws.mix.share, draws.mix.box)
            later = [one for one in (draws.rand_augment, draws.color_jitter, draws.erasing, *mix) if one is not None]
            for drawn in (draws.top, draws.left, draws.flip, draws.auto_augment, *windows, *later):
                digest.update(np.ascontiguousarray(drawn, dtype=drawn.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()


def crop(
    images_BHWC: NDArray[np.uint8], top_B: NDArray[np.int64], left_B: NDArray[np.int64], padding: int
) -> NDArray[np.uint8]:
    """Reflect-pad by ``padding`` (below the side) and cut out the original size at (top, left) of the padded image.

    Only the columns are really padded; a row of the padding is a row of the image, so rows are picked by number.
    """
    batch, height, width, channels = images_BHWC.shape
    if padding == 0:
        return images_BHWC.copy()
    wide_BHWC = np.empty((batch, height, width + 2 * padding, channels), np.uint8)
    wide_BHWC[:, :, padding : padding + width] = images_BHWC
    wide_BHWC[:, :, :padding] = images_BHWC[:, :, padding:0:-1]
    wide_BHWC[:, :, padding + width :] = images_BHWC[:, :, -2 : -2 - padding : -1]
    rows_BH = np.abs(top_B[:, None] - padding + np.arange(height))
    rows_BH = height - 1 - np.abs(height - 1 - rows_BH)
    first_BH = (np.arange(batch)[:, None] * height + rows_BH) * (width + 2 * padding) + left_B[:, None]
    windows = np.lib.stride_tricks.as_strided(  # Every run of one row's bytes that starts at a pixel.
        wide_BHWC,
        shape=(batch * height * (width + 2 * padding) - width + 1, width * channels),
        strides=(channels, 1),
        writeable=False,
    )
    cut: NDArray[np.uint8] = windows[first_BH].reshape(batch, height, width, channels)
    return cut


def mirror(images_BHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Swap left and right. A channel at a time is four times as fast as pixels of three bytes."""
    mirrored_BHWC = np.empty_like(images_BHWC)
    for channel in range(images_BHWC.shape[3]):
        mirrored_BHWC[..., channel] = images_BHWC[:, :, ::-1, channel]
    return mirrored_BHWC


def apply_auto_augment(images_BHWC: NDArray[np.uint8], words_BD: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Augment each image by the words drawn for it. Sides up to 64 pixels use CIFAR-10's policy, larger ImageNet's."""
    from torchvision.transforms import AutoAugment, AutoAugmentPolicy  # Slow to import, and seldom wanted.

    small = min(images_BHWC.shape[1:3]) <= _SMALL_SIDE
    transform = AutoAugment(AutoAugmentPolicy.CIFAR10 if small else AutoAugmentPolicy.IMAGENET)
    policies_B = to_below(words_BD[:, 0], len(transform.policies))
    probabilities_B2 = torch.from_numpy(to_unit(words_BD[:, 1:3]))
    signs_B2 = torch.from_numpy(to_below(words_BD[:, 3:5], 2))
    images_BCHW = torch.from_numpy(np.ascontiguousarray(images_BHWC.transpose(0, 3, 1, 2)))
    for index, image_CHW in enumerate(images_BCHW):
        # What its forward asks for in place of global random numbers: sub-policy, probabilities and signs.
        drawn = int(policies_B[index]), probabilities_B2[index], signs_B2[index]
        transform.get_params = partial(_hand_over, drawn)
        images_BCHW[index] = transform(image_CHW)
    return np.ascontiguousarray(images_BCHW.numpy().transpose(0, 2, 3, 1))


def _hand_over(
    drawn: tuple[int, torch.Tensor, torch.Tensor], num_policies: int
) -> tuple[int, torch.Tensor, torch.Tensor]:
    return drawn
