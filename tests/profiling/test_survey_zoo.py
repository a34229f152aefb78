"""The records of all models: what explains the numbers that others print."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtbench.profiling.survey_zoo import enrich_row, main
from vtbench.profiling.zoo import ZooRequest, count_row
from vtbench.records import load_lines, save_lines
from vtbench.records.profile import SurveyEntry, ZooEntry, ZooRow
from vtbench.records.record import load_table
from vtbench.reporting.pages.zoo import render_zoo_page, write_zoo_page

SURVEY = Path(__file__).parents[2] / "reports" / "profiler" / "survey.jsonl"


def enrich(name: str) -> ZooEntry:
    return enrich_row(count_row(name, ZooRequest()))


@pytest.mark.parametrize("name", ["timm:convmixer_768_32", "timm:vit_tiny_patch16_224", "timm:cspresnet50"])
def test_what_explains_a_number_leads_to_what_fvcore_prints(name: str) -> None:
    known = {entry.model: entry.fvcore for entry in load_lines(SURVEY, SurveyEntry)}
    entry = enrich(name)
    fvcore = known.get(name)
    assert entry.macs is not None
    printed = entry.macs - entry.fused_attention - entry.same_padding + entry.norms_and_pools
    if fvcore is not None and not isinstance(fvcore, str):
        assert printed == fvcore.macs


def test_the_deployed_form_stands_beside_that_for_training() -> None:
    entry = enrich("timm:mobileone_s0")
    assert (entry.macs, entry.params) == (1_051_935_232, 5_293_272)
    assert (entry.deployed_macs, entry.deployed_params) == (275_110_400, 2_078_504)


def test_records_are_read_back_as_they_were_written_and_make_a_page(tmp_path: Path) -> None:
    rows = [count_row("torchvision:squeezenet1_1", ZooRequest()), ZooRow(model="timm:odd", refused="it is odd")]
    save_lines(tmp_path / "rows.jsonl", rows)
    main([str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "profiler")])
    entries = load_table(tmp_path / "profiler" / "zoo.csv", ZooEntry)
    assert [entry.model for entry in entries] == ["timm:odd", "torchvision:squeezenet1_1"]
    assert entries[1].macs == rows[0].macs
    (page,) = write_zoo_page(tmp_path)
    text = page.read_text("utf-8")
    assert text == render_zoo_page(entries)
    assert "1 counted, 1 refused" in text
    assert "- `timm:odd`: it is odd" in text
    assert "| the same " in text
