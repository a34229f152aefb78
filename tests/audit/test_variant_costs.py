"""The golden counts of variants with options are those of a live count."""

from __future__ import annotations

import json

from vtbench.audit.counting import count_published_variants
from vtbench.published.results import VARIANT_COSTS


def test_the_golden_counts_of_variants_are_up_to_date() -> None:
    golden = json.loads(VARIANT_COSTS.read_text("utf-8"))
    assert golden == count_published_variants(), "run python -m vtbench.audit.counting"
