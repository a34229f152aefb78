"""Sizes of images and shapes of other inputs as users write them; read without torch."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from vtbench.errors import UserError, did_you_mean

LARGEST_SIDE = 2**20
_TYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "uint8", "bool")
_UNBATCHED = "unbatched"
_SPELLING = re.compile(r"(?:([A-Za-z_]\w*(?:\.\w+)*)=)?(\d+(?:x\d+)*)((?::\w+)*)")


@dataclass(frozen=True)
class InputSpec:
    """One tensor that ``forward`` is given. ``path`` names the argument and the place in it; none is the next in order.

    ``shape`` is of one image, unless the tensor is not ``batched``; a ``dtype`` of None is that of the model.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str | None = None
    batched: bool = True

    def repeat(self, batch_size: int) -> InputSpec:
        """The same for a batch."""
        return replace(self, shape=(batch_size, *self.shape), batched=False) if self.batched else self


def parse_image_size(text: str) -> tuple[int, int]:
    """Read ``224`` or ``320x480`` (height x width). Raises ``UserError`` for anything else."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) in (1, 2) and all(part.strip().isdecimal() for part in parts):
        sides = [int(part) for part in parts]
        return check_image_size(sides[0], sides[-1])
    raise UserError(
        f"The image size {text!r} is not a size. Write a side such as 224, or HEIGHTxWIDTH such as 320x480."
    )


def check_image_size(height: int, width: int) -> tuple[int, int]:
    """Raise ``UserError`` unless both sides are between 1 and `LARGEST_SIDE` pixels."""
    if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
        raise UserError(
            f"The image size {height}x{width} is out of range: a side must be from 1 to {LARGEST_SIDE} pixels. "
            "Write for example 224 or 320x480."
        )
    return height, width


def parse_input(text: str) -> InputSpec:
    """Read ``[NAME=]SHAPE[:TYPE][:unbatched]``, a shape of one image such as ``3x16x112x112``."""
    written, equals, shape = text.strip().rpartition("=")
    found = _SPELLING.fullmatch(written + equals + shape.lower().replace("×", "x"))
    if found is None:
        raise UserError(
            f"The input {text!r} is not one. Write NAME=SHAPE with the shape of one image, such as image=3x224x224, "
            "tokens=77x512 or input_ids=77:int64; batch.image=... is a place in a dictionary and images.0=... one in a "
            "list, a shape without a name is the next argument, and :unbatched leaves the batch away."
        )
    name, shape, marks = found.groups()
    sides = tuple(int(side) for side in shape.split("x"))
    if any(not 1 <= side <= LARGEST_SIDE for side in sides):
        raise UserError(f"The input {text!r} has a side that is out of range: allowed is 1 to {LARGEST_SIDE}.")
    asked = [mark for mark in marks.split(":") if mark]
    for mark in asked:
        if mark not in (*_TYPES, _UNBATCHED):
            raise UserError(f"The input {text!r} has a mark {mark!r}. {did_you_mean(mark, (*_TYPES, _UNBATCHED))}")
    types = [mark for mark in asked if mark in _TYPES]
    if len(types) > 1:
        raise UserError(f"The input {text!r} has {len(types)} types. Give one.")
    path = tuple(name.split(".")) if name else ()
    return InputSpec(path, sides, types[0] if types else None, batched=_UNBATCHED not in asked)
