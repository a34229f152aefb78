"""Many short texts, such as the names of a million files, in two arrays: little memory, and quick to send on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Dimensions: N texts.


@dataclass(frozen=True, eq=False)
class TextTable:
    """Texts by their number: their bytes one after the other, each from its place in ``starts`` (N + 1,) on."""

    encoded: bytes
    starts: NDArray[np.int64]

    @classmethod
    def build(cls, texts: Sequence[str]) -> TextTable:
        """The table of ``texts``, which may be names of files that are no text in UTF-8."""
        encoded = [os.fsencode(text) for text in texts]
        starts = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(one) for one in encoded], out=starts[1:])
        return cls(b"".join(encoded), starts)

    @classmethod
    def join(cls, tables: Sequence[TextTable]) -> TextTable:
        """The texts of ``tables``, one after the other."""
        firsts = np.cumsum([0, *(len(table.encoded) for table in tables)])
        starts = [table.starts[:-1] + first for table, first in zip(tables, firsts[:-1], strict=True)]
        return cls(b"".join(table.encoded for table in tables), np.concatenate([*starts, firsts[-1:]]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> str:
        if not 0 <= number < len(self):
            raise IndexError(f"There is no text {number} of {len(self)}.")
        return os.fsdecode(self.encoded[self.starts[number] : self.starts[number + 1]])
