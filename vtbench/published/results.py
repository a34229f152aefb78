"""What the literature reports: accuracy on ImageNet, printed cost, whose recipe trained it, how it was counted."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import field_validator

from vtbench.records import Record

RESULTS = Path(__file__).with_name("results.csv")

Convention = Literal["same", "v1_stride", "twice_macs", "norm_counted", "unverified"]

CONVENTIONS: dict[Convention, str] = {
    "v1_stride": "printed with the stride in the first 1x1 convolution (v1); here it is in the 3x3, as in R50 and R101",
    "twice_macs": "the original paper prints FLOPS, 2 x MACs; Table 8 halves them",
    "norm_counted": "the printed figure also counts normalisation, ReLU and pooling",
    "unverified": "the printed figure does not determine the layers, or another table contradicts it",
}
"""How a printed cost is to be read where it is not counted as here."""


class PublishedResult(Record):
    """One row of the literature. ``variant`` is its spelling here, empty where it is not registered.

    Printed costs are as printed: in G (1e9 MACs) and M (1e6 parameters), None where nothing is printed.
    ``recipe_kind`` tells the VT paper's two recipes from everybody's own; ``drawn`` whether the figure shows the row.
    """

    model: str
    variant: str
    top1_percent: float
    printed_macs_g: Decimal | None
    printed_params_m: Decimal | None
    convention: Convention
    recipe: str
    recipe_kind: Literal["own", "vt_default", "vt_advanced"]
    source: str
    drawn: bool
    note: str

    @field_validator("printed_macs_g", "printed_params_m", mode="before")
    @classmethod
    def _empty_is_none(cls, text: object) -> object:
        return None if text == "" else text


def load_results(path: Path = RESULTS) -> tuple[PublishedResult, ...]:
    """Every row, in the order of the file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return tuple(PublishedResult.model_validate(row) for row in csv.DictReader(stream))
