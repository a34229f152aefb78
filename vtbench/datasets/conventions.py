"""What the values of a mask mean, and where the masks of well-known data sets lie beside their images.

A mask holds ids in a grey or palette image, or colours. A TOML file says what they are:

    names = ["sky", "road"]            # class 0, class 1, ...
    palette = [[128, 128, 128], ...]   # the colour of each; an RGB mask is read by it
    ignore = [255]                     # values that are void; colours that are: ignore_colours = [[0, 0, 0]]
    reduce_zero_label = true           # 0 is void, and every other value stands for the class one below it
    label_map = {7 = 0, 8 = 1}         # value of the file = class
    left_right = [[14, 15]]            # classes that mirroring exchanges
    [layout]                           # of folders; see `Layout`

The knobs ``num_classes``, ``ignore``, ``reduce_zero_label`` and ``label_map`` say the same in a word, and win over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from vtbench.datasets.dataset import VOID, DataError
from vtbench.datasets.source import Knobs
from vtbench.errors import UserError, did_you_mean
from vtbench.files import expand_home
from vtbench.written import Configuration, read_toml, validate_configuration

# Dimensions: H height, W width, C channels (3, RGB), K classes.

PRESETS = ("ade20k", "camvid", "cityscapes", "cityscapes_train_ids", "cocostuff", "lip", "voc")
"""Data sets whose conventions and layouts come with the house."""

_OUTSIDE = -1
_NUM_VALUES = 1 << 16


class MaskKnobs(Knobs):
    """What the user may say of images and masks; saying anything of masks asks for them, and for no labels."""

    path: str = Field(description="where the data lie")
    white: float | None = Field(None, gt=0, description="value of white in images of more than 8 bits, such as 4095")
    classes: str | None = Field(None, description=f"names and meaning of masks: a TOML file, or {', '.join(PRESETS)}")
    num_classes: int | None = Field(None, ge=2, le=255, description="masks: number of classes, when nothing names them")
    ignore: str | None = Field(None, description="masks: values that are void, such as 11 or 0+255; else 255")
    reduce_zero_label: Literal["off", "on"] | None = Field(None, description="masks: 0 is void, others are one less")
    label_map: str | None = Field(None, description="masks: class of each value, such as 0:0+255:1")

    @property
    def asks_for_masks(self) -> bool:
        """Whether anything is said of masks."""
        return any(getattr(self, knob) is not None for knob in MaskKnobs.model_fields.keys() - {"path", "white"})


class Layout(Configuration):
    """Folders below that of the data: any of ``images`` and ``masks``, with one of ``train`` or ``val`` for ``{}``.

    Image and mask have one path there, save the endings. ``listing`` is a file that names those of a split.
    """

    images: tuple[str, ...] = ("images/{}", "{}/images", "img_dir/{}")
    masks: tuple[str, ...] = (
        *("masks/{}", "{}/masks", "annotations/{}", "{}/annotations", "labels/{}", "{}/labels"),
        "ann_dir/{}",
    )
    train: tuple[str, ...] = ("train", "training")
    val: tuple[str, ...] = ("val", "valid", "validation", "test")
    image_ending: str = ""
    mask_ending: str = ""
    listing: str | None = None


class Convention(Configuration):
    """What the values of masks mean, as a TOML file says it."""

    names: tuple[str, ...] = Field(min_length=2, max_length=255)
    palette: tuple[tuple[int, int, int], ...] = ()
    ignore: tuple[int, ...] = (VOID,)
    ignore_colours: tuple[tuple[int, int, int], ...] = ()
    reduce_zero_label: bool = False
    label_map: dict[int, int] = Field(default_factory=dict)
    left_right: tuple[tuple[int, int], ...] = ()
    layout: Layout = Layout()

    @model_validator(mode="after")
    def _check(self) -> Convention:
        count = len(self.names)
        if self.palette and len(self.palette) != count:
            raise ValueError(f"'palette' has {len(self.palette)} colours for {count} classes")
        if self.label_map and self.reduce_zero_label:
            raise ValueError("'label_map' and 'reduce_zero_label' say two things of the same values: keep one")
        wrong = [pair for pair in self.label_map.items() if not (0 <= pair[0] < _NUM_VALUES and 0 <= pair[1] < count)]
        if wrong:
            value, number = wrong[0]
            raise ValueError(
                f"'label_map' maps {value} to {number}; values are 0 to {_NUM_VALUES - 1}, classes below {count}"
            )
        sides = [number for pair in self.left_right for number in pair]
        if len(set(sides)) < len(sides) or not all(0 <= number < count for number in sides):
            raise ValueError(f"'left_right' is {self.left_right}: pairs of classes below {count}, each class once")
        taken = [value for value in self.ignore if self._class_of(value) is not None and value != VOID]
        if taken:
            raise ValueError(f"'ignore' names {taken[0]}, which is class {self._class_of(taken[0])} as well")
        return self

    def _class_of(self, value: int) -> int | None:
        if self.label_map:
            return self.label_map.get(value)
        number = value - self.reduce_zero_label
        return number if 0 <= number < len(self.names) else None

    @cached_property
    def _class_of_value(self) -> NDArray[np.int16]:
        table = np.full(_NUM_VALUES, _OUTSIDE, np.int16)
        table[[value for value in (*self.ignore, *[0] * self.reduce_zero_label) if value < _NUM_VALUES]] = VOID
        for value in self.label_map or range(len(self.names) + 1):
            if (number := self._class_of(value)) is not None:
                table[value] = number
        return table

    @property
    def values(self) -> tuple[int, ...]:
        """The value of each class in a file of ids, the lowest where it has several: undoes `translate`."""
        return tuple(int((self._class_of_value == number).argmax()) for number in range(len(self.names)))

    @cached_property
    def _class_of_colour(self) -> Mapping[int, int]:
        void = {_code(colour): VOID for colour in self.ignore_colours}
        return {**void, **{_code(colour): number for number, colour in enumerate(self.palette)}}

    @cached_property
    def _shared_colours(self) -> frozenset[int]:
        codes = [_code(colour) for colour in self.palette]
        return frozenset(code for code in codes if codes.count(code) > 1)

    def translate(self, raw: NDArray[Any], name: str) -> NDArray[np.uint8]:
        """Classes of shape (H, W), or `VOID`, for the values (H, W) or the colours (H, W, C) of a mask.

        Raises `DataError` for the first value or colour that has no meaning, with its number of pixels.
        """
        if raw.ndim == 3:
            return self._translate_colours(raw, name)
        classes_HW: NDArray[np.int16] = self._class_of_value[raw]
        if (classes_HW == _OUTSIDE).any():
            value = int(raw[classes_HW == _OUTSIDE].max())
            raise DataError(
                f"The mask {name} has the value {value} in {int((raw == value).sum()):,} pixels, which is none of "
                f"{self._describe()}. Say what it means with ignore=, label_map=, num_classes= or classes=FILE."
            )
        return classes_HW.astype(np.uint8)

    def _translate_colours(self, raw_HWC: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        codes_HW = raw_HWC.astype(np.int32) @ np.array((1 << 16, 1 << 8, 1), np.int32)
        found, inverse = np.unique(codes_HW, return_inverse=True)
        for code in found.tolist():
            colour = (code >> 16, code >> 8 & 255, code & 255)
            if code in self._shared_colours:
                names = [name for name, its in zip(self.names, self.palette, strict=True) if its == colour]
                raise DataError(
                    f"The mask {name} has the colour {colour}, which is that of {' and of '.join(names)}, so that the "
                    "class of its pixels is not known. Take masks whose values are ids."
                )
            if code not in self._class_of_colour:
                raise DataError(
                    f"The mask {name} has the colour {colour} in {int((codes_HW == code).sum()):,} pixels, which is "
                    "in neither 'palette' nor 'ignore_colours' of its classes. Add it to one of them."
                )
        classes = np.array([self._class_of_colour[code] for code in found.tolist()], np.uint8)
        return classes[inverse].reshape(codes_HW.shape)

    def check_palette(self, ids_HW: NDArray[Any], colours_VC: NDArray[np.uint8], name: str) -> None:
        """Raise `DataError` when values of a palette mask stand for one class and their ``colours_VC`` for another.

        So it is when masks in colour were saved with a palette: their values say nothing. Colours of no class are not
        looked at.
        """
        for value in np.unique(ids_HW[ids_HW < len(colours_VC)]).tolist():
            colour = tuple(colours_VC[value].tolist())
            by_colour, by_value = self._class_of_colour.get(_code(colour)), int(self._class_of_value[value])
            if by_colour is None or by_colour == by_value or _code(colour) in self._shared_colours:
                continue
            raise DataError(
                f"The mask {name} has a palette in which the value {value}, {self._name(by_value)}, has the colour "
                f"{colour}, which is {self._name(by_colour)}. Save the masks in RGB if their colours count, and "
                "in grey if their values do."
            )

    def _name(self, number: int) -> str:
        return {VOID: "void", _OUTSIDE: "of no class"}.get(number) or f"of class {self.names[number]!r}"

    def _describe(self) -> str:
        if self.label_map:
            known = f"the {len(self.label_map)} values of label_map"
        else:
            first = int(self.reduce_zero_label)
            known = f"the {len(self.names)} classes, {first} to {len(self.names) - 1 + first}"
        return f"{known}, nor void ({', '.join(map(str, self.ignore))})"

    def check_binary(self, values: set[int], name: str, count: int) -> None:
        """Raise `DataError` when masks with these ``values`` show one object at 255, which would be left out as void.

        ``name`` is a mask that has the value in ``count`` pixels.
        """
        if values == {0, VOID} and VOID not in self.label_map:
            raise DataError(
                f"The masks have the values 0 and 255 alone (255 in {count:,} pixels of {name}), as those of one "
                "object have, and 255 means void, which would be left out. If 255 is the object, write "
                "label_map=0:0+255:1."
            )


def find_convention(knobs: MaskKnobs, root: Path) -> Convention:
    """The convention that ``knobs`` ask for, or that lies as ``classes.toml`` in ``root``. Raises ``UserError``."""
    beside = root / "classes.toml"
    values: dict[str, Any] = {}
    source = "The masks"
    if knobs.classes is not None or beside.is_file():
        path = _find_file(knobs.classes, root) if knobs.classes is not None else beside
        values, source = read_toml(path, "classes of masks"), f"The classes of masks {path}"
    if knobs.num_classes is not None:
        if values.get("names") and len(values["names"]) != knobs.num_classes:
            raise UserError(f"num_classes is {knobs.num_classes}, but {source} names {len(values['names'])}. Keep one.")
        values.setdefault("names", [str(number) for number in range(knobs.num_classes)])
    if knobs.ignore is not None:
        values["ignore"] = [_number(text, "ignore", knobs.ignore) for text in knobs.ignore.split("+")]
    if knobs.reduce_zero_label is not None:
        values["reduce_zero_label"] = knobs.reduce_zero_label == "on"
    if knobs.label_map is not None:
        values["label_map"] = _parse_map(knobs.label_map)
        if "names" not in values:
            classes = set(values["label_map"].values())
            if lacking := set(range(max(classes) + 1)) - classes:
                raise UserError(
                    f"label_map={knobs.label_map} has no value of class {min(lacking)}, though of {max(classes)}. "
                    "Number the classes from 0 without gaps."
                )
            values["names"] = [str(number) for number in sorted(classes)]
    if "names" not in values:
        raise UserError(
            "The masks have no classes: nothing says how many there are. Write num_classes=NUMBER, or classes= with a "
            f"TOML file or one of {', '.join(PRESETS)}."
        )
    return validate_configuration(Convention, values, source=source, noun="setting")


def _find_file(text: str, root: Path) -> Path:
    if text in PRESETS:
        return Path(str(files("vtbench.datasets") / "presets" / f"{text}.toml"))
    for path in (root / text, expand_home(text)):
        if path.is_file():
            return path
    raise UserError(
        f"There is no file {text!r} of the classes of masks, here or in {root}. {did_you_mean(text, PRESETS)}"
    )


def _parse_map(text: str) -> dict[int, int]:
    pairs = (part.partition(":") for part in text.split("+"))
    listed = [(_number(value, "label_map", text), _number(number, "label_map", text)) for value, _, number in pairs]
    if len(found := dict(listed)) < len(listed):
        raise UserError(f"label_map={text} gives one value two classes. Name every value once.")
    return found


def _number(text: str, knob: str, whole: str) -> int:
    if not text.strip().isdecimal():
        example = "0:0+255:1" if knob == "label_map" else "0+255"
        raise UserError(f"{knob}={whole} is not made of whole numbers. Write for example {knob}={example}.")
    return int(text)


def _code(colour: tuple[int, int, int]) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]
