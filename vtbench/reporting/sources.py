"""The folders that a report was asked of: what is in each, and that one folder is no mixture of several results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vtbench.documents.table import NOTHING, Table, make_table
from vtbench.errors import UserError, format_names
from vtbench.reporting.outline import ReportOutline, load_outline, name_arm
from vtbench.reporting.runs import FoundRun
from vtbench.units import format_items

_MOST_NAMED = 6


def refuse_mixtures(folders: Sequence[Path], found: Sequence[FoundRun]) -> None:
    """Raise ``UserError`` that says how to ask for one where a folder has runs of several studies beneath it.

    Single runs alone are one result, and so are studies that were named one by one.
    """
    for folder in folders:
        beneath = _list_beneath(folder, found)
        studies = list(dict.fromkeys(one.study for one in beneath if one.study is not None))
        single = list(dict.fromkeys(one.path.parent for one in beneath if one.study is None))
        if len(studies) + bool(single) > 1:
            raise UserError(_explain(folder, studies, single))


def tabulate_sources(folders: Sequence[Path], found: Sequence[FoundRun]) -> Table | None:
    """One row a folder: the study in it, that study's base, and which runs it brings; None for a single folder."""
    if len(folders) < 2:
        return None
    rows = []
    for folder in folders:
        beneath = _list_beneath(folder, found)
        studies = dict.fromkeys(one.study for one in beneath if one.study is not None)
        outlines = [outline for study in studies if (outline := _load_outline(study)) is not None]
        rows.append(
            (
                folder.as_posix(),
                ", ".join(dict.fromkeys(outline.title for outline in outlines)) or NOTHING,
                ", ".join(dict.fromkeys(outline.base for outline in outlines if outline.base)) or NOTHING,
                format_names(_order_arms(beneath, outlines)),
                str(len(beneath)),
            )
        )
    return make_table(("folder", "study", "its reference", "arms", "runs"), rows, numbers=("runs",))


def _order_arms(found: Sequence[FoundRun], outlines: Sequence[ReportOutline]) -> list[str]:
    """The arms of the runs as their studies have them, then the others."""
    present = dict.fromkeys(name_arm(one.record) for one in found)
    stated = dict.fromkeys(arm for outline in outlines for arm in outline.arms)
    return [*(arm for arm in stated if arm in present), *(arm for arm in present if arm not in stated)]


def _load_outline(study: Path) -> ReportOutline | None:
    """That of the study in a folder; None where it is damaged, which stands among what was left out."""
    try:
        return load_outline(study)
    except UserError:
        return None


def _list_beneath(folder: Path, found: Sequence[FoundRun]) -> list[FoundRun]:
    return [one for one in found if one.path.is_relative_to(folder)]


def _explain(folder: Path, studies: Sequence[Path], single: Sequence[Path]) -> str:
    counts = format_items(len(studies), "study", "studies")
    counts += f" and {format_items(len(single), 'single run')}" if single else ""
    named = [place.as_posix() for place in (*studies, *single)]
    return (
        f"{folder} holds {counts}, which do not belong into one table: {format_names(named, most=_MOST_NAMED)}. "
        f"Give one of them, as in vtbench report {named[0]}, or those that are to stand beside each other, as in "
        f"vtbench report {named[0]} {named[1]}."
    )
