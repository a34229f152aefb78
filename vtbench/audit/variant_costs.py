"""Count the variants with options that the literature reports: ``python -m vtbench.audit.variant_costs``."""

from __future__ import annotations

import json
import sys
from typing import Any

from vtbench.audit.counting import Counts, make_counter
from vtbench.files import publish_text
from vtbench.published.costs import VARIANT_COSTS
from vtbench.published.results import load_results
from vtbench.variants import MODELS, split_variant


def count_published_variants() -> list[dict[str, Any]]:
    """One entry for each published variant that is not a preset; variants that are not registered are left out."""
    count = make_counter()
    entries = []
    for variant in sorted({result.variant for result in load_results() if ":" in result.variant}):
        counted = count(variant, (224, 224))
        if isinstance(counted, Counts):
            spec = MODELS[split_variant(variant)[0]]
            size, classes = list(spec.image_size), spec.num_classes
            entry = {"name": variant, "image_size": size, "num_classes": classes}
            entries.append({**entry, "params": counted.params, "macs": counted.macs})
    return entries


def main() -> None:
    """Count them and write the file."""
    entries = count_published_variants()
    publish_text(VARIANT_COSTS, json.dumps(entries, indent=1) + "\n")
    sys.stdout.write(f"{len(entries)} variants written to {VARIANT_COSTS}\n")


if __name__ == "__main__":
    main()
