"""What the literature reports: accuracy on ImageNet, printed cost, whose recipe trained it, how it was counted.

Our counts for the same models are golden data, read without torch; tests hold them against a live count. Presets stand
in the catalogue of models, ``variant_costs.json`` has the variants with options that the literature also reports.
``python -m vtbench.audit.counting`` writes it anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vtbench.catalog import CATALOG, read_golden
from vtbench.published.claims import Printed
from vtbench.records import CostRecord
from vtbench.records.record import Record, load_table

RESULTS = Path(__file__).with_name("results.csv")
VARIANT_COSTS = Path(__file__).with_name("variant_costs.json")

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
    printed_macs_g: Printed
    printed_params_m: Printed
    convention: Convention
    recipe: str
    recipe_kind: Literal["own", "vt_default", "vt_advanced"]
    source: str
    drawn: bool
    note: str


def load_results(path: Path = RESULTS) -> tuple[PublishedResult, ...]:
    """Every row, in the order of the file."""
    return load_table(path, PublishedResult)


def load_costs() -> dict[str, CostRecord]:
    """Variant -> MACs and parameters per image, each at its own image size and number of classes."""
    return {
        entry["name"]: CostRecord(
            macs=entry["macs"],
            params=entry["params"],
            input_shape=(3, *entry["image_size"]),
            num_classes=entry["num_classes"],
        )
        for entry in (*read_golden(CATALOG), *read_golden(VARIANT_COSTS))
    }
