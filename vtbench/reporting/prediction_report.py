"""The files and tables of ``vtbench predict``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vtbench.documents.table import Table, make_table, to_csv, to_markdown
from vtbench.files import publish_bytes, publish_text
from vtbench.palettes import Colour
from vtbench.records import save_record, to_json
from vtbench.records.predictions import (
    ClassPixelsRecord,
    ClassProbabilityRecord,
    ImagePredictionRecord,
    PredictionsRecord,
)
from vtbench.reporting.overlays import encode_mask, encode_overlay, show_share

# Dimensions: h, w height and width of an image, C channels (3, RGB), K classes.

Format = Literal["table", "markdown", "csv", "json"]

TABLE, RECORD = "predictions.csv", "predictions.json"


def list_files(names: Sequence[str], *, masks: bool) -> list[str]:
    """The files of the predictions that are called ``names``, relative to their folder."""
    pictures = [place(name) for name in names for place in (name_mask, name_overlay)] if masks else []
    return [*pictures, TABLE, RECORD]


def name_mask(name: str) -> str:
    """Masks lie by themselves, under the names of their images, as those who judge them expect it."""
    return f"masks/{name}.png"


def name_overlay(name: str) -> str:
    """The picture of the same name."""
    return f"overlays/{name}.png"


def describe_probabilities(
    image: str, size: tuple[int, int], probabilities_K: NDArray[np.float64], names: Sequence[str], most: int
) -> ImagePredictionRecord:
    """The ``most`` probable classes of an image."""
    order = np.argsort(-probabilities_K, kind="stable")[:most]
    ranked = tuple(ClassProbabilityRecord(name=names[k], probability=float(probabilities_K[k])) for k in order)
    return ImagePredictionRecord(image=image, size=size, probabilities=ranked)


def write_classes(
    image: str,
    name: str,
    pictured: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    meaning: tuple[Sequence[str], Sequence[int], Sequence[Colour]],
    folder: Path,
) -> ImagePredictionRecord:
    """Write mask and overlay, called ``name``, of one image into ``folder``, and describe them.

    ``pictured`` is the image (h, w, C) and the class of each pixel (h, w); ``meaning`` names, values and palette.
    """
    picture_hwC, classes_hw = pictured
    names, values, palette = meaning
    publish_bytes(folder / name_mask(name), encode_mask(classes_hw, values, palette))
    publish_bytes(folder / name_overlay(name), encode_overlay(picture_hwC, classes_hw, names, palette))
    counts_K = np.bincount(classes_hw.ravel(), minlength=len(names))
    order = [int(k) for k in np.argsort(-counts_K, kind="stable") if counts_K[k]]
    return ImagePredictionRecord(
        image=image,
        size=(classes_hw.shape[0], classes_hw.shape[1]),
        pixels=tuple(
            ClassPixelsRecord(
                name=names[k],
                value=values[k],
                pixels=int(counts_K[k]),
                percent=float(100 * counts_K[k] / classes_hw.size),
            )
            for k in order
        ),
        mask=name_mask(name),
        overlay=name_overlay(name),
    )


def write_tables(record: PredictionsRecord, folder: Path) -> None:
    """Write all numbers as CSV and JSON."""
    publish_text(folder / TABLE, to_csv(list_rows(record)))
    save_record(folder / RECORD, record)


def render_predictions(record: PredictionsRecord, format: Format, most: int) -> str:
    """The predictions in a format that is no terminal's; tables for readers name the ``most`` important classes."""
    if format == "json":
        return to_json(record)
    return to_csv(list_rows(record)) if format == "csv" else to_markdown(tabulate_predictions(record, most))


def list_rows(record: PredictionsRecord) -> Iterator[dict[str, Any]]:
    """One row for each class of each image."""
    for image in record.images:
        for rank, guess in enumerate(image.probabilities, 1):
            yield {"image": image.image, "rank": rank, "class": guess.name, "probability": guess.probability}
        for part in image.pixels:
            yield {
                "image": image.image,
                "class": part.name,
                "value": part.value,
                "pixels": part.pixels,
                "percent": part.percent,
                "mask": image.mask,
                "overlay": image.overlay,
            }


def tabulate_predictions(record: PredictionsRecord, most: int) -> Table:
    """The ``most`` probable classes of each image, or those of most pixels."""
    show: Callable[[ImagePredictionRecord], list[tuple[str, str]]] = (
        _show_pixels if any(image.pixels for image in record.images) else _show_probabilities
    )
    title = "pixels" if show is _show_pixels else "probability"
    rows = [
        (image.image if place == 0 else "", *cells)
        for image in record.images
        for place, cells in enumerate(show(image)[:most])
    ]
    return make_table(("image", "class", title), rows, numbers=(title,))


def _show_probabilities(image: ImagePredictionRecord) -> list[tuple[str, str]]:
    return [(guess.name, f"{guess.probability:.4f}") for guess in image.probabilities]


def _show_pixels(image: ImagePredictionRecord) -> list[tuple[str, str]]:
    size = image.size[0] * image.size[1]
    return [(part.name, show_share(part.pixels, size)) for part in image.pixels]
