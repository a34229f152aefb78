"""Our counts for the models of the literature, without torch: golden data that tests hold against a live count.

Presets stand in the catalogue of models; ``variant_costs.json`` has the variants with options that the literature also
reports. ``python -m vtbench.audit.variant_costs`` writes it anew.
"""

from __future__ import annotations

from pathlib import Path

from vtbench.catalog import CATALOG, read_golden
from vtbench.records import CostRecord

VARIANT_COSTS = Path(__file__).with_name("variant_costs.json")


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
