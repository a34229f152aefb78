"""The published results are complete, and their counts are at hand without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vtbench.errors import UserError
from vtbench.published import results
from vtbench.published.claims import load_claims
from vtbench.published.results import load_costs, load_results


def test_every_row_of_table_8_is_there_with_the_numbers_of_the_claims() -> None:
    results = [result for result in load_results() if result.source.endswith("Table 8")]
    assert len(results) == 33
    claims = [claim for claim in load_claims() if claim.table == "8"]
    assert [result.top1_percent for result in results] == [float(c.value or 0) for c in claims if c.method == "top1"]
    printed = [result.printed_macs_g for result in results if result.printed_macs_g is not None]
    assert printed == [claim.value for claim in claims if claim.method == "macs"]


def test_every_row_has_a_name_of_its_own_and_a_source_and_a_recipe() -> None:
    results = load_results()
    assert len({result.model for result in results}) == len(results)
    assert all(result.source and result.recipe for result in results)


def test_a_row_without_a_model_here_says_why() -> None:
    assert all(result.note for result in load_results() if not result.variant)


def test_every_variant_of_the_literature_has_a_golden_count() -> None:
    known = load_costs()
    assert [result.variant for result in load_results() if result.variant and result.variant not in known] == []
    assert known["resnet18"].macs == 1_814_073_344


def test_the_counts_are_read_without_torch() -> None:
    program = "import sys; sys.modules['torch'] = None; from vtbench.published.results import load_costs; load_costs()"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_damaged_golden_data_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.json").write_text(json.dumps([])[:1])
    monkeypatch.setattr(results, "VARIANT_COSTS", tmp_path / "broken.json")
    with pytest.raises(UserError, match=r"golden costs in broken\.json"):
        load_costs()
