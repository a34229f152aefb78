"""The golden data: exact integers that only a deliberate change of a model may change (``make golden``)."""

import pytest

from vtbench.catalog import CATALOG, load_catalog
from vtbench.models import MODELS
from vtbench.models.golden import describe_preset, format_catalog

ENTRIES = {entry.name: entry for entry in load_catalog()}


def test_every_registered_preset_has_an_entry_and_no_other_has():
    assert set(ENTRIES) == set(MODELS)


def test_the_file_is_written_as_make_golden_writes_it():
    assert CATALOG.read_text("utf-8") == format_catalog(load_catalog())


@pytest.mark.parametrize("name", list(MODELS))
def test_the_entry_of_each_preset_is_what_is_counted_now(name):
    assert ENTRIES[name] == describe_preset(MODELS[name])


@pytest.mark.parametrize("name", list(MODELS))
def test_twins_are_registered_and_options_are_explained(name):
    twin = ENTRIES[name].twin
    assert twin is None or twin in MODELS
    for option in ENTRIES[name].options:
        assert option.description, option.name
        assert option.allowed is None or option.default in option.allowed


def test_families_that_differ_in_look_differ_in_title_and_in_colour_or_marker():
    looks = {entry.look for entry in load_catalog() if entry.look is not None}
    assert len({look.title for look in looks}) == len(looks)
    assert len({(look.color, look.marker) for look in looks}) == len(looks)
