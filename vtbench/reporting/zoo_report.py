"""What readers see of many models counted in one go: a table of all, the refused with their reasons, one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from vtbench.documents.table import (
    NOTHING,
    Table,
    escape_latex,
    escape_markdown,
    make_table,
    to_csv,
    to_latex,
    to_markdown,
    to_plain_json,
)
from vtbench.documents.terminal import lay_out, print_text
from vtbench.records.profile import ZooRow
from vtbench.units import format_items, format_millions, format_share


def print_zoo(rows: Sequence[ZooRow], console: Console) -> None:
    """The table, a line for each model that was refused, and the sentence."""
    if any(row.macs is not None for row in rows):
        console.print(lay_out(tabulate_zoo(rows), look="framed"))
    for row in rows:
        if row.refused is not None:
            print_text(f"refused: {row.model}: {row.refused}", console)
    print_text(summarize_zoo(rows), console)


def render_zoo(rows: Sequence[ZooRow], text_format: str) -> str:
    """The rows as json, csv, markdown or latex."""
    plain = [row.model_dump(mode="json", exclude={"asked", "packages"}) for row in rows]
    if text_format == "json":
        return to_plain_json(plain)
    if text_format == "csv":
        for row in plain:
            row["input_size"] = "x".join(map(str, row["input_size"]))
            row["unstated"] = "; ".join(f"{part['kind']} {part['macs']}" for part in row["unstated"])
            row["notes"] = "; ".join(row["notes"])
        return to_csv(plain)
    table = tabulate_zoo(rows)
    refused = [f"refused: {row.model}: {row.refused}" for row in rows if row.refused is not None]
    notes = (*refused, summarize_zoo(rows))
    if text_format == "markdown":
        return to_markdown(table) + "".join(f"\n> {escape_markdown(note)}\n" for note in notes)
    return to_latex(table) + "".join(f"% {escape_latex(note)}\n" for note in notes)


def tabulate_zoo(rows: Sequence[ZooRow]) -> Table:
    """A row for every model that was counted; ``checked`` is the share of MACs that closed forms confirm."""
    counted = [row for row in rows if row.macs is not None]
    step = any(row.training_step_macs is not None for row in counted)
    header = ("model", "input", "MACs (M)", "params (M)", "checked %", *(("step (M)",) if step else ()))
    table = []
    for row in counted:
        assert row.macs is not None
        cells = [row.model, "x".join(map(str, row.input_size[1:])), format_millions(row.macs)]
        cells += [format_millions(row.params or 0), format_share(row.covered_macs or 0, row.macs)]
        if step:
            cells.append(NOTHING if row.training_step_macs is None else format_millions(row.training_step_macs))
        table.append(cells)
    return make_table(header, table, numbers=header[2:])


def summarize_zoo(rows: Sequence[ZooRow]) -> str:
    """How many were counted and refused, and which share of all MACs closed forms confirm."""
    counted = [row for row in rows if row.macs is not None]
    refused = len(rows) - len(counted)
    total = sum(row.macs or 0 for row in counted)
    covered = sum(row.covered_macs or 0 for row in counted)
    every = sum(row.covered_macs == row.macs for row in counted)
    parts = [f"{format_items(len(rows), 'model')}: {len(counted)} counted, {refused} refused"]
    if counted:
        parts.append(
            f"trace and closed forms agree on {format_share(covered, total)} % of all MACs, on every MAC of {every}"
        )
    return "; ".join(parts)
