"""The survey of other libraries' models: its page follows from its records, and the records from the code."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from vtbench.profiling.survey import list_models, survey_model, take_apart
from vtbench.records import EnvironmentRecord, load_lines, load_record
from vtbench.records.profile import FvcoreCount, SurveyEntry
from vtbench.reporting.pages.profiler import render_page

FOLDER = Path(__file__).parents[2] / "reports" / "profiler"
ENTRIES = load_lines(FOLDER / "survey.jsonl", SurveyEntry)
ENVIRONMENT = load_record(FOLDER / "environment.json", EnvironmentRecord)


def test_the_page_is_what_its_records_say() -> None:
    assert (FOLDER / "survey.md").read_text("utf-8") == render_page(ENTRIES, ENVIRONMENT)


def test_a_page_follows_a_change_of_its_records() -> None:
    changed = [ENTRIES[0].model_copy(update={"macs": 1}), *ENTRIES[1:]]
    assert render_page(changed, ENVIRONMENT) != render_page(ENTRIES, ENVIRONMENT)


def test_the_survey_covers_torchvision_and_the_families_of_timm() -> None:
    from torchvision import models

    names = {entry.model for entry in ENTRIES}
    assert {f"torchvision:{name}" for name in models.list_models(module=models)} <= names
    assert names <= set(list_models())
    assert len([name for name in names if name.startswith("timm:")]) >= 150


def test_every_model_is_counted_or_refused_with_a_reason() -> None:
    for entry in ENTRIES:
        assert (entry.macs is None) != (entry.refused is None), entry.model
        assert entry.refused != ""


def test_every_difference_is_explained_to_the_last_mac() -> None:
    compared = [entry for entry in ENTRIES if isinstance(entry.fvcore, FvcoreCount)]
    assert len(compared) > 200
    for entry in compared:
        assert isinstance(entry.fvcore, FvcoreCount)
        assert sum(entry.fvcore.differences.values()) == (entry.macs or 0) - entry.fvcore.macs, entry.model


def test_a_difference_is_taken_apart_by_kind_of_operator() -> None:
    ours = Counter({"convolution in Conv2d": 100, "addmm in Linear": 50, "scaled_dot_product_attention in Block": 7})
    theirs = {"conv": 100, "linear": 40, "layer_norm": 3}
    ignored = {"aten::scaled_dot_product_attention": 1, "aten::add": 5, "aten::expand_as": 1}
    found = take_apart(ours, theirs, ignored)
    assert found.differences == {"fused attention": 7, "layer_norm": -3, "matrix products": 10}
    assert found.ignored == ("aten::scaled_dot_product_attention",)
    assert found.macs == 143


def test_the_record_of_a_model_is_what_the_code_finds() -> None:
    entries = {entry.model: entry for entry in ENTRIES}
    for name in ("torchvision:squeezenet1_1", "timm:lcnet_050"):
        assert survey_model(name) == entries[name]


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.model)
def test_every_model_of_the_survey_still_costs_the_same(entry: SurveyEntry) -> None:
    import warnings

    from vtbench.errors import UserError
    from vtbench.profiling.profile import ProfileSettings, profile_subject
    from vtbench.profiling.sources import make_subject, resolve_source

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Libraries announce their own deprecations.
        source = resolve_source(entry.model)
        subject = make_subject(source)
    shape = (1, source.channels, *source.image_size)
    try:
        counted = profile_subject(subject, shape, ProfileSettings(activations=False))
    except UserError:
        assert entry.refused is not None
        return
    assert (counted.macs, counted.params) == (entry.macs, entry.params)
    for split in (counted.stages, counted.roles, counted.operators):
        assert sum(part.macs for part in split) == counted.macs
