"""The page of all models of timm and torchvision, written from its records alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from vtbench.documents.table import list_items, make_table, to_markdown
from vtbench.files import publish_text
from vtbench.published.model_costs import (
    OTHER_PARAMETERS,
    TIMM,
    TORCHVISION,
    UNEXPLAINED,
    PublishedCost,
    explain_cost,
    load_model_costs,
)
from vtbench.records.profile import ZooEntry
from vtbench.records.record import load_table
from vtbench.reporting.pages.page import PAGES, Page
from vtbench.units import format_millions, format_share

_PRINTED = {"timm": TIMM, "torchvision": TORCHVISION}
_NAMED = (OTHER_PARAMETERS, UNEXPLAINED)
"""Kinds whose models the page lists one by one."""


def write_zoo_page(reports: Path) -> list[Path]:
    """Write ``profiler/zoo.md`` from the records that lie there, if any do."""
    records = reports / "profiler" / "zoo.csv"
    if not records.is_file():
        return []
    page = records.with_suffix(".md")
    publish_text(page, render_zoo_page(load_table(records, ZooEntry)))
    return [page]


def render_zoo_page(entries: Sequence[ZooEntry]) -> str:
    """The whole page as Markdown."""
    found = {entry.model: entry for entry in entries}
    counted = [entry for entry in entries if entry.macs]
    total = sum(entry.macs or 0 for entry in counted)
    covered = sum(entry.covered_macs or 0 for entry in counted)
    libraries = Counter(entry.model.partition(":")[0] for entry in entries)
    lines = [
        "# Every model of timm and torchvision, beside what they print of themselves",
        "",
        "Made by `vtbench profile 'timm:*' 'torchvision:*' --out rows.jsonl` and",
        "`python -m vtbench.profiling.survey_zoo rows.jsonl`; the records are in `zoo.csv`. One image at the size that",
        "the library quotes the model at, in evaluation, in the form for training.",
        "",
        f"- {len(entries)} models: " + ", ".join(f"{number} of {name}" for name, number in sorted(libraries.items())),
        f"- {len(counted)} counted, {len(entries) - len(counted)} refused",
        f"- trace and closed forms agree on {format_share(covered, total)} % of all MACs, and on every MAC of "
        f"{sum(entry.covered_macs == entry.macs for entry in counted)} models",
        "",
    ]
    for library, path in _PRINTED.items():
        lines += _compare(library, load_model_costs(path), found)
    lines += _list_deployed(counted)
    refused = [f"`{entry.model}`: {entry.refused}" for entry in entries if entry.refused]
    lines += ["## Refused", "", list_items(refused) or "None."]
    return "\n".join(lines) + "\n"


def _compare(library: str, printed: Sequence[PublishedCost], found: Mapping[str, ZooEntry]) -> list[str]:
    """What a library prints, by the kind of its difference to our count."""
    comparable = []
    elsewhere = 0
    for cost in printed:
        entry = found.get(f"{library}:{cost.model.partition('.')[0]}")
        if entry is None or not entry.macs or int(entry.input_size.rpartition("x")[2]) != cost.image_size:
            elsewhere += 1
        else:
            comparable.append((cost, entry, explain_cost(cost, entry)))
    kinds = Counter(kind for _, _, kind in comparable)
    rows = [(kind, f"{number:,}") for kind, number in kinds.most_common()]
    lines = [
        f"## What {library} prints",
        "",
        f"{len(comparable):,} of {len(printed):,} printed costs are of a model and a size that are counted here; "
        f"{elsewhere:,} are of other sizes or of models that are no longer there.",
        "",
        to_markdown(make_table(("difference to our count", "costs"), rows, numbers=("costs",))),
    ]
    for wanted in _NAMED:
        listed = [
            (
                f"`{cost.model}`",
                str(cost.image_size),
                f"{cost.macs_g:.2f}",
                f"{(entry.macs or 0) / 1e9:.3f}",
                f"{cost.params_m:.2f}",
                f"{(entry.params or 0) / 1e6:.2f}",
                cost.run,
            )
            for cost, entry, kind in comparable
            if kind == wanted
        ]
        if listed:
            header = ("model", "side", "printed (G)", "ours (G)", "printed params (M)", "ours (M)", "printed by")
            lines += [
                f"### {wanted[0].upper()}{wanted[1:]}",
                "",
                to_markdown(make_table(header, listed, numbers=header[1:6])),
            ]
    return lines


def _list_deployed(counted: Sequence[ZooEntry]) -> list[str]:
    header = ("model", "for training (M)", "deployed (M)", "params (M)", "deployed params (M)")
    rows = [
        (
            f"`{entry.model}`",
            format_millions(entry.macs or 0),
            format_millions(entry.deployed_macs),
            format_millions(entry.params or 0),
            format_millions(entry.deployed_params or 0),
        )
        for entry in counted
        if entry.deployed_macs is not None and entry.deployed_macs != entry.macs
    ]
    lines = ["## Trained in one form, deployed in another", "", "What `--fuse` counts, where branches are merged.", ""]
    return [*lines, to_markdown(make_table(header, rows, numbers=header[1:]))]


PAGES.add("zoo", Page(order=4, write=write_zoo_page))
