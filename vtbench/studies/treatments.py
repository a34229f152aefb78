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
    plans, asked = study.plan_arms(), options.list_asked()
    treatments: dict[str, dict[str, Any]] = {}
    for arm in arms:
        settings = plans[arm].settings
        for key in settings.keys() & asked.keys():
            raise UserError(
                f"{asked[key]} sets {key}, which the arm {arm!r} of the study has its own of. Leave it out."
            )
        if settings:
            treated = change_settings(data, recipe, settings, source=f"The arm {arm!r}")
            treatments[arm] = read_settings(*treated, settings)
    return treatments


def treat(data: DataConfig, recipe: Recipe, treatment: Mapping[str, Any]) -> tuple[DataConfig, Recipe, dict[str, Any]]:
    """Data and recipe of an arm, and what its run declares: for each setting of its own the value of the study."""
    treated = change_settings(data, recipe, treatment, source="The treatment of an arm")
    return *treated, read_settings(data, recipe, treatment)
