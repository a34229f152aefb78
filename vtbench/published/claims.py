"""Claims of the literature, one number a row: where it is printed, what it says, and how it is computed here.

``claims.csv`` has the columns of `Claim`. ``explanations.toml`` says why a contradiction is known, and
``inconsistencies.toml`` where the paper contradicts itself: printed numbers that cannot all be right, each with the sum
that shows it. Papers: VT-2020 is arXiv 2006.03677, VT-ICCV21 is "Where Do Transformers Really Belong in Vision Models?"
(ICCV 2021).
"""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, field_validator

from vtbench.records.record import Record, load_table

CLAIMS = Path(__file__).with_name("claims.csv")
EXPLANATIONS = Path(__file__).with_name("explanations.toml")
INCONSISTENCIES = Path(__file__).with_name("inconsistencies.toml")

_EMPTY_IS_NONE = BeforeValidator(lambda text: None if text == "" else text)
Printed = Annotated[Decimal | None, _EMPTY_IS_NONE]
"""A printed number, or an empty cell of a CSV file."""

Method = Literal[
    "macs",
    "params",
    "params_but_norm",
    "macs_ratio",
    "params_ratio",
    "stage5_macs_ratio",
    "stage5_params_ratio",
    "largest_stage5_macs_ratio",
    "neck_macs",
    "neck_macs_ratio",
    "top1",
    "train_top1",
    "top1_gain",
    "miou",
    "effect_order",
]
"""How a claim is computed here. The ratios are of ``against`` over ``variant``.

``neck_macs`` are those between the stages of the trunk and the head of a segmentation network.
``params_but_norm``: parameters in full, or without those of normalisation, which the paper leaves out for its VTs.
"""

UNITS = {"M": Decimal(10**6), "G": Decimal(10**9), "x": Decimal(1), "%": Decimal(1), "points": Decimal(1)}
"""What one unit of a printed number stands for. 1 MAC = 1 multiply-accumulate, which the paper prints as FLOPs."""


class Claim(Record):
    """One printed number, or a statement without one (``value`` None).

    ``rounding`` is one unit in the last printed place. ``variant`` and ``against`` are spellings of models here,
    several with spaces between, empty where there is none. ``num_classes`` is None for as many as the model is quoted
    with. ``recipe`` is whose training the accuracy comes from.
    ``known`` names the explanation of a contradiction that has been looked into, or of a model that is not here.
    """

    id: str
    paper: str
    table: str
    cell: str
    quantity: str
    value: Printed
    unit: str
    rounding: Printed
    method: Method
    variant: str
    against: str
    image_size: tuple[int, int]
    num_classes: Annotated[int | None, _EMPTY_IS_NONE]
    recipe: str
    known: str

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
    return load_table(path, Claim)


def load_explanations(path: Path = EXPLANATIONS) -> dict[str, str]:
    """Why the known contradictions are there: key -> explanation."""
    with path.open("rb") as stream:
        return {key: str(text) for key, text in tomllib.load(stream).items()}


Check = Literal["at_most", "equal", "saving", "ratio", "stage5_ratio", "trunk_difference", "stated"]
"""What ought to hold between the printed numbers of ``claims``:

- ``at_most``: the first is not larger than the second;
- ``equal``: both are the same number, being of the same model;
- ``saving``: the first less the second is each of the ``stated`` numbers;
- ``ratio``: the first is the second over the third;
- ``stage5_ratio``: the first is the reduction of stage 5 that the totals, second and third, leave room for;
- ``trunk_difference``: the first less the second, which differ in the depth of the trunk only, is what their trunks
  differ by;
- ``stated``: different texts of the paper state different things; there is nothing to compute.
"""


class Inconsistency(Record):
    """One place where the paper's numbers are held against each other. ``number`` groups those of one kind."""

    id: str
    number: int
    table: str
    statement: str
    check: Check
    claims: tuple[str, ...] = ()
    stated: tuple[Decimal, ...] = ()
    explanation: str


def load_inconsistencies(path: Path = INCONSISTENCIES) -> tuple[Inconsistency, ...]:
    """All of them, in order."""
    with path.open("rb") as stream:
        return tuple(Inconsistency.model_validate(entry) for entry in tomllib.load(stream)["inconsistency"])
