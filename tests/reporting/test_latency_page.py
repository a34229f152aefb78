"""The page of latency against MACs says how far the two agree, from its records alone."""

from __future__ import annotations

from pathlib import Path

from synthetic_runs import ENVIRONMENT

from vtbench.records import NotMeasured, save_lines
from vtbench.records.measured import LatencyEntry
from vtbench.records.profile import Measurement
from vtbench.reporting.pages.latency import group_by_batch, list_latency_notes, tabulate_latency, write_latency_page


def measure(model: str, macs: int, latency_ms: float, **ratios: tuple[float, float, float]) -> LatencyEntry:
    measurement = Measurement(
        latency_ms=4 * latency_ms,
        latency_ms_quartiles=(3.9 * latency_ms, 4.1 * latency_ms),
        latency_per_image_ms=latency_ms,
        images_per_second=1000 / latency_ms,
        peak_memory_bytes=2**20,
        batch_size=4,
        dtype="float32",
        threads=1,
        num_samples=20,
        passes_per_sample=1,
        warm_up_passes=3,
        settled=model != "resnet56",
        measured_together=(),
        environment=ENVIRONMENT,
        load_average=0.25,
        ratios=ratios,
    )
    return LatencyEntry(model=model, macs=macs, params=1, measurement=measurement)


ENTRIES = [
    measure("lr_resnet20", 15_000_000, 8.0, resnet20=(4.0, 3.9, 4.1), vt_resnet20=(5.0, 4.0, 6.0)),
    measure("vt_resnet20", 30_000_000, 1.9, resnet20=(0.95, 0.9, 1.02), lr_resnet20=(0.2, 0.17, 0.25)),
    measure("resnet20", 40_000_000, 2.0, lr_resnet20=(0.25, 0.24, 0.26), vt_resnet20=(1.05, 0.98, 1.11)),
    measure("resnet56", 120_000_000, 6.0),
]


def test_time_stands_beside_macs_as_shares_of_the_base() -> None:
    (timed,) = group_by_batch(ENTRIES).values()
    rows = tabulate_latency(timed).rows
    assert rows[0] == ("lr_resnet20", "15.00", "8.000", "0.38", "4.00", "3.90 to 4.10", "1.9")
    assert rows[2] == ("resnet20", "40.00", "2.000", "1.00", "–", "–", "20.0")


def test_pairs_are_judged_only_where_their_times_are_told_apart() -> None:
    (timed,) = group_by_batch(ENTRIES).values()
    notes = list_latency_notes(timed)
    assert any("load average 0.2 when it began" in note for note in notes)
    assert any("not settled within 2 % when time was up: resnet56." in note for note in notes)
    assert (
        "Not compared, since their ratio had not settled: lr_resnet20 and resnet56, vt_resnet20 and resnet56, "
        "resnet20 and resnet56." in notes
    )
    assert any("over 4 networks: -0.20. Of 2 pairs whose times are told apart, MACs rank 2" in note for note in notes)
    assert notes[-1].startswith(
        "Fewer MACs and more time: lr_resnet20 has 15.00 M MACs and takes 32.00 ms, vt_resnet20"
    )


def test_the_page_names_what_could_not_be_measured(tmp_path: Path) -> None:
    assert write_latency_page(tmp_path) == []
    failed = LatencyEntry(model="san_small", macs=1, params=1, measurement=NotMeasured(reason="no such kernel"))
    (tmp_path / "latency").mkdir()
    save_lines(tmp_path / "latency" / "latency.jsonl", [*ENTRIES, failed])
    (page,) = write_latency_page(tmp_path)
    text = page.read_text()
    assert "## Batch 4" in text and "- san_small: no such kernel" in text
    assert "](latency_batch4.svg)" in text and (tmp_path / "latency" / "latency_batch4.svg").exists()
