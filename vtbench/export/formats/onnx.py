"""ONNX, by torch's exporter that goes through ``torch.export``; run by ONNX Runtime on the CPU."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vtbench.errors import UserError
from vtbench.export.formats.export_format import FORMATS, INPUT, OUTPUT
from vtbench.export.formats.torch_export import trace

_LARGEST_BYTES = 2**31 - 1
"""Of a message of protocol buffers."""


class Onnx:
    """An ``.onnx`` file, weights and all."""

    suffix = ".onnx"
    packages: tuple[str, ...] = ("onnx", "onnxruntime", "onnxscript")

    def write(self, model: nn.Module, images_BCHW: Tensor, note: Mapping[str, str]) -> bytes:
        """The file, with each entry of the note in its metadata."""
        import onnx

        if sum(tensor.nbytes for tensor in model.state_dict().values()) > _LARGEST_BYTES:
            raise UserError("The network has more than 2 GiB, which one ONNX file cannot hold. Take torch-export.")
        with warnings.catch_warnings():  # Of what the exporter itself does.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                trace(model, images_BCHW), dynamo=True, input_names=[INPUT], output_names=[OUTPUT], verbose=False
            )
        assert program is not None, "the exporter that goes through torch.export returns its program"
        proto = program.model_proto
        for tensor in (proto.graph.input[0], proto.graph.output[0]):
            tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
        onnx.helper.set_model_props(proto, dict(note))
        onnx.checker.check_model(proto)
        return bytes(proto.SerializeToString())

    def run(self, data: bytes, images_BCHW: NDArray[np.float32]) -> NDArray[Any]:
        """By ONNX Runtime."""
        import onnxruntime

        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        return np.asarray(session.run([OUTPUT], {INPUT: images_BCHW})[0])


FORMATS.add("onnx", Onnx())
