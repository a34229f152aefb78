"""Which arm is which: its network, and every setting by which arms differ; and the settings that all runs have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vtbench.catalog import CatalogEntry, load_catalog
from vtbench.documents.table import NOTHING, Table, make_table
from vtbench.records import RunRecord
from vtbench.reporting.active_settings import is_active
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.described_data import find_size
from vtbench.settings import list_settings, read_settings, spell_setting, undo_treatment
from vtbench.variants import split_variant


def tabulate_arms(*comparisons: Comparison) -> Table | None:
    """One row an arm: its network, its own weights to start from, and its value of each setting that any arm declares.

    An option in which arms differ has a column where the name of a network leaves it out, since it is the default.

    None where names say all of that.
    """
    leads = _list_leads(comparisons)
    keys = list_own_keys(list(leads.values()))
    starts = {name: _name_start(record) for name, record in leads.items()}
    if not keys and not any(starts.values()) and all(name == record.variant for name, record in leads.items()):
        return None
    options = _find_unsaid(leads)
    rows = [
        (
            name,
            record.variant,
            *(of_arm.get(name, NOTHING) for of_arm in options.values()),
            starts[name] or NOTHING,
            *map(spell_setting, read_own(record, keys).values()),
        )
        for name, record in leads.items()
    ]
    table = make_table(("arm", "network", *options, "starts from", *_shorten(keys)), rows)
    return table if any(starts.values()) else table.without("starts from")


def tabulate_options(*comparisons: Comparison) -> Table | None:
    """One row an option in which arms differ and that is the same thing in all of them, as the catalogue says.

    None where there is no such option.
    """
    entries = {entry.name: entry for entry in load_catalog()}
    leads = _list_leads(comparisons).values()
    meant: dict[str, set[str | None]] = {}
    for record in leads:
        name, given = split_variant(record.variant)
        unknown = dict.fromkeys(given)
        told = {option.name: option.description for option in entries[name].options} if name in entries else unknown
        for option, description in told.items():
            meant.setdefault(option, set()).add(description)
    differing = (name for name, values in _read_all_options(leads).items() if _differ(values))
    rows = [(name, said) for name in differing for said in meant[name] if said is not None and len(meant[name]) == 1]
    return make_table(("option", "what it is"), rows) if rows else None


def tabulate_settings(comparison: Comparison) -> Table:
    """One row a setting of the data and the recipe: what all runs have, or that arms have their own.

    Those without an effect, such as the numbers of another optimiser, are left out.
    """
    record = comparison.records[0]
    config = undo_treatment(record.config)
    own = set(list_own_keys(comparison.records))
    values = read_settings(config.data, config.recipe, list_settings())
    rows = [
        (key, "each arm its own" if key in own else _spell(key, value, record))
        for key, value in values.items()
        if key in own or is_active(key, values, record.task)
    ]
    return make_table(("setting", "value"), rows)


def read_options(variant: str, catalog: Mapping[str, CatalogEntry]) -> tuple[CatalogEntry | None, dict[str, str]]:
    """The entry of a network, None for one of a user, and all of its options, with their defaults."""
    name, given = split_variant(variant)
    entry = catalog.get(name)
    defaults = {option.name: str(option.default) for option in entry.options} if entry is not None else {}
    return entry, {**defaults, **given}


def _list_leads(comparisons: Iterable[Comparison]) -> dict[str, RunRecord]:
    """One run of each arm that has any."""
    leads: dict[str, RunRecord] = {}
    for comparison in comparisons:
        for arm, runs in zip(comparison.arms, comparison.runs, strict=True):
            if runs:
                leads.setdefault(arm.name, next(iter(runs.values())))
    return leads


def _find_unsaid(leads: Mapping[str, RunRecord]) -> dict[str, dict[str, str]]:
    """The options in which arms differ and that some arm's name leaves out: what each arm has."""
    found = _read_all_options(leads.values())
    names = [split_variant(record.variant)[1] for record in leads.values()]
    return {
        option: {arm: value for arm, value in zip(leads, values, strict=True) if value is not None}
        for option, values in found.items()
        if _differ(values) and any(option not in said for said, has in zip(names, values, strict=True) if has)
    }


def _read_all_options(leads: Iterable[RunRecord]) -> dict[str, list[str | None]]:
    """What each run has of each option that any has, with what others imply: None where it has no such option."""
    catalog = {entry.name: entry for entry in load_catalog()}
    read = []
    for record in leads:
        entry, own = read_options(record.variant, catalog)
        implied = [values for spelt, values in (entry.implied if entry else {}).items() if _has(own, spelt)]
        read.append(own | {name: value for values in implied for name, value in values.items()})
    return {name: [own.get(name) for own in read] for name in dict.fromkeys(name for own in read for name in own)}


def _differ(values: Iterable[str | None]) -> bool:
    """Whether arms that have an option have it at more than one value."""
    return len({*values} - {None}) > 1


def _has(options: Mapping[str, str], spelt: str) -> bool:
    name, _, value = spelt.partition("=")
    return options.get(name) == value


def _spell(key: str, value: Any, record: RunRecord) -> str:
    """A value; for a size that was left open the one that the data have."""
    if key == "data.image_size" and value is None and (size := find_size(record)) is not None:
        return f"{size[0]} x {size[1]}, the data set's own"
    return spell_setting(value)


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
