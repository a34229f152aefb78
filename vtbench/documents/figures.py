"""Figures as files: equal figures give equal bytes for one version of matplotlib."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from vtbench.documents.dark_look import add_dark_look
from vtbench.files import publish_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DATED = {"png": "Software", "svg": "Date"}
"""The entry of each format's metadata that would change with the program or the day."""
FORMATS = tuple(_DATED)


def save_figure(
    figure: Figure, folder: Path, name: str, *, dpi: int, pdf: bool = False, dark: bool = False
) -> tuple[Path, ...]:
    """Write ``folder/name.png`` and ``.svg``, with ``pdf`` that too, each whole; returns their paths.

    The SVG of a figure that has a ``dark`` look is dark to those who prefer that. Call it in the style it was drawn in.
    """
    paths = []
    for suffix, dated in {**_DATED, **({"pdf": "CreationDate"} if pdf else {})}.items():
        stream = io.BytesIO()
        figure.savefig(stream, format=suffix, dpi=dpi, metadata={dated: None})
        paths.append(folder / f"{name}.{suffix}")
        data = stream.getvalue()
        publish_bytes(paths[-1], add_dark_look(data.decode()).encode() if dark and suffix == "svg" else data)
    return tuple(paths)
