"""The golden counts of variants with options are those of a live count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vtbench.audit import counting
from vtbench.audit.counting import count_published_variants
from vtbench.published.results import VARIANT_COSTS


def test_the_golden_counts_of_variants_are_up_to_date() -> None:
    golden = json.loads(VARIANT_COSTS.read_text("utf-8"))
    assert golden == count_published_variants(), "run python -m vtbench.audit.counting"


def test_counting_anew_writes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = json.loads(VARIANT_COSTS.read_text("utf-8"))
    monkeypatch.setattr(counting, "VARIANT_COSTS", tmp_path / "costs.json")
    monkeypatch.setattr(counting, "count_published_variants", lambda: golden)
    counting.main()
    assert (tmp_path / "costs.json").read_bytes() == VARIANT_COSTS.read_bytes()
