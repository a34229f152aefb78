"""Arms: variants with the placeholders ``{base}`` and ``{twin}`` become variants of a given base.

``{base}`` stands for the base with its options; options that the arm names win over those of the base. ``{twin}``
stands for the convolutional model that the base is compared with, and takes over every option that both have and in
which the base is not as the twin is by default (stem and width, say). A placeholder may be a part of a name:
``se_{twin}`` is ``se_resnet18`` where the twin is ``resnet18``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vtbench.errors import UserError, did_you_mean
from vtbench.variants import MODELS, split_variant

_PLACEHOLDER = re.compile(r"\{(.*?)\}")


def resolve_arms(templates: Mapping[str, str], base: str | None) -> dict[str, str]:
    """The canonical variant of every arm. Needs the models to be registered.

    Raises ``UserError`` naming the arm when a model, an option or a placeholder is unknown, when ``base`` is needed and
    missing or has no twin, and when two arms come out as one variant.
    """
    variants: dict[str, str] = {}
    for name, template in templates.items():
        try:
            variant = _resolve_arm(template, base)
        except UserError as error:
            raise UserError(f"The arm {name!r} ({template}): {error}") from error
        for other, existing in variants.items():
            if existing == variant:
                raise UserError(
                    f"The arms {other!r} and {name!r} are the same variant, {variant}, so that nothing would be "
                    "compared. Take one out, or choose another --base."
                )
        variants[name] = variant
    return variants


def _resolve_arm(template: str, base: str | None) -> str:
    pattern, given = split_variant(template)
    placeholders = _PLACEHOLDER.findall(pattern)
    for placeholder in placeholders:
        if placeholder not in ("base", "twin"):
            hint = did_you_mean(placeholder, ("base", "twin"))
            raise UserError(f"There is no placeholder {{{placeholder}}}. {hint}")
    inherited: Mapping[str, Any] = {}
    if placeholders:
        if base is None:
            raise UserError("The study names no base. Give one with --base, for example --base vt_resnet20.")
        pattern, inherited = _fill_in(pattern, base)
    spec = MODELS[pattern]
    return spec.spell(spec.resolve_options({**inherited, **given}))


def _fill_in(pattern: str, base: str) -> tuple[str, Mapping[str, Any]]:
    """The model that ``pattern`` names for ``base``, and the options that it takes over from the base."""
    base_name, base_given = split_variant(base)
    base_spec = MODELS[base_name]
    base_options = base_spec.resolve_options(base_given).model_dump()
    if "{twin}" not in pattern:
        name = pattern.replace("{base}", base_name)
        known = type(MODELS[name].options).model_fields
        return name, base_given if name == base_name else {k: v for k, v in base_options.items() if k in known}
    if base_spec.twin is None:
        raise UserError(
            f"The base {base_name!r} has no convolutional twin. Give a model that has one, e.g. --base vt_resnet20."
        )
    name = pattern.replace("{base}", base_name).replace("{twin}", base_spec.twin)
    twin_options, known = MODELS[base_spec.twin].options.model_dump(), type(MODELS[name].options).model_fields
    shared = twin_options.keys() & known.keys() & base_options.keys()
    return name, {option: base_options[option] for option in shared if base_options[option] != twin_options[option]}
