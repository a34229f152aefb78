"""What a format of exported networks is to vtbench."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from vtbench.registry import Registry

INPUT, OUTPUT = "images", "scores"
"""What the network's input and output are called."""


class ExportFormat(Protocol):
    """Writes a network into bytes, and runs these as whoever gets them will. ``packages`` have to be installed."""

    suffix: str
    packages: tuple[str, ...]

    def write(self, model: nn.Module, images_BCHW: Tensor, note: Mapping[str, str]) -> bytes:
        """The file of ``model`` for any batch of such images, with ``note`` inside. Raises what the exporter raises."""

    def run(self, data: bytes, images_BCHW: NDArray[np.float32]) -> NDArray[Any]:
        """The scores of images by the file ``data``."""


FORMATS: Registry[ExportFormat] = Registry("export format")
"""Every format that ``--format`` can name."""
