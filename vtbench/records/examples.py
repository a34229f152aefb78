"""The few images of a run that are kept to be looked at: image, truth, prediction, and where its tokens look.

One file a run, a ZIP archive of an index and of PNG files that any viewer opens. Equal examples give equal bytes for
one version of Pillow.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from vtbench.errors import UserError
from vtbench.palettes import VOID_COLOUR, Colour
from vtbench.records.record import Record, to_json

# H height, W width of the image, Y, X of its masks, C channels (3, RGB); L tokens; h, w cells of a map.

DOUBLINGS = 5
"""Attention is kept from 2^-5 to 2^5 times that of a uniform map."""
_LEVELS = 25
"""Steps of a doubling."""
_UNIFORM = 128
_INDEX = "examples.json"
_VOID = 255


class TokenMapsNote(Record):
    """The maps of one module: which of its tokens they are of, and how many it has."""

    module: int
    tokens: tuple[int, ...]
    num_tokens: int


class ExampleNote(Record):
    """One image: its place in the validation split of the run, and the metrics of the task on it alone.

    ``kept_as`` says whether it is one of the few that every run keeps, one of those with the lowest headline metric,
    the worst first, or both.
    """

    index: int
    kept_as: tuple[Literal["fixed", "worst"], ...]
    outcome: dict[str, float]
    maps: tuple[TokenMapsNote, ...] = ()


class ExamplesIndex(Record):
    """What a file of examples holds, in the order of the images; ``worst`` has indices, the worst first."""

    format: Literal[1] = 1
    num_judged: int
    worst: tuple[int, ...]
    images: tuple[ExampleNote, ...]


@dataclass(frozen=True, eq=False)
class Example:
    """``image`` (H, W, C), ``truth`` and ``prediction`` (Y, X) of class numbers or void, 255, and maps (L, h, w).

    Maps are levels of `encode_attention`, one array for each of ``note.maps``.
    """

    note: ExampleNote
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    maps: tuple[NDArray[np.uint8], ...] = ()


@dataclass(frozen=True, eq=False)
class Examples:
    """The examples of one run. ``num_judged`` images of its validation split could have been among the worst."""

    examples: tuple[Example, ...]
    worst: tuple[int, ...]
    num_judged: int

    def find(self, index: int) -> Example | None:
        """The example of the image ``index``, if it was kept."""
        return next((one for one in self.examples if one.note.index == index), None)

    def list_fixed(self) -> tuple[int, ...]:
        """The images that every run of the split keeps."""
        return tuple(one.note.index for one in self.examples if "fixed" in one.note.kept_as)


def encode_attention(maps_Lhw: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The logarithm of attention over that of a uniform map as bytes; `decode_attention` undoes it to 1.4 %."""
    mean_L11 = maps_Lhw.mean(axis=(1, 2), keepdims=True)
    doublings = np.log2(np.maximum(maps_Lhw / mean_L11, 2.0**-DOUBLINGS)).clip(-DOUBLINGS, DOUBLINGS)
    return np.asarray(np.rint(_UNIFORM + _LEVELS * doublings), np.uint8)


def decode_attention(levels_Lhw: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Maps that sum to 1 each."""
    times_Lhw = np.exp2((levels_Lhw.astype(np.float64) - _UNIFORM) / _LEVELS)
    return np.asarray(times_Lhw / times_Lhw.sum(axis=(1, 2), keepdims=True))


def pack_examples(kept: Examples, palette: Sequence[Colour]) -> bytes:
    """The bytes of a file of examples; its masks have the colours of ``palette`` and the values of classes."""
    stream = io.BytesIO()
    index = ExamplesIndex(num_judged=kept.num_judged, worst=kept.worst, images=tuple(one.note for one in kept.examples))
    with zipfile.ZipFile(stream, "w") as archive:
        _add(archive, _INDEX, to_json(index).encode())
        for one in kept.examples:
            _add(archive, _name(one.note, "image"), _to_png(one.image))
            _add(archive, _name(one.note, "truth"), _to_png(one.truth, palette))
            _add(archive, _name(one.note, "prediction"), _to_png(one.prediction, palette))
            for noted, levels_Lhw in zip(one.note.maps, one.maps, strict=True):
                _add(archive, _name_maps(one.note, noted), _to_png(levels_Lhw.reshape(-1, levels_Lhw.shape[2])))
    return stream.getvalue()


def read_examples(data: bytes, name: str) -> Examples:
    """What `pack_examples` packed. Raises ``UserError`` that begins with ``name`` where it is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            index = ExamplesIndex.model_validate_json(archive.read(_INDEX))
            examples = tuple(_read(archive, note) for note in index.images)
    except (OSError, ValueError, KeyError, SyntaxError, zipfile.BadZipFile, ValidationError) as error:
        first = str(error).strip().partition("\n")[0]
        raise UserError(f"{name} is no file of examples, or is damaged: {first}") from error
    return Examples(examples, index.worst, index.num_judged)


def _read(archive: zipfile.ZipFile, note: ExampleNote) -> Example:
    maps = []
    for noted in note.maps:
        stacked = _from_png(archive.read(_name_maps(note, noted)))
        maps.append(stacked.reshape(len(noted.tokens), -1, stacked.shape[1]))
    image, truth, prediction = (_from_png(archive.read(_name(note, part))) for part in ("image", "truth", "prediction"))
    if image.ndim != 3 or truth.ndim != 2 or truth.shape != prediction.shape:
        raise ValueError(f"the masks of image {note.index} do not fit it or each other")
    return Example(note, image, truth, prediction, tuple(maps))


def _name(note: ExampleNote, part: str) -> str:
    return f"{note.index:06d}-{part}.png"


def _name_maps(note: ExampleNote, noted: TokenMapsNote) -> str:
    return _name(note, f"module{noted.module}")


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Under the date that an entry has by default, and without compressing a PNG again."""
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, 0o644 << 16  # As on Unix, wherever it is written.
    archive.writestr(entry, data)


def _to_png(pixels: NDArray[np.uint8], palette: Sequence[Colour] = ()) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels)
    if palette:
        colours = np.zeros((_VOID + 1, 3), np.uint8)
        colours[: len(palette)] = palette
        colours[_VOID] = VOID_COLOUR
        image.putpalette(colours.tobytes())
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _from_png(data: bytes) -> NDArray[np.uint8]:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return np.array(image)
