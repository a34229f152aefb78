"""Draw scenes in bulk: a pair of target shapes over distractors over a textured background.

Only additions, multiplications, divisions, square roots and comparisons are used, one NumPy operation at a time: these
are exactly rounded by IEEE 754, so that the same index gives the same bytes on every machine. Directions come from a
rational parametrisation of the circle instead of sine and cosine, waves are triangular.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtbench.datasets.counter_based import draw_from, to_below, to_unit

# Dimensions: B images, H height, W width, C channels (3, RGB), S object slots, N objects of one kind, G noise grid.

Floats = NDArray[np.float32]

TARGETS = ("disc", "square", "triangle", "cross")
DISTRACTORS = ("ring", "bar", "corner", "crescent")
PAIRS = tuple((first, second) for first in range(4) for second in range(first, 4))
"""The ten classes: unordered pairs of targets, with repetition."""

_DRAWS_A_SLOT = 16
_FIRST_SLOT_DRAW = 256
_NUM_CANDIDATES = 8
_DARKEST, _BRIGHTEST = 40, 110  # Of the background's base colour, on a scale to 255.
_TEXTURE_AMPLITUDE = 16.0
_NOISE_CELLS = 5


@dataclass(frozen=True)
class SceneLayout:
    """What the knobs say, as numbers for drawing: sizes and distances are parts of the image's side."""

    clutter: int
    object_size: float
    distance: float
    faint: float


def draw_scenes(
    states_B: NDArray[np.uint64], labels_B: NDArray[np.int64], image_size: tuple[int, int], layout: SceneLayout
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images of shape (B, H, W, C) and masks of shape (B, H, W) for one generator state and one label per image.

    A mask holds 0 for background and distractors, and 1 to 4 for disc, square, triangle and cross.
    """
    height, width = image_size
    base_BC, canvas_BHWC = _draw_background(states_B, height, width)
    mask_BHW = np.zeros((len(states_B), height, width), np.uint8)
    pairs_B2 = np.asarray(PAIRS)[labels_B]
    swap_B = to_below(draw_from(states_B, 1, first=0), 2)[:, 0] == 1
    pairs_B2[swap_B] = pairs_B2[swap_B][:, ::-1]
    centres_B2X = _place_pair(states_B, layout)
    for slot in range(layout.clutter + 2):
        words_BD = draw_from(states_B, _DRAWS_A_SLOT, first=_FIRST_SLOT_DRAW + slot * _DRAWS_A_SLOT)
        target = slot - layout.clutter  # Targets come last and so lie on top.
        if target < 0:
            kinds_B = len(TARGETS) + to_below(words_BD[:, 0], len(DISTRACTORS))
            centres_BX = to_unit(words_BD[:, 1:3])
        else:
            kinds_B = pairs_B2[:, target]
            centres_BX = centres_B2X[:, target]
        cover_BHW = _cover(kinds_B, centres_BX, words_BD, (height, width), layout.object_size)
        colours_BC = _pick_colours(base_BC, words_BD, layout.faint)
        for channel in range(3):
            plane_BHW = canvas_BHWC[..., channel]
            plane_BHW += cover_BHW * (colours_BC[:, channel, None, None] - plane_BHW)
        if target >= 0:
            np.copyto(mask_BHW, (kinds_B + 1).astype(np.uint8)[:, None, None], where=cover_BHW >= 0.5)
    return (np.clip(canvas_BHWC, 0, 255) + np.float32(0.5)).astype(np.uint8), mask_BHW


def _draw_background(states_B: NDArray[np.uint64], height: int, width: int) -> tuple[Floats, Floats]:
    """The base colour of each image, and the canvas: base colour, two triangular gratings and coarse value noise."""
    units_BD = to_unit(draw_from(states_B, 16, first=1)).astype(np.float32)
    base_BC = _DARKEST + (_BRIGHTEST - _DARKEST) * units_BD[:, :3]
    rows_H, columns_W = _pixel_centres(height), _pixel_centres(width)
    texture_BHW = _interpolate_noise(states_B, rows_H, columns_W)
    for grating in range(2):
        direction_BX = _unit_vectors(units_BD[:, 3 + 4 * grating])
        frequency_B = 2 + 6 * units_BD[:, 4 + 4 * grating]
        phase_B = units_BD[:, 5 + 4 * grating]
        across_BW = (frequency_B * direction_BX[:, 0])[:, None] * columns_W + phase_B[:, None]
        down_BH = (frequency_B * direction_BX[:, 1])[:, None] * rows_H
        wave_BHW = across_BW[:, None, :] + down_BH[:, :, None]
        wave_BHW -= np.floor(wave_BHW)
        texture_BHW += np.abs(4 * wave_BHW - 2) - 1
    tint_BC = np.float32(_TEXTURE_AMPLITUDE) * (np.float32(0.5) + units_BD[:, 11:14])
    canvas_BHWC = np.empty((len(states_B), height, width, 3), np.float32)
    for channel in range(3):
        canvas_BHWC[..., channel] = texture_BHW * tint_BC[:, channel, None, None] + base_BC[:, channel, None, None]
    return base_BC, canvas_BHWC


def _interpolate_noise(states_B: NDArray[np.uint64], rows_H: Floats, columns_W: Floats) -> Floats:
    """Value noise in -1..1: random numbers on a coarse grid, interpolated bilinearly to every pixel."""
    size = _NOISE_CELLS + 1
    grid_BGG = 2 * to_unit(draw_from(states_B, size * size, first=64)).astype(np.float32).reshape(-1, size, size) - 1
    low_H, part_H = _grid_position(rows_H)
    low_W, part_W = _grid_position(columns_W)
    by_row_BHG = grid_BGG[:, low_H] + (grid_BGG[:, low_H + 1] - grid_BGG[:, low_H]) * part_H[:, None]
    noise: Floats = by_row_BHG[..., low_W] + (by_row_BHG[..., low_W + 1] - by_row_BHG[..., low_W]) * part_W
    return noise


def _place_pair(states_B: NDArray[np.uint64], layout: SceneLayout) -> NDArray[np.float64]:
    """Centres (x, y) of the two targets, (B, 2, 2): ``distance`` apart, in a random direction in which both fit."""
    room = 1 - layout.object_size
    units_BD = to_unit(draw_from(states_B, _NUM_CANDIDATES + 2, first=32))
    offsets_BKX = layout.distance * _unit_vectors(units_BD[:, :_NUM_CANDIDATES])
    diagonal = np.full((len(states_B), 1, 2), layout.distance * np.sqrt(0.5))
    offsets_BKX = np.concatenate([offsets_BKX, diagonal], axis=1)
    fits_BK = np.abs(offsets_BKX).max(axis=-1) <= room
    fits_BK[:, -1] = True
    offset_BX = offsets_BKX[np.arange(len(states_B)), fits_BK.argmax(axis=1)]
    slack_BX = np.maximum(room - np.abs(offset_BX), 0)
    low_BX = layout.object_size / 2 + slack_BX * units_BD[:, _NUM_CANDIDATES:]
    first_BX = low_BX + np.maximum(-offset_BX, 0)
    return np.stack([first_BX, first_BX + offset_BX], axis=1)


def _pick_colours(base_BC: Floats, words_BD: NDArray[np.uint64], faint: float) -> Floats:
    """A colour brighter than the background's base colour in every channel: by 70 to 140, or by 6 to 28 if faint.

    One sign for all objects lets a network find the shapes within few epochs; hue and strength still say nothing.
    """
    faint_B1, place_B1 = to_unit(words_BD[:, 6:7]) < faint, to_unit(words_BD[:, 7:8])
    strength_B1 = np.where(faint_B1, 0.07 + 0.13 * place_B1, 0.75 + 0.25 * place_B1)
    tint_BC = 90 + 50 * to_unit(words_BD[:, 8:11])
    return (base_BC + strength_B1 * tint_BC).astype(np.float32)


def _cover(
    kinds_B: NDArray[np.int64],
    centres_BX: NDArray[np.float64],
    words_BD: NDArray[np.uint64],
    image_size: tuple[int, int],
    object_size: float,
) -> Floats:
    """How much of each pixel the object covers, 0 to 1, of shape (B, H, W); edges are one pixel soft.

    An object is turned by up to 45 degrees either way, which for square and cross is every way there is.
    """
    height, width = image_size
    radius = 0.5 * object_size * min(height, width) * (0.65 + 0.35 * to_unit(words_BD[:, 3]))
    axis_BX = _unit_vectors(to_unit(words_BD[:, 4]) / 4) / radius[:, None]
    x_BW = (_pixel_centres(width) - centres_BX[:, :1]) * width
    y_BH = (_pixel_centres(height) - centres_BX[:, 1:]) * height
    cosine_B, sine_B = axis_BX[:, :1], axis_BX[:, 1:]
    x_by_cosine_BW, x_by_sine_BW = (x_BW * cosine_B).astype(np.float32), (x_BW * sine_B).astype(np.float32)
    y_by_cosine_BH, y_by_sine_BH = (y_BH * cosine_B).astype(np.float32), (y_BH * sine_B).astype(np.float32)
    cover_BHW = np.empty((len(kinds_B), height, width), np.float32)
    for kind, measure in enumerate(_SHAPES):
        chosen = np.flatnonzero(kinds_B == kind)
        if len(chosen) == 0:
            continue
        u_NHW = x_by_cosine_BW[chosen, None, :] + y_by_sine_BH[chosen, :, None]
        v_NHW = y_by_cosine_BH[chosen, :, None] - x_by_sine_BW[chosen, None, :]
        outside_NHW = measure(u_NHW, v_NHW)
        outside_NHW *= -radius[chosen].astype(np.float32)[:, None, None]
        outside_NHW += np.float32(0.5)
        cover_BHW[chosen] = np.clip(outside_NHW, 0, 1, out=outside_NHW)
    return cover_BHW


def _unit_vectors(turns: NDArray[np.floating]) -> NDArray[np.floating]:
    """Points on the circle, a new last axis of (x, y), for numbers in 0..1 (nearly uniform in angle)."""
    quarter = np.floor(turns * 4)
    t = 2 * (turns * 4 - quarter) - 1  # A quarter turn about an axis is t = tan(angle / 2) up to tan(22.5 degrees).
    t = t * np.float32(0.41421357)
    scale = 1 / (1 + t * t)
    x, y = (1 - t * t) * scale, 2 * t * scale
    horizontal, positive = (quarter % 2) == 0, quarter < 2
    sign = np.where(positive, np.float32(1), np.float32(-1))
    return np.stack([np.where(horizontal, x, -y) * sign, np.where(horizontal, y, x) * sign], axis=-1)


def _pixel_centres(size: int) -> Floats:
    return ((np.arange(size) + 0.5) / size).astype(np.float32)


def _grid_position(position: Floats) -> tuple[NDArray[np.int64], Floats]:
    low = np.floor(position * _NOISE_CELLS).astype(np.int64)
    return low, (position * _NOISE_CELLS - low).astype(np.float32)


def _disc(u: Floats, v: Floats) -> Floats:
    return np.sqrt(u * u + v * v) - np.float32(0.85)


def _square(u: Floats, v: Floats) -> Floats:
    return np.maximum(np.abs(u), np.abs(v)) - np.float32(0.75)


def _triangle(u: Floats, v: Floats) -> Floats:
    return np.maximum(np.abs(u) * np.float32(0.8660254) + v * np.float32(0.5), -v) - np.float32(0.5)


def _cross(u: Floats, v: Floats) -> Floats:
    u, v = np.abs(u), np.abs(v)
    return np.maximum(np.maximum(u, v) - np.float32(0.95), np.minimum(u, v) - np.float32(0.28))


def _ring(u: Floats, v: Floats) -> Floats:
    return np.abs(np.sqrt(u * u + v * v) - np.float32(0.7)) - np.float32(0.2)


def _bar(u: Floats, v: Floats) -> Floats:
    return np.maximum(np.abs(u) - np.float32(0.95), np.abs(v) - np.float32(0.25))


def _corner(u: Floats, v: Floats) -> Floats:
    upright = np.maximum(np.abs(u + np.float32(0.45)) - np.float32(0.25), np.abs(v) - np.float32(0.75))
    lying = np.maximum(np.abs(u) - np.float32(0.7), np.abs(v + np.float32(0.5)) - np.float32(0.25))
    outside: Floats = np.minimum(upright, lying)
    return outside


def _crescent(u: Floats, v: Floats) -> Floats:
    bite = np.sqrt((u - np.float32(0.55)) * (u - np.float32(0.55)) + v * v)
    outside: Floats = np.maximum(np.sqrt(u * u + v * v) - np.float32(0.9), np.float32(0.65) - bite)
    return outside


_SHAPES: tuple[Callable[[Floats, Floats], Floats], ...] = (
    _disc,
    _square,
    _triangle,
    _cross,
    _ring,
    _bar,
    _corner,
    _crescent,
)
