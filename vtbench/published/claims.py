"""Claims of the literature, one number a row: where it is printed, what it says, and how it is computed here.

``claims.csv`` has the columns of `Claim`. ``explanations.toml`` says why a contradiction is known. Papers:
VT-2020 is arXiv 2006.03677, VT-ICCV21 is "Where Do Transformers Really Belong in Vision Models?" (ICCV 2021).
"""

from __future__ import annotations

import csv
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import field_validator

from vtbench.records import Record

CLAIMS = Path(__file__).with_name("claims.csv")
EXPLANATIONS = Path(__file__).with_name("explanations.toml")

Method = Literal[
    "macs",
    "params",
    "params_but_norm",
    "macs_ratio",
    "params_ratio",
    "stage5_macs_ratio",
    "stage5_params_ratio",
    "largest_stage5_macs_ratio",
    "segmentation_macs",
    "top1",
    "train_top1",
    "top1_gain",
    "miou",
    "effect_order",
]
"""How a claim is computed here. The ratios are of ``against`` over ``variant``.

``params_but_norm``: parameters in full, or without those of normalisation, which the paper leaves out for its VTs.
"""

UNITS = {"M": Decimal(10**6), "G": Decimal(10**9), "x": Decimal(1), "%": Decimal(1), "points": Decimal(1)}
"""What one unit of a printed number stands for. 1 MAC = 1 multiply-accumulate, which the paper prints as FLOPs."""


class Claim(Record):
    """One printed number, or a statement without one (``value`` None).

    ``rounding`` is one unit in the last printed place. ``variant`` and ``against`` are spellings of models here,
    several with spaces between, empty where there is none. ``recipe`` is whose training the accuracy comes from.
    ``known`` names the explanation of a contradiction that has been looked into, or of a model that is not here.
    """

    id: str
    paper: str
    table: str
    cell: str
    quantity: str
    value: Decimal | None
    unit: str
    rounding: Decimal | None
    method: Method
    variant: str
    against: str
    image_size: tuple[int, int]
    recipe: str
    known: str

    @field_validator("value", "rounding", mode="before")
    @classmethod
    def _empty_is_none(cls, text: object) -> object:
        return None if text == "" else text

    @field_validator("image_size", mode="before")
    @classmethod
    def _split_size(cls, text: object) -> object:
        return tuple(int(side) for side in text.split("x")) if isinstance(text, str) else text

    @property
    def printed(self) -> str:
        """The number as the paper prints it, with its unit."""
        if self.value is None:
            return "stated"
        return f"{self.value}{'' if self.unit == 'x' else ' '}{self.unit}"


def load_claims(path: Path = CLAIMS) -> tuple[Claim, ...]:
    """Every claim, in the order of the tables."""
    with path.open(encoding="utf-8", newline="") as stream:
        return tuple(Claim.model_validate(row) for row in csv.DictReader(stream))


def load_explanations(path: Path = EXPLANATIONS) -> dict[str, str]:
    """Why the known contradictions are there: key -> explanation."""
    with path.open("rb") as stream:
        return {key: str(text) for key, text in tomllib.load(stream).items()}
