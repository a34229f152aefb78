"""Export the network of a finished run, and check the file on validation images before anyone sees it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vtbench.datasets.batches import Normalizer
from vtbench.datasets.dataset import ImageDataset
from vtbench.environment import find_version
from vtbench.errors import UserError
from vtbench.export.formats import FORMATS
from vtbench.export.formats.export_format import INPUT, OUTPUT
from vtbench.files import resolve
from vtbench.records.export import CheckedExportRecord, ExportRecord
from vtbench.training.trained import TrainedRun, WeightsNote

# B images of a batch, C channels (3, RGB), H height, W width, K classes.

NUM_CHECKED = 8
_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'")
_STYLE = re.compile(r"\x1b\[\d*m")
_TOLERANCE = 1e-3
"""Of the largest score: single precision that sums in another order."""


class NormalizedNetwork(nn.Module):
    """A network with the normalisation of its images in front: pixels from 0 to 1 in, scores out."""

    def __init__(self, model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.model = model
        self.mean_C11: Tensor
        self.std_C11: Tensor
        self.register_buffer("mean_C11", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std_C11", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> scores."""
        scores: Tensor = self.model((images - self.mean_C11) / self.std_C11)
        return scores


@dataclass(frozen=True)
class Export:
    """A checked file that is not yet written, and what is to stand beside it."""

    data: bytes
    record: ExportRecord


def export_run(run: TrainedRun, data: ImageDataset, exported_as: str, file: str) -> Export:
    """``run`` in the format ``exported_as``, to be called ``file``, checked on the first images of ``data``.

    Raises ``UserError`` with the reason where the network cannot be exported, and where the file's scores are not the
    network's.
    """
    note, window = run.note, run.record.config.recipe.window
    height, width = note.image_size
    size = (height, width) if window is None else (min(height, window[0]), min(width, window[1]))
    pixels_BHWC = data.read(np.arange(min(NUM_CHECKED, len(data)), dtype=np.int64))
    if pixels_BHWC.shape[1] < size[0] or pixels_BHWC.shape[2] < size[1]:
        raise UserError(
            f"The images of {data.name} are {pixels_BHWC.shape[1]} x {pixels_BHWC.shape[2]} pixels, and the network "
            f"takes {size[0]} x {size[1]}. Check it on the data that it was trained on."
        )
    pixels_BHWC = np.ascontiguousarray(pixels_BHWC[:, : size[0], : size[1]])
    expected = _ask(run, pixels_BHWC)
    images_BCHW = np.ascontiguousarray(pixels_BHWC.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)
    described: dict[str, Any] = {
        "task": run.record.task,
        "variant": run.record.variant,
        "run": resolve(run.folder).name,
        "weights_sha256": run.record.weights_sha256,
        "exported_as": exported_as,
        "input_name": INPUT,
        "image_size": size,
        "mean": note.mean,
        "std": note.std,
        "output_name": OUTPUT,
        "class_names": note.class_names,
        "mask_values": note.mask_values,
        "window": window,
    }
    packed = write_network(run.model, note, exported_as, images_BCHW, _describe(described))
    checked = check_file(packed, exported_as, images_BCHW, expected, data.name)
    packages = {name: found for name in ("torch", *FORMATS[exported_as].packages) if (found := find_version(name))}
    record = ExportRecord(
        **described, file=file, file_sha256=hashlib.sha256(packed).hexdigest(), packages=packages, checked=checked
    )
    return Export(packed, record)


def write_network(
    model: nn.Module, note: WeightsNote, exported_as: str, images_BCHW: NDArray[np.float32], words: dict[str, str]
) -> bytes:
    """The file of ``model`` with its normalisation. Raises ``UserError`` with the reason where there can be none."""
    network = NormalizedNetwork(model.cpu(), note.mean, note.std).eval()
    example_BCHW = torch.from_numpy(np.repeat(images_BCHW[:1], 2, axis=0))
    try:
        return FORMATS[exported_as].write(network, example_BCHW, words)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{note.variant} cannot be exported as {exported_as}: {_find_reason(error)} Its weights are in the run's "
            "folder."
        ) from error


def check_file(
    packed: bytes,
    exported_as: str,
    images_BCHW: NDArray[np.float32],
    expected: NDArray[np.float32],
    data: str,
) -> CheckedExportRecord:
    """Run the file on all images at once and on one alone. Raises ``UserError`` unless its scores are ``expected``."""
    tolerance = _TOLERANCE * max(1.0, float(np.abs(expected).max()))
    largest, agree = 0.0, True
    sizes = tuple(sorted({1, len(images_BCHW)}))
    for size in sizes:
        found = FORMATS[exported_as].run(packed, images_BCHW[:size])
        if found.shape != expected[:size].shape:
            raise UserError(f"The {exported_as} file gives scores of shape {found.shape} for {size} images.")
        largest = max(largest, float(np.abs(found - expected[:size]).max()))
        agree &= _agree(found, expected[:size], tolerance)
    if not (largest <= tolerance and agree):
        raise UserError(
            f"The {exported_as} file does not give the network's scores: the largest difference is {largest:.2g}, and "
            f"{tolerance:.2g} is allowed. Nothing was written. Another format may do; see --format."
        )
    return CheckedExportRecord(
        num_images=len(images_BCHW),
        data=data,
        batch_sizes=sizes,
        largest_difference=largest,
        tolerance=tolerance,
        classes_agree=agree,
    )


def _find_reason(error: BaseException) -> str:
    """The operator that an exporter does not know, where one of the causes names it, or what it says first."""
    kind, first = type(error).__name__, _STYLE.sub("", str(error)).strip().partition("\n")[0].rstrip(".")
    cause: BaseException | None = error
    while cause is not None:
        if operator := _OPERATOR.search(str(cause)):
            return f"its operator {operator[1]} is unknown to the exporter of this version."
        cause = cause.__cause__ or cause.__context__
    return f"{kind}: {first}. The graph needs something that the exporter of this version does not know."


def _agree(found: NDArray[Any], expected: NDArray[Any], tolerance: float) -> bool:
    """Whether the largest score is of the same class, but where the two largest are too near to tell."""
    two = np.sort(expected, axis=1)[:, -2:]
    clear = two[:, -1] - two[:, 0] > 2 * tolerance
    return bool((found.argmax(1) == expected.argmax(1))[clear].all())


def _ask(run: TrainedRun, pixels_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the network itself says of images as training normalises them."""
    normalize = Normalizer(run.note.mean, run.note.std, pixels_BHWC.shape[2])
    with torch.inference_mode():
        return np.asarray(run.model.cpu()(normalize(torch.from_numpy(pixels_BHWC))).float().numpy())


def _describe(described: dict[str, Any]) -> dict[str, str]:
    """The note inside a file: everything as one JSON text, and the most asked for by names of their own."""
    return {
        "vtbench": json.dumps(described, sort_keys=True, ensure_ascii=False),
        "class_names": json.dumps(described["class_names"], ensure_ascii=False),
        "mean": json.dumps(described["mean"]),
        "std": json.dumps(described["std"]),
        "image_size": json.dumps(described["image_size"]),
        "pixels": "RGB, float32, 0 to 1; the graph subtracts mean and divides by std",
    }
