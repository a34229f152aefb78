"""What the arms of a study declare to be their own: settings of the recipe and the data, by dotted key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vtbench.configuration import DataConfig, Recipe
from vtbench.errors import UserError
from vtbench.run_options import StudyOptions
from vtbench.settings import change_settings, read_settings
from vtbench.studies.study import Study


def resolve_treatments(
    study: Study, arms: Iterable[str], data: DataConfig, recipe: Recipe, options: StudyOptions
) -> dict[str, dict[str, Any]]:
    """The settings of each of ``arms`` that has its own, as they come out over ``data`` and ``recipe``.

    Raises ``UserError`` naming the arm for a value that is not allowed, and where the call asks for what arms have.
    """
    plans, asked = study.planned_arms, options.list_asked()
    known: dict[str, dict[str, Any]] = {}
    treatments: dict[str, dict[str, Any]] = {}
    for arm in arms:
        settings = plans[arm].settings
        for key in settings.keys() & asked.keys():
            raise UserError(
                f"{asked[key]} sets {key}, of which the arm {arm!r} of the study has a value of its own. Leave it out."
            )
        if settings:
            if repr(settings) not in known:
                treated = change_settings(data, recipe, settings, source=f"The arm {arm!r}")
                known[repr(settings)] = read_settings(*treated, settings)
            treatments[arm] = known[repr(settings)]
    return treatments


Treated = tuple[DataConfig, Recipe, dict[str, Any]]


def treat_arms(
    data: DataConfig, recipe: Recipe, arms: Iterable[str], treatments: Mapping[str, Mapping[str, Any]]
) -> dict[str, Treated]:
    """`treat` for each of ``arms``. Arms share few treatments: each is worked out once."""
    known: dict[str, Treated] = {}
    treated: dict[str, Treated] = {}
    for arm in arms:
        treatment = treatments.get(arm, {})
        key = repr(treatment)
        treated[arm] = known[key] = known.get(key) or treat(data, recipe, treatment)
    return treated


def treat(data: DataConfig, recipe: Recipe, treatment: Mapping[str, Any]) -> Treated:
    """Data and recipe of an arm, and what its run declares: for each setting of its own the value of the study."""
    treated = change_settings(data, recipe, treatment, source="The treatment of an arm")
    return *treated, read_settings(data, recipe, treatment)
