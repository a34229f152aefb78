"""The catalogue of presets, counted: golden costs and options as JSON, so that ``vtbench list`` answers without torch.

``python -m vtbench.models.golden`` (or ``make golden``) counts everything anew and writes the file. Do so after a
deliberate change of a model and look at the difference; a test fails as long as the file is stale.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from vtbench.catalog import CATALOG, CatalogEntry, OptionEntry
from vtbench.files import publish_text
from vtbench.models import MODELS
from vtbench.profiling import count_costs
from vtbench.registry import order_naturally
from vtbench.variants import ModelOptions, ModelSpec


def build_catalog() -> list[CatalogEntry]:
    """One entry for each registered preset, in the order of family and name, with costs counted now."""
    specs = (MODELS[name] for name in MODELS)
    return [
        describe_preset(spec)
        for spec in sorted(specs, key=lambda spec: (spec.task, spec.family, order_naturally(spec.name)))
    ]


def describe_preset(spec: ModelSpec) -> CatalogEntry:
    """What a preset is, what its user may choose, and what it costs per image at its own setting."""
    costs = count_costs(spec.name, spec.image_size, spec.num_classes)
    counted: dict[str, Any] = {
        "params": costs.params,
        "macs": costs.macs,
        "options": describe_options(spec.options),
        "implied": type(spec.options).list_implied(),
    }
    same = {name: getattr(spec, name) for name in CatalogEntry.__annotations__ if name not in counted}
    return CatalogEntry(**same, **counted)


def describe_options(options: ModelOptions) -> tuple[OptionEntry, ...]:
    """What the catalogue says of each option."""
    defaults, schema = options.model_dump(), type(options).model_json_schema()["properties"]
    return tuple(
        OptionEntry(
            name=name,
            default=defaults[name],
            allowed=tuple(schema[name]["enum"]) if "enum" in schema[name] else None,
            type=schema[name].get("type", "string"),
            description=field.description or "",
        )
        for name, field in type(options).model_fields.items()
    )


def format_catalog(entries: Iterable[CatalogEntry]) -> str:
    """The text of the file: one line an option, so that a difference shows what changed."""
    return json.dumps([asdict(entry) for entry in entries], indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Count every preset and write the file."""
    entries = build_catalog()
    publish_text(CATALOG, format_catalog(entries))
    sys.stdout.write(f"{len(entries)} presets written to {CATALOG}\n")


if __name__ == "__main__":
    main()
