"""What the network of a run answered to each image that it was judged by, for tests that pair runs image by image.

One safetensors file beside the record, which names its SHA-256: of classification the truth and the class of the
largest score of each image, one byte or two each; of segmentation the headline metric of each image. Which image of the
split each answer is to stands there, too, since a limit draws other images for each seed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtbench.errors import UserError
from vtbench.files import read_file
from vtbench.metrics import METRICS

# N images of a split, in its order.

_METADATA_KEY = "vtbench"


@dataclass(frozen=True, eq=False)
class Answers:
    """Of N images: ``scores`` (N,) are the headline metric of the task on each image alone, NaN where nothing counts.

    ``truth`` and ``predicted`` (N,) are numbers of classes; None for a task whose answers are no single class. ``rows``
    (N,) are the places of the images in the whole split, ascending; None in files of before they were kept.
    """

    task: str
    scores: NDArray[np.float64]
    truth: NDArray[np.unsignedinteger[Any]] | None = None
    predicted: NDArray[np.unsignedinteger[Any]] | None = None
    rows: NDArray[np.integer[Any]] | None = None

    @classmethod
    def of_classes(
        cls,
        task: str,
        truth_N: NDArray[Any],
        predicted_N: NDArray[Any],
        *,
        num_classes: int,
        rows_N: NDArray[np.integer[Any]] | None = None,
    ) -> Answers:
        """The answers of a network that tells ``num_classes`` classes of an image apart."""
        kind = np.min_scalar_type(num_classes - 1)
        score_N = np.where(truth_N == predicted_N, 100.0, 0.0)
        return cls(task, score_N, truth_N.astype(kind), predicted_N.astype(kind), rows_N)

    @property
    def is_correct(self) -> NDArray[np.bool_]:
        """Whether each image got the right class. Raises ``UserError`` where answers are no single class."""
        if self.truth is None or self.predicted is None:
            raise UserError(f"In {self.task} an image is not right or wrong as a whole; compare its scores.")
        return np.asarray(self.truth == self.predicted)


def pack_answers(answers: Answers) -> bytes:
    """The bytes of a file of answers: equal answers give equal bytes."""
    from safetensors.numpy import save

    kept: dict[str, NDArray[Any]] = {"score": answers.scores}
    if answers.truth is not None and answers.predicted is not None:
        kept = {"truth": answers.truth, "predicted": answers.predicted}
    if answers.rows is not None:
        kept["row"] = answers.rows.astype(np.min_scalar_type(answers.rows.max(initial=0)))
    note = {"task": answers.task, "metric": METRICS[answers.task][0].key}
    return save(kept, metadata={_METADATA_KEY: json.dumps(note, sort_keys=True)})


def load_answers(path: Path, sha256: str | None) -> Answers:
    """Read what `pack_answers` packed. Raises ``UserError`` unless it is there, whole, and has this hash."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        data = read_file(path)
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise UserError(
                f"{path} was changed or damaged after the run: its SHA-256 is not that of the record. "
                "Put it back, or remove it: the record stands without."
            )
        arrays = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        task = json.loads(header["__metadata__"][_METADATA_KEY])["task"]
        row_N = arrays.get("row")
        if "score" in arrays:
            return Answers(task, arrays["score"], rows=row_N)
        truth_N, predicted_N = arrays["truth"], arrays["predicted"]
    except OSError as error:
        raise UserError(f"Cannot read the answers {path}: {error.strerror or error}.") from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"{path} is no file of answers, or is damaged: {error}.") from error
    return Answers.of_classes(task, truth_N, predicted_N, num_classes=np.iinfo(truth_N.dtype).max, rows_N=row_N)
