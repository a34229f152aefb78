"""The colour of each class of a pixel, from the name of a run's data set or made up; torch and data are not needed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

# Dimensions: N colours, C channels (3, RGB), V ways of seeing colours.

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

VOID_COLOUR: Colour = (255, 255, 255)
"""Of pixels that belong to no class; no colour that is made up comes near it."""

_BACKGROUND: Colour = (0, 0, 0)
_FIRST: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Okabe and Ito 2008, Color Universal Design, in their order, without black."""

_LEVELS = 12
_LEAST_LIGHT = 0.35
"""Darker colours look alike over a photograph."""

_TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
_SEEN = (
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
)
"""Linear RGB as it is seen with all cones, without the long and without the middle ones (Machado et al. 2009)."""


def find_palette(class_names: Sequence[str], spec: str) -> tuple[Colour, ...]:
    """One colour for each class: those of the preset that the data set ``spec`` names with ``classes=``, else made up.

    ``spec`` is what ``--data`` takes; what it names need not be there.
    """
    named = re.findall(r",classes=(\w+)(?=,|$)", spec)
    palette = _read_preset(named[-1]) if named else ()
    return palette if len(palette) == len(class_names) else make_palette(class_names)


def make_palette(class_names: Sequence[str]) -> tuple[Colour, ...]:
    """One colour for each class, the same for the same names everywhere; ``background`` is black.

    Classes get colours in their order, so that another class at the end leaves the others theirs. The first seven are
    those of Okabe and Ito; each further one is that which is least alike to all before it for eyes with all cones, or
    without the long or the middle ones, whichever tell it worst.
    """
    drawn = iter(_list_colours())
    return tuple(_BACKGROUND if name == "background" else next(drawn) for name in class_names)


def measure_likeness(first: Sequence[Colour], second: Sequence[Colour]) -> NDArray[np.float64]:
    """Distance of any of N colours from any of M: (N, M), Euclidean in Oklab, for the eyes that tell them worst.

    White is 1 from black. Oklab: Ottosson 2020, A perceptual color space for image processing.
    """
    first_VNC, second_VMC = _see(np.asarray(first)), _see(np.asarray(second))
    distance_NM: NDArray[np.float64] = np.linalg.norm(first_VNC[:, :, None] - second_VMC[:, None], axis=3).min(axis=0)
    return distance_NM


@cache
def _list_colours() -> tuple[Colour, ...]:
    """Enough colours for 255 classes, each chosen after those before it."""
    steps = np.rint(np.linspace(0, 255, _LEVELS)).astype(np.int64)
    cube_NC = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    light_N = _see(cube_NC)[0, :, 0]
    offered: list[Colour] = [(red, green, blue) for red, green, blue in cube_NC[light_N >= _LEAST_LIGHT].tolist()]
    chosen: list[Colour] = list(_FIRST)
    known = [*chosen, _BACKGROUND, VOID_COLOUR]
    nearest_N = measure_likeness(offered, known).min(axis=1)
    while len(chosen) < 255:
        chosen.append(offered[int(nearest_N.round(6).argmax())])
        nearest_N = np.minimum(nearest_N, measure_likeness(offered, chosen[-1:])[:, 0])
    return tuple(chosen)


def _see(colours_NC: NDArray[np.int64]) -> NDArray[np.float64]:
    """Colours in Oklab as each way of seeing has them, (V, N, C)."""
    unit_NC = colours_NC / 255
    linear_NC = np.where(unit_NC <= 0.04045, unit_NC / 12.92, ((unit_NC + 0.055) / 1.055) ** 2.4)
    seen_VNC = np.einsum("vij,nj->vni", np.array(_SEEN), linear_NC).clip(0, 1)
    lab_VNC: NDArray[np.float64] = np.cbrt(seen_VNC @ np.array(_TO_CONES).T) @ np.array(_TO_LAB).T
    return lab_VNC


@cache
def _read_preset(name: str) -> tuple[Colour, ...]:
    file = files("vtbench") / "datasets" / "presets" / f"{name}.toml"
    if not file.is_file():
        return ()
    rows: list[list[int]] = tomllib.loads(file.read_text("utf-8")).get("palette", [])
    return tuple((red, green, blue) for red, green, blue in rows)
