"""What stands beside an exported network, and inside its file: all that is needed to use it without vtbench."""

from __future__ import annotations

from typing import Literal

from vtbench.records.record import Record

Triple = tuple[float, float, float]


class CheckedExportRecord(Record):
    """How far the file's scores were from the network's, on validation images, in batches of these sizes.

    ``classes_agree`` says that the largest score was of the same class everywhere, but where the two largest are nearer
    to each other than ``tolerance``.
    """

    num_images: int
    data: str
    batch_sizes: tuple[int, ...]
    largest_difference: float
    tolerance: float
    classes_agree: bool


class ExportRecord(Record):
    """An exported network.

    It takes ``input_name``: float32 of shape (batch, 3, height, width), RGB from 0 to 1, for any batch; the graph
    subtracts ``mean`` and divides by ``std``. It gives ``output_name``: scores before the softmax, (batch, classes), or
    (batch, classes, height, width) for the classes of pixels. ``mask_values`` are what the data set writes for those.
    A network that was judged by windows slides over larger images: ``window`` is the size of one.
    """

    format: Literal[1] = 1
    task: str
    variant: str
    run: str
    weights_sha256: str | None
    exported_as: str
    file: str
    file_sha256: str
    input_name: str
    image_size: tuple[int, int]
    pixels: Literal["RGB, 0 to 1; the graph normalises"] = "RGB, 0 to 1; the graph normalises"
    mean: Triple
    std: Triple
    output_name: str
    class_names: tuple[str, ...]
    mask_values: tuple[int, ...] = ()
    window: tuple[int, int] | None = None
    packages: dict[str, str]
    checked: CheckedExportRecord
