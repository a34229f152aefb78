"""The survey measures the registered networks for small images together."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_latency

from vtbench.published.results import load_costs
from vtbench.records import load_lines
from vtbench.records.measured import LatencyEntry
from vtbench.records.profile import Measurement


def test_small_networks_take_turns_and_large_ones_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {name: load_costs()[name] for name in ("resnet20", "vt_resnet20", "resnet18")}
    monkeypatch.setattr(small_latency, "load_costs", lambda: costs)
    small_latency.main(["--out", str(tmp_path / "latency"), "--batch-sizes", "2", "--time-limit", "0.1"])
    entries = load_lines(tmp_path / "latency" / "latency.jsonl", LatencyEntry)
    assert [(entry.model, entry.macs) for entry in entries] == [("vt_resnet20", 32195840), ("resnet20", 40551040)]
    for entry in entries:
        assert isinstance(entry.measurement, Measurement)
        assert entry.measurement.batch_size == 2
        assert entry.measurement.measured_together == ("vt_resnet20", "resnet20")
