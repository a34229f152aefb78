"""``torch.export``: a graph of torch's operators, which ``torch.export.load(FILE).module()`` runs without our code."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vtbench.export.formats.export_format import FORMATS, INPUT
from vtbench.layers.plain_forms import PLAIN_FORMS

NOTE = "vtbench.json"
"""The extra file inside the archive that holds the note."""


def trace(model: nn.Module, images_BCHW: Tensor) -> torch.export.ExportedProgram:
    """The graph of ``model`` for any batch of such images, in operators of torch where its own have such a form."""
    with torch.no_grad():
        program = torch.export.export(model, (images_BCHW,), dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}})
        own = [node for node in program.graph.nodes if node.target in PLAIN_FORMS]
        return program.run_decompositions(dict(PLAIN_FORMS)) if own else program


class TorchExport:
    """A ``.pt2`` archive."""

    suffix = ".pt2"
    packages: tuple[str, ...] = ()

    def write(self, model: nn.Module, images_BCHW: Tensor, note: Mapping[str, str]) -> bytes:
        """The archive, with the note as an extra file."""
        stream = io.BytesIO()
        torch.export.save(trace(model, images_BCHW), stream, extra_files={NOTE: note["vtbench"]})
        return stream.getvalue()

    def run(self, data: bytes, images_BCHW: NDArray[np.float32]) -> NDArray[Any]:
        """As loaded anew."""
        program = torch.export.load(io.BytesIO(data))
        with torch.no_grad():
            return np.asarray(program.module()(torch.from_numpy(images_BCHW)).numpy())


FORMATS.add("torch-export", TorchExport())
