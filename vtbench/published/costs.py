"""Our counts for the models of the literature, without torch: golden data that tests hold against a live count.

Presets stand in the catalogue of models; ``variant_costs.json`` has the variants with options that the literature also
reports. ``python -m vtbench.audit.variant_costs`` writes it anew.
"""

from __future__ import annotations

import json
from pathlib import Path

from vtbench.errors import UserError
from vtbench.records import CostRecord

VARIANT_COSTS = Path(__file__).with_name("variant_costs.json")
CATALOG = Path(__file__).parent.parent / "models" / "catalog.json"


def load_costs() -> dict[str, CostRecord]:
    """Variant -> MACs and parameters per image, each at its own image size and number of classes."""
    costs = {}
    for path in (CATALOG, VARIANT_COSTS):
        try:
            entries = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"Cannot read the golden costs in {path.name}: {error}. Install vtbench anew.") from error
        for entry in entries:
            costs[entry["name"]] = CostRecord(
                macs=entry["macs"],
                params=entry["params"],
                input_shape=(3, *entry["image_size"]),
                num_classes=entry["num_classes"],
            )
    return costs
