"""Which arm is which: its network, and every setting by which arms differ; and the settings that all runs have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vtbench.documents.table import NOTHING, Table, make_table
from vtbench.records import RunRecord
from vtbench.reporting.comparisons import Comparison
from vtbench.settings import list_settings, read_settings, spell_setting, undo_treatment


def tabulate_arms(*comparisons: Comparison) -> Table | None:
    """One row an arm: its network, its own weights to start from, and its value of each setting that any arm declares.

    None where names say all of that.
    """
    leads: dict[str, RunRecord] = {}
    for comparison in comparisons:
        for arm, runs in zip(comparison.arms, comparison.runs, strict=True):
            if runs:
                leads.setdefault(arm.name, next(iter(runs.values())))
    keys = list_own_keys(list(leads.values()))
    starts = {name: _name_start(record) for name, record in leads.items()}
    if not keys and not any(starts.values()) and all(name == record.variant for name, record in leads.items()):
        return None
    rows = [
        (name, record.variant, starts[name] or NOTHING, *map(spell_setting, read_own(record, keys).values()))
        for name, record in leads.items()
    ]
    table = make_table(("arm", "network", "starts from", *_shorten(keys)), rows)
    return table if any(starts.values()) else table.without("starts from")


def tabulate_settings(comparison: Comparison) -> Table:
    """One row a setting of the data and the recipe: what all runs have, or that arms have their own."""
    config = undo_treatment(comparison.records[0].config)
    own = set(list_own_keys(comparison.records))
    values = read_settings(config.data, config.recipe, list_settings())
    rows = [(key, "each arm its own" if key in own else spell_setting(value)) for key, value in values.items()]
    return make_table(("setting", "value"), rows)


def list_own_keys(records: Sequence[RunRecord]) -> list[str]:
    """The settings that the study declares to be an arm's own, of any arm, in the order of the fields."""
    declared = {key for record in records for key in record.config.declared}
    return [key for key in list_settings() if key in declared]


def read_own(record: RunRecord, keys: Sequence[str]) -> dict[str, Any]:
    """What the run had under ``keys``, whether its arm declares them or has what the whole study has."""
    return read_settings(record.config.data, record.config.recipe, keys)


def _name_start(record: RunRecord) -> str:
    init = record.config.init
    return init.source if init is not None and init.of_arm else ""


def _shorten(keys: Sequence[str]) -> list[str]:
    """The last word of each key, where no other key ends in it."""
    last = [key.rpartition(".")[2] for key in keys]
    return [word if last.count(word) == 1 else key for key, word in zip(keys, last, strict=True)]
